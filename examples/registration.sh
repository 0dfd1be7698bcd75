#!/bin/sh
# Registration with busctl: become an entity of a table, see who is there, be refused, and leave.
#
# A registration ends with its bus connection, and each busctl call is a connection of its own. So
# this one is `shared`: it belongs to the user and lives until Deregister. Where nobody else is
# registered it prints
#
#     static in table 0/ipv4 is /org/rtmd1/entity/1
#     who is there:
#     a(tousuusss) 1 1 "/org/rtmd1/entity/1" 0 "ipv4" 10006 0 "example" "" "active"
#     its label, preference and number of routes:
#     s "example"
#     u 3
#     t 0
#     refused are the same again, an unknown option, an unknown instance:
#     Call failed: static/0 in table 0/ipv4 is already registered, as entity 1
#     Call failed: there is no registration option "lable"
#     Call failed: instance 7 is not configured
#     /org/rtmd1/entity/2 was not shared and ended with the call
#     deregistered; who is there:
#     a(tousuusss) 0
set -eu

manager() { busctl call org.rtmd1 /org/rtmd1 org.rtmd1.Manager "$@"; }

# register INSTANCE FAMILY PROTOCOL NUMBER-OF-OPTIONS [NAME TYPE VALUE]...: 0, the number after the
# protocol, is which of several of that protocol.
register() {
    instance=$1 family=$2 protocol=$3
    shift 3
    manager RegisterEntity 'usuua{sv}' "$instance" "$family" "$protocol" 0 "$@"
}

# The reply is the path of the entity, in quotes, and what the table can do.
entity=$(register 0 ipv4 10006 2 label s example shared b true | cut -d '"' -f 2)
[ -n "$entity" ] || {
    echo "$0: not registered, see above: is rtmd there, and nobody else with this protocol?" >&2
    exit 1
}
deregister() { busctl call org.rtmd1 "$entity" org.rtmd1.Entity Deregister 'a{sv}' 0; }
trap deregister EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "static in table 0/ipv4 is $entity"

echo 'who is there:'
manager GetRegisteredEntities us 0 ipv4
echo 'its label, preference and number of routes:'
busctl get-property org.rtmd1 "$entity" org.rtmd1.Entity Label Preference Routes

# busctl fails and says why on standard error.
echo 'refused are the same again, an unknown option, an unknown instance:'
register 0 ipv4 10006 1 shared b true 2>&1 || true
register 0 ipv4 13 1 lable s example 2>&1 || true
register 7 ipv4 13 1 shared b true 2>&1 || true

brief=$(register 0 ipv4 13 0 | cut -d '"' -f 2)
while busctl introspect org.rtmd1 "$brief" org.rtmd1.Entity >/dev/null 2>&1; do sleep 0.1; done
echo "$brief was not shared and ended with the call"

trap - EXIT
deregister
echo 'deregistered; who is there:'
manager GetRegisteredEntities us 0 ipv4
