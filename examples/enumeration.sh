#!/bin/sh
# Enumeration and lookups with busctl: what leads to an address, and what there is at all.
#
# An enumeration is an object that only the bus connection which created it may page through, and it
# ends with that connection. Each busctl call is a connection of its own, so busctl cannot page; it
# can look things up, and rtmctl, which keeps its connection, walks over the table. It prints
#
#     what 10.1.2.3 matches, the longest first:
#       10.1.2.0/24
#       10.1.0.0/16
#       10.0.0.0/8
#     the routes to 10.1.2.0/24, best first:
#     a(tsttuuuuuata{sv}) 1 … "10.1.2.0/24" … 3 "best-in-views" u 1 "fib" s …
#     the routes to 10.1.0.0/16 and below:
#       prefix              way …             owner               preference  metric  fib
#     > 10.1.0.0/16         via 192.0.2.2 … example (static)             3       0  …
#     > 10.1.2.0/24         via 192.0.2.2 … example (static)             3       0  …
set -eu

table() { busctl call org.rtmd1 /org/rtmd1/table/0/ipv4 org.rtmd1.Table "$@"; }

# look_up HOW PREFIX: prints the prefix that is found, if one is. The numbers: the best of all
# protocols (0) in the unicast view (1).
look_up() { table "$1" suu "$2" 0 1 2>/dev/null | cut -d '"' -f 2; }

entity=$(busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' \
    0 ipv4 10006 0 2 label s example shared b true | cut -d '"' -f 2)
trap 'busctl call org.rtmd1 "$entity" org.rtmd1.Entity Deregister "a{sv}" 0' EXIT

# The same route for each; flag 8 keeps it out of the kernel.
busctl call org.rtmd1 "$entity" org.rtmd1.Entity AddPrefixes 'asa{sv}u' \
    3 10.0.0.0/8 10.1.0.0/16 10.1.2.0/24 2 via 'a(su)' 1 192.0.2.2 0 flags u 8 0 >/dev/null

echo 'what 10.1.2.3 matches, the longest first:'
prefix=$(look_up GetMostSpecificDestination 10.1.2.3/32)
while [ -n "$prefix" ]; do
    echo "  $prefix"
    prefix=$(look_up GetLessSpecificDestination "$prefix")
done

echo 'the routes to 10.1.2.0/24, best first:'
table GetRoutes s 10.1.2.0/24
echo 'the routes to 10.1.0.0/16 and below:'
rtmctl routes 10.1.0.0/16 # with --json for programs; without a prefix, all there are
