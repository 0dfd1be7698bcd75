#!/bin/sh
# The bus policy means what it says, on dbus-daemon and on dbus-broker: only root and the service's
# user may be the service, everybody may call it, and only the service may call clients back.
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
# The user of the service is not there on every machine; `daemon` (1) is, and stands for it.
as_service() { setpriv --reuid=1 --regid=1 --clear-groups "$@"; }
sed -e 's/user="rtmd"/user="daemon"/' \
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
    # rtmd says who may do what, and which rule refuses it: the bus is not to be in its way.
    for user in nobody service root; do
        expect allowed "$user calls an entity" "$(call "$user" org.rtmd1 org.rtmd1.Entity)"
        for member in RegisterEntity SetPreference Reload SetForwarding AddStaticRoute \
            RemoveStaticRoute MakeStatic CheckPolicy; do
            expect allowed "$user calls $member" \
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
