#!/bin/sh
# Protocol 1 of the demo: static routes, offered by plain busctl calls.
#
# usage: static-router.sh GATEWAY4 GATEWAY6 PREFIX...
#
# Each busctl call is a bus connection of its own, so the registrations are `shared`: they belong to
# the user and last until somebody calls Deregister.
set -eu

usage='usage: static-router.sh GATEWAY4 GATEWAY6 PREFIX...'
gateway4=${1:?$usage}
gateway6=${2:?$usage}
shift 2

protocol=10006 # static
preference=200 # a fallback: whatever a routing protocol offers is preferred

# Shows the call as one would type it, then makes it.
call() {
    printf '$ busctl call' >&2
    for word; do
        case $word in
            *[!a-zA-Z0-9_./:-]*) printf " '%s'" "$word" >&2 ;;
            *) printf ' %s' "$word" >&2 ;;
        esac
    done
    echo >&2
    busctl call "$@"
}

# register FAMILY: prints the object path of the new registration.
register() {
    reply=$(call org.rtmd1 /org/rtmd1 org.rtmd1.Manager RegisterEntity 'usuua{sv}' \
        0 "$1" "$protocol" 0 2 label s demo-static shared b true) || return
    echo "$reply" | cut -d '"' -f 2
}

# offer ENTITY PREFIX GATEWAY: interface 0, so rtmd finds the link that leads to the gateway.
offer() {
    call org.rtmd1 "$1" org.rtmd1.Entity AddRoute 'sa{sv}u' \
        "$2" 2 via 'a(su)' 1 "$3" 0 preference u "$preference" 0 >/dev/null
}

# Whoever stops it before all is offered wants nothing left behind.
entity4='' entity6=''
withdraw() {
    for entity in $entity4 $entity6; do
        busctl call org.rtmd1 "$entity" org.rtmd1.Entity Deregister 'a{sv}' 0 || true
    done
}
trap withdraw EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

entity4=$(register ipv4)
entity6=$(register ipv6)
for prefix; do
    case $prefix in
        *:*) offer "$entity6" "$prefix" "$gateway6" ;;
        *) offer "$entity4" "$prefix" "$gateway4" ;;
    esac
done
trap - EXIT INT TERM
