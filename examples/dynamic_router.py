#!/usr/bin/python3
"""Protocol 2 of the demo: a routing protocol, as a short program on a D-Bus library.

usage: dynamic_router.py GATEWAY4 GATEWAY6 PREFIX...

Its registrations belong to its bus connection: when the program ends, however it ends, rtmd takes
its routes away and whoever offered the next best route takes over.
"""

import signal
import sys

import dbus

RIP = 8  # rtmd prefers RIP's routes at level 120 unless told otherwise


def register(bus, family):
    """Registers with rtmd and returns what routes are offered to."""
    manager = dbus.Interface(bus.get_object("org.rtmd1", "/org/rtmd1"), "org.rtmd1.Manager")
    path, profile = manager.RegisterEntity(0, family, RIP, 0, {"label": "demo-dynamic"})
    print(f"registered for {family} as {path}, preference {profile['preference']}", flush=True)
    return dbus.Interface(bus.get_object("org.rtmd1", path), "org.rtmd1.Entity")


def offer(entity, destination, gateway):
    """Offers one route; interface 0 lets rtmd find the link that leads to the gateway."""
    route = {"via": [(gateway, dbus.UInt32(0))], "metric": dbus.UInt32(2)}
    number, _ = entity.AddRoute(destination, route, 0)
    print(f"offered {destination} via {gateway} as route {number}", flush=True)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    gateway4, gateway6, *prefixes = sys.argv[1:]
    bus = dbus.SystemBus()
    entity4, entity6 = register(bus, "ipv4"), register(bus, "ipv6")
    for prefix in prefixes:
        if ":" in prefix:
            offer(entity6, prefix, gateway6)
        else:
            offer(entity4, prefix, gateway4)
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
