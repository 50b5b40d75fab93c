# Runs "$@" in a container for dqctl: in its own process group, with a HOME of its own, on a leash.
#
# The first DQCTL_STDIN_BYTES of stdin are the program's (with no number another exec writes to .stdin: feed.sh);
# what comes after them never matters, its end does: when dqctl closes the stream, or is killed, the program gets
# SIGTERM, and SIGKILL after DQCTL_GRACE seconds. The engine's API has no other way to stop what an exec started.
umask 077
mkdir -p "$HOME" && cd "$HOME" || exit 125
exec 3<&0
mkfifo .stdin || exit 125
setsid "$@" <.stdin 3<&- &
group=$!
# Not one pipeline: dash waits for all of a pipeline, and the leash lasts longer than the program.
{
    # Its children outlive it. A program that does not read all of its stdin must not end one by a signal: see below.
    trap '' PIPE
    case "$DQCTL_STDIN_BYTES" in
        "") ;;
        # For a program that waits for what it is asked next: it reads, so the leash does not wait behind it.
        all) cat <&3 >.stdin ;;
        *) head -c "$DQCTL_STDIN_BYTES" <&3 >.stdin ;;
    esac
    cat <&3
    # It is a group only when its stdin could be opened, and dqctl may be gone before the exec that writes to it.
    kill -TERM "-$group" || kill -TERM "$group"
    sleep "$DQCTL_GRACE"
    kill -KILL "-$group"
} >/dev/null 2>&1 &
leash=$!
wait "$group" 2>/dev/null
code=$?
kill -KILL "$leash" "-$group" 2>/dev/null
# Reaped here: in PostgreSQL's container the server inherits it, takes it for a backend that crashed, and restarts
# all of them (15).
wait "$leash" 2>/dev/null
[ -n "$DQCTL_KEEP_HOME" ] || rm -rf "$HOME"
exit "$code"
