#!/bin/sh
# The bus policy means what it says, on dbus-daemon and on dbus-broker: only root and the service's
# user may be the service, everybody may look, only root and the clients' group may register, only root
# and the service's user may administer, and the service may call its clients back.
set -eu

here=$(dirname "$(realpath "$0")")
[ "$(id -u)" = 0 ] || {
    echo 'skip: the bus policy can be tried as another user only by root'
    exit 0
}

state=$(mktemp -d)
chmod 755 "$state" # the other user has to reach the socket
pids=''
clean() {
    # The last started first: clients before their bus.
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$state"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

eventually() {
    for _ in $(seq 100); do
        "$@" 2>/dev/null && return 0
        sleep 0.1
    done
    echo "waited in vain: $*" >&2
    cat "$state"/*.log >&2
    exit 1
}

as_root() { "$@"; }
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
# The group of the clients and the user of the service are not there on every machine; `games` (60) and
# `daemon` (1) are, and stand for them.
as_member() { setpriv --reuid=65534 --regid=65534 --groups=60 "$@"; }
as_service() { setpriv --reuid=1 --regid=1 --clear-groups "$@"; }
sed -e 's/group="rtmd-clients"/group="games"/' -e 's/user="rtmd"/user="daemon"/' \
    "$here/../dbus/org.rtmd1.conf" >"$state/policy.conf"
chmod 644 "$state/policy.conf"
export POLICY="$state/policy.conf"

# call USER DESTINATION INTERFACE [MEMBER]: nobody there ever answers, so what is allowed runs out of
# time.
call() {
    "as_$1" busctl --timeout=0.3 call "$2" /org/rtmd1 "$3" "${4:-Anything}" 2>&1 || true
}

# own USER
own() {
    "as_$1" busctl call org.freedesktop.DBus / org.freedesktop.DBus RequestName su org.rtmd1 0 2>&1 ||
        true
}

# expect allowed|refused WHAT ANSWER
expect() {
    case $3 in
        'Call failed: Access denied' | *AccessDenied*) answer=refused ;;
        'Call failed: Connection timed out' | 'u 1') answer=allowed ;;
        *) answer=broken ;;
    esac
    if [ "$answer" != "$1" ]; then
        printf '%s: %s should be %s: %s\n' "$bus" "$2" "$1" "$3" >&2
        exit 1
    fi
    printf '   %s: %s: %s\n' "$bus" "$2" "$1"
}

# What stays connected: says its unique name, then does nothing. With a name it is the service.
cat >"$state/client.py" <<'CLIENT'
import signal, sys, dbus
bus = dbus.SystemBus()
for name in sys.argv[1:]:
    bus.request_name(name)
print(bus.get_unique_name(), flush=True)
signal.pause()
CLIENT

for bus in dbus-daemon dbus-broker; do
    command -v "$bus" >/dev/null || {
        echo "skip: $bus is not installed"
        continue
    }
    kind=''
    [ "$bus" = dbus-daemon ] || kind=--broker
    "$here/private-bus" $kind "$state/$bus" >"$state/$bus.log" 2>&1 &
    pids="$! $pids"
    export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$state/$bus"
    eventually grep -q unix:path= "$state/$bus.log"

    expect refused 'anybody becomes the service' "$(own nobody)"
    expect allowed 'root becomes the service' "$(own root)"

    /usr/bin/python3 "$state/client.py" org.rtmd1 >"$state/$bus.service.log" 2>&1 &
    pids="$! $pids"
    as_nobody /usr/bin/python3 "$state/client.py" >"$state/$bus.client.log" 2>&1 &
    pids="$! $pids"
    eventually grep -q '^:' "$state/$bus.service.log"
    eventually grep -q '^:' "$state/$bus.client.log"
    client=$(cat "$state/$bus.client.log")

    for interface in Manager Table DestinationEnumeration; do
        expect allowed "anybody calls $interface" "$(call nobody org.rtmd1 "org.rtmd1.$interface")"
    done
    for user in nobody member root; do
        [ "$user" = nobody ] && answer=refused || answer=allowed
        expect "$answer" "$user registers" \
            "$(call "$user" org.rtmd1 org.rtmd1.Manager RegisterEntity)"
        expect "$answer" "$user calls an entity" "$(call "$user" org.rtmd1 org.rtmd1.Entity)"
    done
    for member in SetPreference Reload SetForwarding AddStaticRoute RemoveStaticRoute MakeStatic; do
        for user in nobody member service root; do
            case $user in service | root) answer=allowed ;; *) answer=refused ;; esac
            expect "$answer" "$user calls $member" \
                "$(call "$user" org.rtmd1 org.rtmd1.Manager "$member")"
        done
    done
    for member in GetPreferences GetStaticRoutes; do
        expect allowed "anybody calls $member" \
            "$(call nobody org.rtmd1 org.rtmd1.Manager "$member")"
    done
    expect allowed 'anybody looks around' \
        "$(call nobody org.rtmd1 org.freedesktop.DBus.Introspectable)"
    expect allowed 'the service calls a client back' "$(call root "$client" org.rtmd1.Callback)"
    expect refused 'the service calls a client otherwise' "$(call root "$client" org.example)"
    expect refused 'anybody calls a client back' "$(call nobody "$client" org.rtmd1.Callback)"
done
