#!/bin/sh
# The lines of README.md's "Use it over D-Bus" can be pasted: all of them run, in order, against a
# real rtmd.
set -eu

here=$(dirname "$(realpath "$0")")
project=$(dirname "$here")
[ "$(id -u)" = 0 ] || {
    echo 'skip: the lines of the README are tried in a network namespace, by root'
    exit 0
}
# A network of its own, with the neighbour that the README speaks of.
[ "${NAMESPACE:-}" = yes ] || NAMESPACE=yes exec unshare --net "$0"
ip link add uplink type veth peer name neighbour
ip address add 192.0.2.1/24 dev uplink
ip link set lo up
ip link set uplink up
ip link set neighbour up

state=$(mktemp -d)
rtmd=''
bus=''
clean() {
    [ -z "$rtmd" ] || kill "$rtmd" 2>/dev/null || true
    [ -z "$rtmd" ] || wait "$rtmd" 2>/dev/null || true
    [ -z "$bus" ] || kill "$bus" 2>/dev/null || true
    rm -rf "$state"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

eventually() {
    for _ in $(seq 100); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "waited in vain: $*" >&2
    cat "$state"/*.log >&2
    exit 1
}
in_step() {
    [ "$(busctl get-property org.rtmd1 /org/rtmd1 org.rtmd1.Manager FibState)" = 's "synced"' ]
}

"$here/private-bus" "$state/bus" >"$state/bus.log" 2>&1 &
bus=$!
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$state/bus"
eventually grep -q unix:path= "$state/bus.log"
programs=${CARGO_TARGET_DIR:-$project/target}/debug
"$programs/rtmd" --bus "$DBUS_SYSTEM_BUS_ADDRESS" --config "$state/rtmd.toml" \
    --runtime-directory "$state/run" --state-directory "$state/lib" >"$state/rtmd.log" 2>&1 &
rtmd=$!
eventually in_step

# The shell code of the section, as one script, so that $ENTITY lives from one block to the next.
awk '
    /^## / { section = ($0 == "## Use it over D-Bus") }
    /^```/ { code = section && $0 == "```sh"; next }
    code
' "$project/README.md" >"$state/lines.sh"
[ "$(grep -c busctl "$state/lines.sh")" -ge 7 ] || {
    echo 'README.md has no section "Use it over D-Bus" any more' >&2
    exit 1
}
PATH="$programs:$PATH" sh -eux "$state/lines.sh" 2>&1 || {
    cat "$state/rtmd.log" >&2
    exit 1
}
