#!/bin/sh
# Events with busctl: hear who comes and goes, and see a route's time run out.
#
# `busctl monitor` shows the messages of all, so the system bus lets only root do that. These
# signals are for everybody, and a user hears them with
#
#     gdbus monitor --system --dest org.rtmd1 --object-path /org/rtmd1/table/0/ipv4
#
# When a route expires, only the connection that registered is told or asked, and here that was a
# busctl call that ended long ago: the route just goes.
#
# It prints
#
#     EntityRegistered: protocol 10006, example
#     198.51.100.0/24 is there, and expires in … ms
#     198.51.100.0/24 is gone
#     EntityDeregistered: protocol 10006, example
set -eu

table=/org/rtmd1/table/0/ipv4
prefix=198.51.100.0/24

# Each message is a line of JSON. A match on the table's path is one on instance and family.
heard=$(mktemp)
busctl --json=short monitor --match "type='signal',interface='org.rtmd1.Table',path='$table'" \
    >"$heard" 2>"$heard.log" &
monitor=$!
trap 'kill "$monitor"; rm -f "$heard" "$heard.log"' EXIT
until grep -qs '^Monitoring' "$heard.log"; do sleep 0.1; done

# hear NUMBER: waits for that message and prints its name, the protocol and the label.
hear() {
    until [ "$(wc -l <"$heard")" -ge "$1" ]; do sleep 0.1; done
    told='"member":"\([A-Za-z]*\)".*"ipv4",\([0-9]*\),[0-9]*,"\([^"]*\)"'
    sed -n "$1s/.*$told.*/\1: protocol \2, \3/p" "$heard"
}

entity=$(busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' \
    0 ipv4 10006 0 2 label s example shared b true | cut -d '"' -f 2)
hear 1

# The route lives for two seconds unless it is offered again; flag 8 keeps it out of the kernel.
busctl call org.rtmd1 "$entity" org.rtmd1.Entity AddRoute 'sa{sv}u' \
    "$prefix" 3 via 'a(su)' 1 192.0.2.2 0 ttl u 2000 flags u 8 0 >/dev/null
routes() { busctl call org.rtmd1 "$table" org.rtmd1.Table GetRoutes s "$prefix"; }
routes | sed -n "s|.*\"expires-in\" u \([0-9]*\).*|$prefix is there, and expires in \1 ms|p"
while [ "$(routes | cut -d ' ' -f 2)" != 0 ]; do sleep 0.1; done
echo "$prefix is gone"

busctl call org.rtmd1 "$entity" org.rtmd1.Entity Deregister 'a{sv}' 0
hear 2
