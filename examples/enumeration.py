#!/usr/bin/python3
"""Enumeration and lookups: offer routes in bulk, walk over the table page by page, look things up.

Needs Debian's python3-dbus. It prints

    offered 2500 routes
    refused number 2500: "nonsense" is not a prefix like 192.0.2.0/24
    all destinations: 2501, in pages of 1000, 1000, 501
    from 10.9.248.0/24 on: 10.9.248.0/24, 198.51.100.0/24
    10.8.0.0/16 and what it covers: 250
    where the best is rip's own: 2499
    rip's own routes: 2500
    ospf's routes: 10.0.0.0/24 metric 5, 198.51.100.0/24 metric 5
    with rip's preference and metric 7: 10.0.0.0/16
    10.0.0.0/24 has 2 routes, the best is ospf's:
      ospf: preference 110, metric 5
      rip: preference 120, metric 1
    the longest match of 10.0.0.77 is 10.0.0.0/24
    ... and the next shorter one 10.0.0.0/16
    ... and then: no route is less specific than 10.0.0.0/16 in these views
"""

import dbus

RIP, OSPF = 8, 13
UNICAST = 1  # views
START, AT, WITHIN = 0, 1, 2  # where an enumeration begins
OWN_DESTINATIONS, OWN_ROUTES = 0x01000000, 0x00010000
ANY_ROUTE, OWNER, RANK = 0, 1, 4  # what criteria are compared
BEST_PROTOCOL = 0  # whose best route is told: the best of all
NOT_FOR_THE_KERNEL = 8
FOR_EVER = 0xFFFFFFFF


def interface(bus, path, name):
    return dbus.Interface(bus.get_object("org.rtmd1", path), name)


def register(bus, protocol):
    manager = interface(bus, "/org/rtmd1", "org.rtmd1.Manager")
    path, profile = manager.RegisterEntity(0, "ipv4", protocol, 0, {})
    return interface(bus, path, "org.rtmd1.Entity"), profile


def pages(enumeration, most):
    """The pages of an enumeration. One may be short, even empty, before the last."""
    done = False
    while not done:
        page, done = enumeration.Next(most)
        yield page
    enumeration.Close()


def main():
    bus = dbus.SystemBus()
    rip, profile = register(bus, RIP)
    # RTM_THIS_PROTOCOL and "own" speak of a connection's one registration, so this is another's.
    other = dbus.SystemBus(private=True)
    ospf, profile_of_other = register(other, OSPF)
    names = {profile["id"]: "rip", profile_of_other["id"]: "ospf"}

    # In bulk a route is a structure: destination, neighbour, preference, metric, flags, views, time
    # to live, next hops. One that is refused does not stop the others.
    next_hop, _ = rip.AddNextHop("192.0.2.2", 0, {})
    prefixes = [f"10.{n // 250}.{n % 250}.0/24" for n in range(2499)] + ["10.0.0.0/16", "nonsense"]
    rest = (NOT_FOR_THE_KERNEL, UNICAST, FOR_EVER, [next_hop])
    routes = [(prefix, 0, 0, 7 if prefix == "10.0.0.0/16" else 1, *rest) for prefix in prefixes]
    ids, errors = rip.AddRoutes(routes, 0)
    print(f"offered {sum(number != 0 for number in ids)} routes")
    for index, _, text in errors:
        print(f"refused number {index}: {text}")
    # ... or one description for many. In a dictionary each number needs its type.
    route = {
        "via": [("192.0.2.2", dbus.UInt32(0))],
        "metric": dbus.UInt32(5),
        "flags": dbus.UInt32(NOT_FOR_THE_KERNEL),
    }
    ospf.AddPrefixes(["10.0.0.0/24", "198.51.100.0/24"], route, 0)

    table = interface(bus, "/org/rtmd1/table/0/ipv4", "org.rtmd1.Table")
    most = profile["max-handles"]

    def destinations(flags, prefix=""):
        path = table.CreateDestinationEnumeration(UNICAST, flags, prefix, BEST_PROTOCOL)
        return pages(interface(bus, path, "org.rtmd1.DestinationEnumeration"), most)

    def routes_where(matching, criteria, flags=START):
        path = table.CreateRouteEnumeration(UNICAST, flags, "", matching, criteria)
        enumeration = interface(bus, path, "org.rtmd1.RouteEnumeration")
        return [route for page in pages(enumeration, most) for route in page]

    # Destinations come in order of address. Where several are asked for, flags are added.
    sizes = [len(page) for page in destinations(START)]
    print(f"all destinations: {sum(sizes)}, in pages of {', '.join(map(str, sizes))}")
    found = [destination[0] for page in destinations(AT, "10.9.248.0/24") for destination in page]
    print(f"from 10.9.248.0/24 on: {', '.join(found)}")
    print("10.8.0.0/16 and what it covers:", sum(map(len, destinations(WITHIN, "10.8.0.0/16"))))
    print("where the best is rip's own:", sum(map(len, destinations(START + OWN_DESTINATIONS))))

    # Routes come by destination, and those of a destination best first.
    print("rip's own routes:", len(routes_where(ANY_ROUTE, {}, START + OWN_ROUTES)))
    of_ospf = routes_where(OWNER, {"owner": profile_of_other["id"]})
    print("ospf's routes:", ", ".join(f"{route[1]} metric {route[7]}" for route in of_ospf))
    rank = {"preference": profile["preference"], "metric": dbus.UInt32(7)}
    print("with rip's preference and metric 7:", *(route[1] for route in routes_where(RANK, rank)))

    # Lookups. A destination is its prefix, when it changed, views, and for each view asked for: the
    # view, how many routes, the best one, its owner, flags, the route in hold-down.
    prefix, _, _, [(_, count, _, owner, _, _)] = table.GetExactMatchDestination(
        "10.0.0.0/24", BEST_PROTOCOL, UNICAST
    )
    print(f"{prefix} has {count} routes, the best is {names[owner]}'s:")
    for route in table.GetRoutes(prefix):
        print(f"  {names[route[2]]}: preference {route[6]}, metric {route[7]}")
    found = table.GetMostSpecificDestination("10.0.0.77/32", BEST_PROTOCOL, UNICAST)
    print(f"the longest match of 10.0.0.77 is {found[0]}")
    found = table.GetLessSpecificDestination(found[0], BEST_PROTOCOL, UNICAST)
    print(f"... and the next shorter one {found[0]}")
    try:
        table.GetLessSpecificDestination(found[0], BEST_PROTOCOL, UNICAST)
    except dbus.DBusException as error:
        if error.get_dbus_name() != "org.rtmd1.Error.NotFound":
            raise
        print(f"... and then: {error.get_dbus_message()}")


if __name__ == "__main__":
    main()
