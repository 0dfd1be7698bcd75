#!/bin/sh
# What is tried inside the container, whose first process is systemd, in the order of a package's life.
#
# usage: inside.sh GROUP        the group whose members may offer routes
set -eu

group=$1
state=$(mktemp -d)
chmod 755 "$state"

step() { echo "== $1"; }
ok() { echo "   $1"; }
fail() {
    echo "failed: $1" >&2
    systemctl --no-pager --full status rtmd >&2 || true
    exit 1
}
# eventually WHAT COMMAND...: the command has thirty seconds to succeed.
eventually() {
    what=$1
    shift
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    fail "waited in vain: $what"
}
# is EXPECTED COMMAND...: it prints exactly that.
is() {
    expected=$1
    shift
    printed=$("$@" 2>&1) || true
    [ "$printed" = "$expected" ] || fail "$*: $printed, and not: $expected"
}
# refused WHY COMMAND...: it fails and says something of the kind.
refused() {
    why=$1
    shift
    if said=$("$@" 2>&1); then fail "this should be refused: $*"; fi
    echo "$said" | grep -qi -- "$why" || fail "$*: $said, and nothing of: $why"
}
property() { systemctl show --property="$1" --value rtmd; }
alice() { setpriv --reuid=alice --regid=alice --init-groups "$@"; }
# has_route PREFIX: it is in the kernel and rtmd's, by the name of its protocol.
has_route() { ip route show exact "$1" proto rtmd | grep -q .; }
has_no_route() { ! has_route "$1"; }
entities() { busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager GetRegisteredEntities us 0 ipv4; }
# What of the system a package may touch; the rest is of others, or of this machine's life.
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /shared -o -path /var/log \
        -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/tmp -o -path "$state" \) -prune -o -print |
        grep -vE '^/(etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|etc/\.pwd\.lock|var/lib/systemd/.*)$' | sort
    # Of what does not last until the next start, only what is named after it.
    find /run -name '*rtmd*' | sort
}

systemctl show-environment >/dev/null # systemd answers
files >"$state/files"

# A neighbour with a network behind it, and a route of somebody else's.
ip netns add far
ip link add near type veth peer name far netns far
ip address add 192.0.2.1/24 dev near
ip link set near up
ip -n far address add 192.0.2.2/24 dev far
ip -n far address add 198.51.100.1/24 dev lo
ip -n far link set far up
ip -n far link set lo up
ip route add 203.0.113.0/24 via 192.0.2.2 proto static

step 'The package is installed'
dpkg --install /shared/rtmd.deb >"$state/dpkg.log" 2>&1 || {
    cat "$state/dpkg.log" >&2
    fail 'it cannot be installed'
}
! grep -iE 'warning|failed|error' "$state/dpkg.log" || fail 'dpkg complains'
is active systemctl is-active rtmd
is enabled systemctl is-enabled rtmd
is rtmd stat --format %U "/proc/$(property MainPID)"
is 's "synced"' busctl get-property org.rtmd1 /org/rtmd1 org.rtmd1.Manager FibState
rtmctl status >"$state/status" || fail 'rtmctl status fails'
eventually 'the status says how far it is' \
    sh -c "systemctl show --property StatusText --value rtmd | grep -q '^synced: 0 entities, [0-9]* routes, 0 in the kernel\$'"
ok "it runs: $(property StatusText)"
is 0 cat /proc/sys/net/ipv4/nexthop_compat_mode
is '' systemd-analyze verify --man=no /usr/lib/systemd/system/rtmd.service
[ "$(grep -cv '^#\|^$' /etc/rtmd/rtmd.toml)" = 0 ] || fail 'the configuration says something'
ok 'systemd finds nothing wrong with it, and the configuration is all defaults'

step 'Who may offer routes'
useradd --create-home alice
echo 'add 198.51.100.0/24 via 192.0.2.2' >"$state/line"
refused 'no grant lets user' alice rtmctl register --protocol bgp <"$state/line"
ok 'alice may not'
usermod --append --groups "$group" alice
alice rtmctl register --protocol bgp --label alice <"$state/line" >"$state/alice.log" 2>&1 &
client=$!
eventually 'her route' has_route 198.51.100.0/24
ping -q -c 1 -W 2 198.51.100.1 >/dev/null || fail 'packets do not go by it'
ok "she may, as a member of $group: $(ip route show 198.51.100.0/24)"
# A second registration, of the user and not of a connection, for calls one by one.
call() { alice busctl call org.rtmd1 "$@"; }
shared=$(call /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' 0 ipv4 10006 1 1 shared b true |
    cut -d '"' -f 2)
entities=$(entities)

# From here on nothing may take that route away.
monitor=''
watch_kernel() {
    [ -z "$monitor" ] || kill "$monitor"
    ip monitor route nexthop >"$state/monitor" 2>&1 &
    monitor=$!
}
watch_kernel
ping -q -i 0.1 198.51.100.1 >"$state/ping" 2>&1 &
ping=$!
# undisturbed WHAT: she did not notice it, nor did packets.
undisturbed() {
    kill -0 "$client" 2>/dev/null || fail "$1: her client ended: $(cat "$state/alice.log")"
    is "$entities" entities
    has_route 198.51.100.0/24 || fail "$1: the route is gone"
    ! grep '^Deleted' "$state/monitor" || fail "$1: something was taken out of the kernel"
    routes=$((${routes:-0} + 1))
    call "$shared" org.rtmd1.Entity AddRoute 'sa{sv}u' "10.0.$routes.0/24" 1 via 'a(su)' 1 192.0.2.2 0 0 >/dev/null
    eventually "$1: she goes on" has_route "10.0.$routes.0/24"
    ok "$1: the same entities and routes, nothing was taken out of the kernel, and she goes on"
}

step 'A call starts it'
systemctl stop rtmd
has_route 198.51.100.0/24 || fail 'a stop took the route'
rtmctl status >/dev/null || fail 'a call does not start it'
eventually 'it is ready' systemctl is-active rtmd
undisturbed 'stopped, and started by a call'
systemctl disable --quiet rtmd
systemctl stop rtmd
refused 'not activatable\|not provided\|not found\|not available' busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager GetPreferences
is inactive systemctl is-active rtmd
systemctl enable --quiet rtmd
systemctl start rtmd
ok 'but not where it is disabled'

step 'The watchdog'
mkdir -p /etc/systemd/system/rtmd.service.d
printf '[Service]\nWatchdogSec=3s\n' >/etc/systemd/system/rtmd.service.d/test.conf
systemctl daemon-reload
systemctl restart rtmd
before=$(property MainPID)
sleep 7
[ "$(property MainPID)" = "$before" ] || fail 'one that is idle was killed'
undisturbed 'twice the time without work'
kill -STOP "$before"
is_another() { pid=$(property MainPID) && [ "$pid" != 0 ] && [ "$pid" != "$before" ]; }
eventually 'it is started again' is_another
eventually 'it is ready' systemctl is-active rtmd
journalctl --quiet --unit rtmd --output cat | grep -qi 'watchdog timeout' || fail 'it was not the watchdog'
undisturbed 'stuck, killed and started again'
rm -r /etc/systemd/system/rtmd.service.d
systemctl daemon-reload

step 'Reload'
cp /etc/rtmd/rtmd.toml "$state/rtmd.toml"
level() { busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager GetPreferences | grep -q "$1"; }
printf '[preferences]\nrip = 4711\n' >/etc/rtmd/rtmd.toml
systemctl reload rtmd || fail 'a good one is refused'
level 4711 || fail 'it does not count'
printf '[preferences]\nrip = = 4712\n' >/etc/rtmd/rtmd.toml
! systemctl reload rtmd 2>"$state/reload" || fail 'a bad one is not refused'
level 4711 || fail 'what counted before does not any more'
for where in "systemctl --no-pager --full status rtmd" "journalctl --quiet --unit rtmd --output cat"; do
    $where | grep -q 'rtmd.toml:2:' || fail "$where does not say why"
done
is active systemctl is-active rtmd
cp "$state/rtmd.toml" /etc/rtmd/rtmd.toml
systemctl reload rtmd
level 4711 && fail 'the last one does not count'
undisturbed 'a good, a bad and a good configuration'

step 'Clients that are units'
# unit NAME PROTOCOL PREFIX: offers it, and lets it outlive the connection.
unit() {
    printf 'add %s via 192.0.2.2\n' "$3" >"$state/$1.lines"
    systemd-run --quiet --unit="$1" --uid=alice --property="StandardInput=file:$state/$1.lines" \
        rtmctl register --protocol "$2" --linger 600
    eventually "the route of $1" has_route "$3"
}
unit stopped ospf 10.1.0.0/16
systemctl stop stopped
eventually 'the route of a unit that was stopped goes' has_no_route 10.1.0.0/16
unit killed isis 10.2.0.0/16
systemctl kill --signal=KILL killed
eventually 'it is gone' sh -c '! systemctl is-active killed'
sleep 1
has_route 10.2.0.0/16 || fail 'the route of one that was killed went'
ok 'stopped, its routes go; killed, they linger'
entities=$(entities)

step 'The sandbox'
# The very unit, with another program in it, that tries what each line is to prevent.
sed -e '/^Type=/d; /^BusName=/d; /^ExecReload=/d; /^Restart/d; /^WatchdogSec=/d; /^Alias=/d' \
    -e 's|^ExecStart=.*|Type=oneshot\nExecStart=/usr/bin/perl /shared/sandbox.pl|' \
    -e 's|^\[Service\]|&\nStandardOutput=file:/run/sandbox.log\nStandardError=inherit|' \
    /usr/lib/systemd/system/rtmd.service >/run/systemd/system/sandbox.service
touch /tmp/of-others
readlink /proc/self/ns/ipc >/run/sandbox.ipc
systemctl daemon-reload
systemctl start sandbox || {
    cat /run/sandbox.log >&2
    fail 'the sandbox has a hole'
}
cat /run/sandbox.log
rm -f /run/systemd/system/sandbox.service /run/sandbox.* /tmp/of-others
systemctl daemon-reload

step 'The next version'
watch_kernel # the steps before took their own
before=$(property MainPID)
dpkg --install /shared/next.deb >"$state/dpkg.log" 2>&1 || fail "$(cat "$state/dpkg.log")"
is_another || fail 'the new one does not run'
is active systemctl is-active rtmd
undisturbed 'upgraded'

kill -INT "$ping"
wait "$ping" || true
grep -q ' 0% packet loss' "$state/ping" || fail "packets were lost: $(cat "$state/ping")"
ok "all that time: $(grep 'packet loss' "$state/ping")"
kill "$monitor" "$client"

step 'It is removed'
echo 'add 198.51.100.0/24 via 192.0.2.2' |
    alice rtmctl register --protocol bgp --linger 600 >"$state/alice.log" 2>&1 &
eventually 'the route' has_route 198.51.100.0/24
# Somebody who goes on calling.
while sleep 0.05; do busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager GetPreferences >/dev/null 2>&1 || true; done &
caller=$!
dpkg --remove rtmd >"$state/dpkg.log" 2>&1 || fail "$(cat "$state/dpkg.log")"
sleep 0.5
kill "$caller"
is '' ip route show table all proto 82
is '' ip -6 route show table all proto 82
is '' ip nexthop show proto 82
ip route show 203.0.113.0/24 | grep -q . || fail "somebody else's route is gone"
refused 'could not be found\|not loaded\|masked' systemctl start rtmd
! busctl --no-pager list | grep -q '^org\.rtmd1 .*[0-9] rtmd' || fail 'it is still on the bus'
[ ! -e /run/rtmd ] || fail 'it left its journal'
[ -e /etc/rtmd/rtmd.toml ] || fail 'its configuration went with it'
ok 'its routes are gone, nobody starts it, and the configuration is still there'

step 'It is installed again, and purged'
dpkg --install /shared/rtmd.deb >"$state/dpkg.log" 2>&1 || fail "$(cat "$state/dpkg.log")"
is active systemctl is-active rtmd
dpkg --purge rtmd >"$state/dpkg.log" 2>&1 || fail "$(cat "$state/dpkg.log")"
! grep -i 'not empty\|failed' "$state/dpkg.log" || fail 'dpkg complains'
userdel --remove alice >/dev/null 2>&1
systemctl reset-failed 2>/dev/null || true
files >"$state/left"
diff "$state/files" "$state/left" || fail 'it left something behind'
ok 'no file is left'
