# Writes its stdin to the program that inside.sh runs: "$1" is that one's .stdin. For files, which do not fit into a
# pipe: where the program does not read, the leash must not wait with them.
tries=0
until [ -p "$1" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 200 ] || exit 1
    sleep 0.05
done
exec cat >"$1"
