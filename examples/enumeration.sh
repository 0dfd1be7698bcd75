#!/bin/sh
# Enumeration and lookups with busctl: what leads to an address, and what there is at all.
#
# An enumeration ends with the connection that made it, so it cannot be paged with busctl, which
# makes another for each call; connection.sh has one that stays. It prints
#
#     what 10.1.2.3 matches, the longest first:
#       10.1.2.0/24
#       10.1.0.0/16
#       10.0.0.0/8
#     the routes to 10.1.2.0/24, best first:
#     a(tsttuuuuuata{sv}) 1 … "10.1.2.0/24" … 3 "best-in-views" u 1 "fib" s …
#     10.1.0.0/16 and what it covers, two to a page:
#       10.1.0.0/16 10.1.1.0/24
#       10.1.2.0/24
#     the same with rtmctl:
#       prefix              way …             owner               preference  metric  fib
#     > 10.1.0.0/16         via 192.0.2.2 … example (static)             3       0  …
#     > 10.1.1.0/24         via 192.0.2.2 … example (static)             3       0  …
#     > 10.1.2.0/24         via 192.0.2.2 … example (static)             3       0  …
set -eu

heard=$(mktemp)
# shellcheck source=SCRIPTDIR/connection.sh
. "$(dirname "$0")/connection.sh"

table() { busctl call org.rtmd1 /org/rtmd1/table/0/ipv4 org.rtmd1.Table "$@"; }

# look_up HOW PREFIX: prints the prefix that is found, if one is. The numbers: the best of all
# protocols (0) in the unicast view (1).
look_up() { table "$1" suu "$2" 0 1 2>/dev/null | cut -d '"' -f 2; }

entity=$(busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' \
    0 ipv4 10006 0 2 label s example shared b true | cut -d '"' -f 2)
trap 'busctl call org.rtmd1 "$entity" org.rtmd1.Entity Deregister "a{sv}" 0; rm -f "$heard"' EXIT

# The same route for each; flag 8 keeps it out of the kernel.
busctl call org.rtmd1 "$entity" org.rtmd1.Entity AddPrefixes 'asa{sv}u' \
    4 10.0.0.0/8 10.1.0.0/16 10.1.1.0/24 10.1.2.0/24 \
    2 via 'a(su)' 1 192.0.2.2 0 flags u 8 0 >/dev/null

echo 'what 10.1.2.3 matches, the longest first:'
prefix=$(look_up GetMostSpecificDestination 10.1.2.3/32)
while [ -n "$prefix" ]; do
    echo "  $prefix"
    prefix=$(look_up GetLessSpecificDestination "$prefix")
done

echo 'the routes to 10.1.2.0/24, best first:'
table GetRoutes s 10.1.2.0/24

echo '10.1.0.0/16 and what it covers, two to a page:'
# The best of all protocols (0) in the unicast view (1), within the prefix (2).
body=$(pad "$(number 1)$(number 2)$(string 10.1.0.0/16)" 4)$(number 0)
call org.rtmd1 /org/rtmd1/table/0/ipv4 org.rtmd1.Table CreateDestinationEnumeration uusu "$body"
enumeration=$(heard '/org/rtmd1/enumeration/[0-9]+')
told=0 done=0
until [ "$done" -eq 1 ]; do
    call org.rtmd1 "$enumeration" org.rtmd1.DestinationEnumeration Next u "$(number 2)"
    page=$(heard '[0-9.]+/[0-9]+' | tail -n +$((told + 1)) | xargs)
    echo "  $page"
    told=$((told + $(echo "$page" | wc -w)))
    # The answer ends with whether that was all.
    done=$(tail -c 4 "$heard" | od -An -tu1 | cut -c 4)
done
call org.rtmd1 "$enumeration" org.rtmd1.DestinationEnumeration Close

echo 'the same with rtmctl:'
rtmctl routes 10.1.0.0/16 # with --json for programs; without a prefix, all there are
