#!/bin/sh
# What BIRD learns by BGP gets into the kernel through rtmd, both from BIRD's own list and from a
# kernel table that BIRD writes, by the lines that examples/bird-routes.awk documents.
#
# Two routers: `learner`, which is this namespace, with rtmd; and `announcer`, who has ten thousand
# routes of the mixed lengths that there are in the Internet.
set -eu

here=$(dirname "$(realpath "$0")")
project=$(dirname "$here")
[ "$(id -u)" = 0 ] || {
    echo 'skip: BIRD is tried in network namespaces, by root'
    exit 0
}
PATH="$PATH:/usr/sbin:/sbin"
for program in bird birdc; do
    command -v $program >/dev/null || {
        echo "skip: $program is not installed"
        exit 0
    }
done
[ "${NAMESPACE:-}" = yes ] || NAMESPACE=yes exec unshare --net "$0"

programs=${CARGO_TARGET_DIR:-$project/target}/debug
filter=$project/examples/bird-routes.awk
ipv4=8000
ipv6=2000

state=$(mktemp -d)
pids=''
clean() {
    # The namespace of the other router is gone with the last process in it.
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$state"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "$*" >&2
    tail -n 20 "$state"/*.log >&2
    exit 1
}
eventually() {
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    fail "waited in vain: $*"
}
announcer() { nsenter --target "$announcer" --net "$@"; }
learned() { birdc -s "$state/learner.ctl" "$@"; }
rtmctl() { "$programs/rtmctl" --bus "unix:path=$state/bus" "$@"; }
# lines NUMBER COMMAND...
lines() {
    number=$1
    shift
    [ "$("$@" | wc -l)" -eq "$number" ]
}

[ -x "$programs/examples/global-table" ] ||
    (cd "$project" && cargo build --locked --quiet --example global-table)

echo '== Two routers'
unshare --net sleep infinity &
announcer=$!
pids="$announcer $pids"
eventually sh -c "[ \"\$(readlink /proc/$announcer/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
ip link add learner type veth peer name announcer netns "$announcer"
ip address add 192.0.2.1/24 dev learner
ip address add 2001:db8::1/64 dev learner nodad
ip link set lo up
ip link set learner up
announcer ip address add 192.0.2.2/24 dev announcer
announcer ip address add 2001:db8::2/64 dev announcer nodad
announcer ip link set announcer up

cat >"$state/learner.conf" <<CONF
router id 192.0.2.1;
log "$state/learner.log" all;
ipv4 table t100;
ipv6 table t100v6;
protocol device { }
protocol kernel { kernel table 100; ipv4 { table t100; export all; }; }
protocol kernel { kernel table 100; ipv6 { table t100v6; export all; }; }
protocol bgp {
    local 192.0.2.1 as 65001;
    neighbor 192.0.2.2 as 65002;
    connect delay time 1;
    ipv4 { table t100; import all; export none; };
    ipv6 { table t100v6; import all; export none; };
}
CONF
cat >"$state/announcer.conf" <<CONF
router id 192.0.2.2;
log "$state/announcer.log" all;
protocol device { }
protocol static {
    ipv4;
    include "$state/routes4";
}
protocol static {
    ipv6;
    include "$state/routes6";
}
protocol bgp {
    local 192.0.2.2 as 65002;
    neighbor 192.0.2.1 as 65001;
    passive;
    ipv4 { import none; export all; next hop self; };
    ipv6 { import none; export all; next hop address 2001:db8::2; };
}
CONF
"$programs/examples/global-table" --ipv4 "$ipv4" --ipv6 "$ipv6" --seed 82 >"$state/table"
awk '/\./ { print "route " $2 " blackhole;" }' "$state/table" >"$state/routes4"
awk '!/\./ { print "route " $2 " blackhole;" }' "$state/table" >"$state/routes6"
nsenter --target "$announcer" --net bird -f -c "$state/announcer.conf" -s "$state/announcer.ctl" &
pids="$! $pids"
bird -f -c "$state/learner.conf" -s "$state/learner.ctl" &
pids="$! $pids"
eventually lines "$ipv4" ip -4 route show table 100 proto bird
eventually lines "$ipv6" ip -6 route show table 100 proto bird
echo "   BIRD has $ipv4 and $ipv6 routes in the kernel's table 100"

"$here/private-bus" "$state/bus" >"$state/bus.log" 2>&1 &
pids="$! $pids"
eventually grep -q unix:path= "$state/bus.log"
"$programs/rtmd" --bus "unix:path=$state/bus" --config "$state/rtmd.toml" \
    --runtime-directory "$state/run" --state-directory "$state/lib" >"$state/rtmd.log" 2>&1 &
pids="$! $pids"
eventually rtmctl status

# The two ways, as the filter's comment has them.
from_bird() {
    for table in t100 t100v6; do
        learned show route table $table where source '!=' RTS_DEVICE | awk -f "$filter"
    done
}
script=$(sed -n "s/^#.*sed -E '\(.*\)'.*/\1/p" "$filter")
[ -n "$script" ] || fail "$filter documents no sed any more"
from_kernel() {
    for family in -4 -6; do
        ip $family -o route show table 100 proto bird | sed -E "$script"
    done
}

# An address of a prefix in the middle of the table, for each family.
address4=$(awk 'NR == 4000 { sub("/.*", "", $2); print $2 }' "$state/table")
address6=$(awk 'NR == 9000 { sub("/.*", "", $2); print $2 }' "$state/table")

reached() {
    ip route get "$address4" | grep -q "^$address4 via 192.0.2.2 dev learner" &&
        ip route get "$address6" | grep -q "^$address6 .*via 2001:db8::2 dev learner"
}
nothing_of_ours() {
    [ -z "$(ip -4 route show proto 82)$(ip -6 route show proto 82)" ]
}

# The register command's summary says that the kernel has followed.
try() {
    echo "== $1"
    "$2" >"$state/lines"
    [ "$(wc -l <"$state/lines")" -eq $((ipv4 + ipv6)) ] ||
        fail "$(wc -l <"$state/lines") lines instead of $((ipv4 + ipv6))"
    reached 2>/dev/null && fail 'the destinations are reached without our routes'
    "$programs/rtmctl" --bus "unix:path=$state/bus" register --protocol bgp --label bird \
        <"$state/lines" >"$state/register.log" 2>&1 &
    register=$!
    pids="$register $pids"
    eventually grep -q ' offered in ' "$state/register.log"
    grep ' offered in ' "$state/register.log" | sed 's/^/   /'
    grep -q "^$((ipv4 + ipv6)) routes offered .* 0 refused; the kernel is in step after [0-9.]* s\$" \
        "$state/register.log" || fail 'not all went well'
    for family in -4 -6; do
        { ip -N nexthop show proto 82; ip -o -N $family route show proto 82; } |
            awk -f "$project/examples/plain-routes.awk" | sort >"$state/kernel$family"
        rtmctl $family routes --best | sort >"$state/$2$family"
        cmp "$state/kernel$family" "$state/$2$family" || fail "ip and rtmctl differ ($family)"
        echo "   ip $family route and rtmctl $family routes --best show the same" \
            "$(wc -l <"$state/kernel$family") lines"
    done
    reached || fail "$(ip route get "$address4" 2>&1; ip route get "$address6" 2>&1)"
    echo "   packets to $address4 and $address6 follow"
    kill "$register"
    wait "$register" || fail 'rtmctl does not end well'
    eventually nothing_of_ours
}
try "From BIRD's own list" from_bird
try "From the kernel's table that BIRD writes" from_kernel
for family in -4 -6; do
    cmp "$state/from_bird$family" "$state/from_kernel$family" || fail 'the two ways differ'
done
lines "$ipv4" ip -4 route show table 100 proto bird || fail "BIRD's own routes were touched"
echo '== Both ways lead to the same'
