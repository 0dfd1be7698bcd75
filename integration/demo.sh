#!/bin/sh
# Shows what rtmd is for: two programs that do not know each other offer competing routes, the better
# ones reach the kernel, and when their program dies the other's take over.
#
#                          router                      198.51.100.1     2001:db8:51::1
#     static-router.sh ──┐                ┌─ uplink-a ── host a          (and again on)
#     (preference 200)   ├─ bus ─ rtmd ─ kernel
#     dynamic_router.py ─┘                └─ uplink-b ── host b          (both hosts)
#     (preference 120)
#
# usage: demo.sh            runs it and takes everything away again
#        KEEP=1 demo.sh     leaves it running and says how to play with it
#        BROKER=1 demo.sh   on a dbus-broker instead of a dbus-daemon
#        demo.sh end DIR    takes a kept one away
#
# Needs root (it makes network namespaces), but neither systemd nor a system bus. Exits non-zero if
# anything did not happen as told, above all if a packet took the wrong uplink.
set -eu

# Both hosts own these, so a ping is answered whichever way it goes, and only the choice of route
# decides who answers: the first by a route of its own, the second by the default route.
service4=198.51.100.1
service6=2001:db8:51::1
beyond4=198.18.0.1
beyond6=2001:db8:ffff::1
prefixes='0.0.0.0/0 198.51.100.0/24 ::/0 2001:db8:51::/48'

here=$(dirname "$(realpath "$0")")
project=$(dirname "$here")

# --- saying what happens ---------------------------------------------------------------------

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi

step() { printf '\n%s%s%s\n' "$bold" "== $1" "$plain"; }
say() { printf '   %s\n' "$1"; }
indent() { sed 's/^/   /'; }
fail() {
    printf '\ndemo: %s\n' "$1" >&2
    for log in "$state"/*.log; do
        [ -s "$log" ] && printf '%s\n' "--- $(basename "$log")" >&2 && tail -n 20 "$log" >&2
    done
    exit 1
}

# --- taking it away --------------------------------------------------------------------------

# start NAME COMMAND...: in the background, its pid remembered, so that only what was started here
# is ever killed.
start() {
    name=$1
    shift
    "$@" >"$state/$name.log" 2>&1 &
    echo $! >"$state/$name.pid"
}

# stop NAME [SIGNAL]: returns when it is gone.
stop() {
    pid=$(cat "$state/$1.pid" 2>/dev/null) || return 0
    rm -f "$state/$1.pid"
    kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
    for _ in $(seq 50); do
        gone "$pid" && return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# gone PID: ended, even if nobody has collected its exit status yet.
gone() {
    ! kill -0 "$1" 2>/dev/null || grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"
}

clean() {
    [ -n "${state:-}" ] && [ -e "$state/names" ] || return 0
    # The clients before the daemon and the daemon before the bus, so that nobody complains.
    for name in dynamic-router rtmd bus; do stop "$name"; done
    while read -r namespace; do
        ip netns delete "$namespace" 2>/dev/null || true
    done <"$state/names"
    rm -rf "$state"
}

if [ "${1:-}" = end ]; then
    state=${2:?usage: demo.sh end DIR}
    [ -e "$state/names" ] || fail "$state is not a demo"
    clean
    exit 0
fi

# --- building the world ----------------------------------------------------------------------

require() {
    for command; do
        command -v "$command" >/dev/null 2>&1 || missing="${missing:-} $command"
    done
    /usr/bin/python3 -c 'import dbus' 2>/dev/null || missing="${missing:-} python3-dbus"
    [ -z "${missing:-}" ] || {
        printf 'demo: missing:%s (try: make deps)\n' "$missing" >&2
        exit 1
    }
    [ "$(id -u)" = 0 ] || {
        echo 'demo: needs root to make network namespaces' >&2
        exit 1
    }
}

require ip ping busctl dbus-daemon
programs=${CARGO_TARGET_DIR:-$project/target}/debug
for program in rtmd rtmctl; do
    [ -x "$programs/$program" ] || {
        echo "demo: $programs/$program is not built (try: make build)" >&2
        exit 1
    }
done

state=$(mktemp -d "${TMPDIR:-/tmp}/rtmd-demo.XXXXXX")
router=rtmd-demo-$$-router
host_a=rtmd-demo-$$-a
host_b=rtmd-demo-$$-b
printf '%s\n' "$router" "$host_a" "$host_b" >"$state/names"
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

in_router() { ip netns exec "$router" "$@"; }

# uplink NAME HOST ROUTER4 HOST4 ROUTER6 HOST6: a cable from the router to a host that answers for
# the services. Without duplicate address detection, which would cost a second.
uplink() {
    ip -n "$router" link add "$1" type veth peer name eth0 netns "$2"
    ip -n "$router" address add "$3/30" dev "$1"
    ip -n "$router" address add "$5/64" dev "$1" nodad
    ip -n "$router" link set "$1" up
    ip -n "$2" address add "$4/30" dev eth0
    ip -n "$2" address add "$6/64" dev eth0 nodad
    ip -n "$2" link set eth0 up
    for address in "$service4/32" "$beyond4/32"; do ip -n "$2" address add "$address" dev lo; done
    for address in "$service6/128" "$beyond6/128"; do
        ip -n "$2" address add "$address" dev lo nodad
    done
}

step 'Three network namespaces: a router with two uplinks, and a host behind each'
for namespace in "$router" "$host_a" "$host_b"; do
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
done
uplink uplink-a "$host_a" 192.0.2.1 192.0.2.2 2001:db8:a::1 2001:db8:a::2
uplink uplink-b "$host_b" 203.0.113.1 203.0.113.2 2001:db8:b::1 2001:db8:b::2
ip -n "$router" -brief address | indent
say "both hosts answer for $service4, $service6, $beyond4 and $beyond6"

# --- waiting ---------------------------------------------------------------------------------

# eventually WHAT COMMAND...: the command has ten seconds to succeed.
eventually() {
    what=$1
    shift
    for _ in $(seq 100); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    fail "waited in vain: $what"
}

in_step() {
    [ "$(busctl get-property org.rtmd1 /org/rtmd1 org.rtmd1.Manager FibState)" = 's "synced"' ]
}

# installed UPLINK: rtmd's routes, and nobody else's, lead through it, for every prefix.
installed() {
    for prefix in $prefixes; do
        case $prefix in *:*) family=-6 ;; *) family=-4 ;; esac
        ip -n "$router" "$family" route show exact "$prefix" proto 82 | grep -qw "dev $1" || return 1
    done
}

# show COMMAND...: its output indented; its failure is the demo's.
show() {
    "$@" >"$state/show.log" 2>&1 || fail "failed: $*"
    indent <"$state/show.log"
    rm -f "$state/show.log"
}

# --- proving which way a packet went ---------------------------------------------------------

# echoes HOST ADDRESS: how many echo requests the host has received, by its own kernel's count.
# shellcheck disable=SC2016 # the dollars are awk's
echoes() {
    case $2 in
        *:*) ip netns exec "$1" awk '$1 == "Icmp6InEchos" { print $2 }' /proc/net/snmp6 ;;
        *) ip netns exec "$1" awk '
            $1 == "Icmp:" && !column { for (i = 2; i <= NF; i++) if ($i == "InEchos") column = i; next }
            $1 == "Icmp:" { print $column }' /proc/net/snmp ;;
    esac
}

# ping_through UPLINK: each service answers, and only the host behind that uplink was asked.
ping_through() {
    for address in "$service4" "$service6" "$beyond4" "$beyond6"; do
        a=$(echoes "$host_a" "$address")
        b=$(echoes "$host_b" "$address")
        in_router ping -n -q -c 2 -i 0.2 -W 2 "$address" >"$state/ping.log" 2>&1 ||
            fail "$address does not answer: $(in_router ip route get "$address" 2>&1)"
        a=$(($(echoes "$host_a" "$address") - a))
        b=$(($(echoes "$host_b" "$address") - b))
        case $1/$a/$b in
            uplink-a/2/0 | uplink-b/0/2) ;;
            *) fail "$address: expected $1, but host a was asked $a times and host b $b times" ;;
        esac
        printf '   ping %-17s 2 of 2 answered, through %s (asked: host a %s, host b %s)\n' \
            "$address" "$1" "$a" "$b"
    done
    rm -f "$state/ping.log"
}

# --- the story -------------------------------------------------------------------------------

step 'A private message bus, and rtmd in the router'
start bus "$here/private-bus" ${BROKER:+--broker} "$state/bus.socket"
# Every program here looks for the system bus, and this is how they find this one.
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$state/bus.socket"
eventually 'the bus is there' grep -q unix:path= "$state/bus.log"
start rtmd ip netns exec "$router" "$programs/rtmd" --bus "$DBUS_SYSTEM_BUS_ADDRESS" \
    --config "$state/rtmd.toml" --runtime-directory "$state/run" --state-directory "$state/lib"
eventually 'rtmd is on the bus and in step with the kernel' in_step
say "rtmd is on the bus as $(busctl call org.freedesktop.DBus / org.freedesktop.DBus \
    GetNameOwner s org.rtmd1 | cut -d' ' -f2), its FIB is synced"

step 'First client, a shell script: a default and a specific route per family, through uplink-a'
# shellcheck disable=SC2086 # a list of words
show "$project/examples/static-router.sh" 192.0.2.2 2001:db8:a::2 $prefixes
eventually 'the routes of the static router are in the kernel' installed uplink-a
ping_through uplink-a

step 'Second client, a Python program: the same destinations, preferred, through uplink-b'
# shellcheck disable=SC2086 # a list of words
start dynamic-router "$project/examples/dynamic_router.py" 203.0.113.2 2001:db8:b::2 $prefixes
eventually 'the dynamic router has offered its routes' grep -q ready "$state/dynamic-router.log"
grep -v ready "$state/dynamic-router.log" | indent
eventually 'the routes of the dynamic router are in the kernel' installed uplink-b
ping_through uplink-b

step 'Both are known, one is best'
show in_router "$programs/rtmctl" routes

step "Kill the winner's program"
say "\$ kill -KILL $(cat "$state/dynamic-router.pid")"
stop dynamic-router KILL
eventually 'the routes of the static router took over in the kernel' installed uplink-a
for address in "$service4" "$service6"; do
    say "\$ ip route get $address"
    in_router ip route get "$address" | head -n 1 | indent
done
ping_through uplink-a

step 'The tables at the end'
for words in 'routes' 'routes --best'; do
    say "\$ rtmctl $words"
    # shellcheck disable=SC2086 # the words are arguments
    show in_router "$programs/rtmctl" $words
done
for family in 4 6; do
    say "\$ ip -$family route"
    show in_router ip "-$family" route
done

if [ "${KEEP:-}" = 1 ]; then
    trap - EXIT INT TERM HUP
    step 'It is left running. To try:'
    cat <<TRY
export DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SYSTEM_BUS_ADDRESS
busctl tree org.rtmd1
busctl introspect org.rtmd1 /org/rtmd1/table/0/ipv4
busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager GetRegisteredEntities us 0 ipv4
busctl call org.rtmd1 /org/rtmd1/table/0/ipv4 org.rtmd1.Table GetMostSpecificDestination suu $service4/32 0 1
busctl call org.rtmd1 /org/rtmd1/table/0/ipv4 org.rtmd1.Table GetRoutes s 198.51.100.0/24
busctl monitor org.rtmd1
$programs/rtmctl routes
$programs/rtmctl lookup $service4
$project/examples/dynamic_router.py 203.0.113.2 2001:db8:b::2 $prefixes
ip netns exec $router ip route

And to take it all away:
$here/demo.sh end $state
TRY
else
    step 'Everything is taken away again'
fi
