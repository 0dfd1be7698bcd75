#!/bin/sh
# Change notification in shell: be woken when destinations change, and fetch what they are now.
#
# A registration for change notification ends with its connection, so it cannot be made with busctl,
# which makes another for each call; connection.sh has one that stays. Looking things up, and all
# that another program does, is busctl's. (Who wants to know what reaches the kernel is better off
# with `ip monitor route`.) Where nobody else is registered it prints
#
#     woken
#       198.51.100.0/24: the best has metric 1
#       198.51.101.0/24: the best has metric 1
#     198.51.100.0/24 changes twice, 198.51.101.0/24 goes:
#     woken
#       198.51.100.0/24: the best has metric 3
#       198.51.101.0/24: gone
#     of 198.51.100.0/24 and 203.0.113.0/24 only 203.0.113.0/24 is marked, and both change:
#     woken
#       203.0.113.0/24: the best has metric 4
set -eu

heard=$(mktemp)
trap 'rm -f "$heard"' EXIT
# shellcheck source=SCRIPTDIR/connection.sh
. "$(dirname "$0")/connection.sh"

table=/org/rtmd1/table/0/ipv4
a=198.51.100.0/24 b=198.51.101.0/24 c=203.0.113.0/24

# register FLAGS: for changes in view 1, unicast. The last number, of eight bytes, is a context,
# which comes back with each wake-up.
register() {
    call org.rtmd1 "$table" org.rtmd1.Table RegisterForChangeNotification uut \
        "$(number 1)$(number "$1")$(number 0)$(number 0)"
    notification=$(heard '/org/rtmd1/notification/[0-9]+' | tail -n 1)
}

# fetch: waits to be woken, which says nothing but that, and fetches what waits, in one page here.
fetches=0 told=0
fetch() {
    fetches=$((fetches + 1))
    until [ "$(heard ChangeNotification | wc -l)" -ge "$fetches" ]; do sleep 0.05; done
    echo woken
    call org.rtmd1 "$notification" org.rtmd1.Notification GetChangedDestinations u "$(number 100)"
    for prefix in $(heard '[0-9.]+/[0-9]+' | tail -n +$((told + 1))); do
        told=$((told + 1))
        # Each route is told as id, destination, owner, neighbour, state, flags, preference, metric
        # and more.
        read -r _ count _ _ _ _ _ _ _ metric _ <<REPLY
$(busctl call org.rtmd1 "$table" org.rtmd1.Table GetRoutes s "$prefix")
REPLY
        case $count in
            0) echo "  $prefix: gone" ;;
            *) echo "  $prefix: the best has metric $metric" ;;
        esac
    done
}

register 2 # changes of a best route

# Another program offers routes; 8 is RIP. What was there before has to be enumerated.
rip=$(busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' \
    0 ipv4 8 0 1 shared b true | cut -d '"' -f 2)
# offer PREFIX METRIC: prints the route's id; flag 8 keeps it out of the kernel.
offer() {
    busctl call org.rtmd1 "$rip" org.rtmd1.Entity AddRoute 'sa{sv}u' \
        "$1" 3 via 'a(su)' 1 192.0.2.2 0 metric u "$2" flags u 8 0 | cut -d ' ' -f 2
}

offer "$a" 1 >/dev/null
gone=$(offer "$b" 1)
fetch

echo "$a changes twice, $b goes:"
offer "$a" 2 >/dev/null
busctl call org.rtmd1 "$rip" org.rtmd1.Entity DeleteRoute t "$gone" >/dev/null
offer "$a" 3 >/dev/null
fetch

echo "of $a and $c only $c is marked, and both change:"
call org.rtmd1 "$notification" org.rtmd1.Notification Deregister
register $((2 | 0x10000)) # ... of marked destinations only
call org.rtmd1 "$notification" org.rtmd1.Notification MarkDestination sb \
    "$(pad "$(string "$c")" 4)$(number 1)"
offer "$a" 4 >/dev/null
offer "$c" 4 >/dev/null
fetch

busctl call org.rtmd1 "$rip" org.rtmd1.Entity Deregister 'a{sv}' 0
