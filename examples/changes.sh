#!/bin/sh
# Changes with busctl: see whether a destination changed since one last looked.
#
# A registration for change notification ends with the bus connection that made it, and each busctl
# call is a connection of its own, so a shell script cannot be woken. But a destination says when
# anything about it last changed, and to ask for that costs little. (Who wants to know what reaches
# the kernel is better off with `ip monitor route`.) Where nobody else is registered it prints
#
#     198.51.100.0/24 is not there
#     198.51.100.0/24 changed: 1 routes, the best of entity 1
#     198.51.100.0/24 did not change
#     198.51.100.0/24 changed: 2 routes, the best of entity 2
#     198.51.100.0/24 changed: 2 routes, the best of entity 2
#     198.51.100.0/24 changed: 1 routes, the best of entity 1
#     198.51.100.0/24 is not there
set -eu

prefix=198.51.100.0/24
last=never

# look: prints what became of the destination since the last look. The reply is the prefix, when it
# changed, its views, and for the one view asked for: the view, how many routes, the best one, its
# owner, flags, the route in hold-down. Without a destination there is no reply.
look() {
    read -r _ _ changed _ _ _ routes _ owner _ <<REPLY
$(busctl call org.rtmd1 /org/rtmd1/table/0/ipv4 org.rtmd1.Table GetExactMatchDestination \
        suu "$prefix" 0 1 2>/dev/null)
REPLY
    case $changed in
        '') echo "$prefix is not there" ;;
        "$last") echo "$prefix did not change" ;;
        *) echo "$prefix changed: $routes routes, the best of entity $owner" ;;
    esac
    last=$changed
}

# register PROTOCOL: prints the object of a registration.
register() {
    busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' \
        0 ipv4 "$1" 0 1 shared b true | cut -d '"' -f 2
}

# offer ENTITY METRIC: flag 8 keeps the route out of the kernel.
offer() {
    busctl call org.rtmd1 "$1" org.rtmd1.Entity AddRoute 'sa{sv}u' \
        "$prefix" 3 via 'a(su)' 1 192.0.2.2 0 metric u "$2" flags u 8 0 >/dev/null
}

deregister() { busctl call org.rtmd1 "$1" org.rtmd1.Entity Deregister 'a{sv}' 0; }

look
rip=$(register 8)
offer "$rip" 10
look
look
ospf=$(register 13) # preferred to RIP
offer "$ospf" 10
look
offer "$rip" 20 # any change is one, not only of the best route
look
deregister "$ospf"
look
deregister "$rip"
look
