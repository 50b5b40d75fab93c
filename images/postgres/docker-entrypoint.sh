#!/bin/bash
# The official image's contract: `postgres [options]` first makes a database cluster where there is none, from
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_INITDB_ARGS (each also as ..._FILE),
# POSTGRES_HOST_AUTH_METHOD, POSTGRES_INITDB_WALDIR and /docker-entrypoint-initdb.d. Any other command just runs.
#
# Unlike there, a cluster is made in a directory of its own and moved into place when it is whole, PG_VERSION last:
# killed at any moment, the next start begins anew. And nobody can connect before that, not even by the socket.
set -euo pipefail
shopt -s nullglob

fail() { echo "error: $1" >&2; exit 1; }

# Read NAME from NAME_FILE if that is set. Not exported: nothing secret gets into the server's environment.
from_file() {
    local name="$1" file_variable="$1_FILE"
    if [ -n "${!file_variable:-}" ]; then
        [ -z "${!name:-}" ] || fail "both $name and $file_variable are set: use one of them"
        [ -r "${!file_variable}" ] || fail "$file_variable names a file that uid $(id -u) cannot read: ${!file_variable}"
        printf -v "$name" '%s' "$(< "${!file_variable}")"
    fi
}

wants_server() {
    local argument
    [ "$1" = postgres ] || return 1
    for argument in "${@:2}"; do
        case "$argument" in -'?' | --help | --describe-config | -V | --version) return 1 ;; esac
    done
}

# What is in the data directory, apart from what a file system puts there.
remains() { find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name .initializing "$@"; }

run_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        echo "running $script"
        case "$script" in
            *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --dbname "$POSTGRES_DB" --file "$script" ;;
            *.sql.gz) gunzip -c "$script" | psql -v ON_ERROR_STOP=1 --no-psqlrc --dbname "$POSTGRES_DB" ;;
            *) echo "ignoring $script" ;;
        esac
    done
}

initialize() {
    local new="$PGDATA/.initializing" auth="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" name
    for name in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS; do from_file "$name"; done
    export POSTGRES_USER="${POSTGRES_USER:-postgres}"
    export POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
    [ -n "${POSTGRES_PASSWORD:-}" ] || [ "$auth" = trust ] ||
        fail "no password for the superuser: set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD)"
    if [ -d "$new" ]; then
        echo "an initialization was cut off: beginning anew"
        remains -exec rm -rf {} +
        rm -rf "$new"
    fi
    [ -z "$(remains)" ] || fail "$PGDATA holds something that is no database cluster"
    mkdir -m 0700 "$new"

    set -- --username="$POSTGRES_USER" --auth-local=trust --auth-host="$auth"
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        exec {password}< <(printf '%s\n' "$POSTGRES_PASSWORD") # a pipe: never a file on the volume
        set -- "$@" --pwfile="/dev/fd/$password"
    fi
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || set -- "$@" --waldir="$POSTGRES_INITDB_WALDIR"
    eval 'initdb --pgdata="$new/data" "$@" '"${POSTGRES_INITDB_ARGS:-}"
    [ -z "${password:-}" ] || exec {password}<&-
    printf '\nhost all all all %s\n' "$auth" >> "$new/data/pg_hba.conf"

    local scripts=(/docker-entrypoint-initdb.d/*)
    if [ "$POSTGRES_DB" != postgres ] || [ ${#scripts[@]} -gt 0 ]; then
        export PGHOST="$new" PGUSER="$POSTGRES_USER"
        pg_ctl --pgdata="$new/data" --wait -o "-c listen_addresses='' -c unix_socket_directories='$new'" start
        [ "$POSTGRES_DB" = postgres ] ||
            printf 'CREATE DATABASE :"name";' |
            psql -v ON_ERROR_STOP=1 --no-psqlrc -q -d postgres -v name="$POSTGRES_DB"
        run_scripts
        pg_ctl --pgdata="$new/data" --wait --mode=fast stop
        unset PGHOST PGUSER
    fi

    find "$new/data" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync "$PGDATA" # the names; initdb and the server have synced what is in the files
    mv "$new/data/PG_VERSION" "$PGDATA"
    sync "$PGDATA"
    echo "PostgreSQL is initialized"
}

case "${1:-}" in -*) set -- postgres "$@" ;; esac
if wants_server "$@"; then
    umask 0077
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$PGDATA" /var/run/postgresql
        find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +
        chmod 0700 "$PGDATA"
        HOME=/var/lib/postgresql exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    # initdb wants a name for whoever it runs as.
    if ! getent passwd "$(id -u)" >/dev/null; then
        wrapped="$(mktemp -d)"
        echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" > "$wrapped/passwd"
        echo "postgres:x:$(id -g):" > "$wrapped/group"
        export NSS_WRAPPER_PASSWD="$wrapped/passwd" NSS_WRAPPER_GROUP="$wrapped/group" LD_PRELOAD=libnss_wrapper.so
    fi
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA" 2>/dev/null || true # not ours to change when the volume belongs to somebody else
    [ -s "$PGDATA/PG_VERSION" ] || initialize
    rm -rf "$PGDATA/.initializing"
fi
exec "$@"
