#!/usr/bin/python3
"""A session: offer routes, and have them there whatever is restarted or lost.

usage: session.py GATEWAY PREFIX...

Needs Debian's python3-dbus. It keeps one registration, as rip in table 0/ipv4, and looks once a
second whether it still holds. When rtmd restarts there is nothing to do: it knows its clients
again. When rtmd lost what it knew, its Epoch is another number; when the bus was lost, so was the
registration. Then this program registers and offers everything again, and EndOfSync has rtmd drop
what it offered before and not again.
"""

import sys
import time

import dbus

RIP = 8
LINGER = 60_000  # milliseconds that its routes stay when the bus is lost, or this program


def connect():
    """A connection of its own, which does not end the program when the bus goes."""
    bus = dbus.SystemBus(private=True)
    bus.set_exit_on_disconnect(False)
    return bus


def epoch(bus):
    manager = bus.get_object("org.rtmd1", "/org/rtmd1", introspect=False)
    return manager.Get("org.rtmd1.Manager", "Epoch", dbus_interface=dbus.PROPERTIES_IFACE)


def offer_all(bus, routes):
    """Registers, and offers everything; returns the epoch that this is good for."""
    manager = dbus.Interface(bus.get_object("org.rtmd1", "/org/rtmd1"), "org.rtmd1.Manager")
    options = {"label": "session", "linger": dbus.UInt32(LINGER)}
    path, profile = manager.RegisterEntity(0, "ipv4", RIP, 0, options)
    entity = dbus.Interface(bus.get_object("org.rtmd1", path), "org.rtmd1.Entity")
    for prefix, gateway in routes.items():
        try:
            entity.AddRoute(prefix, {"via": [(gateway, dbus.UInt32(0))]}, 0)
        except dbus.DBusException as error:
            if not error.get_dbus_name().startswith("org.rtmd1.Error."):
                raise
            print(f"refused: {error.get_dbus_message()}", flush=True)
    swept = entity.EndOfSync()
    print(f"offered {len(routes)} routes, {swept} others went", flush=True)
    return profile["epoch"]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    routes = {prefix: sys.argv[1] for prefix in sys.argv[2:]}
    bus = good_for = None
    while True:
        try:
            bus = bus or connect()
            # To ask a service that is not there would start it, even one that was stopped on purpose.
            if bus.name_has_owner("org.rtmd1") and epoch(bus) != good_for:
                good_for = None
                good_for = offer_all(bus, routes)
        except dbus.DBusException as error:
            print(f"waiting: {error.get_dbus_message()}", flush=True)
            # A service that restarts needs nothing but time.
            if bus and (good_for is None or not bus.get_is_connected()):
                bus.close()  # and with it goes what was begun
                bus = good_for = None
        time.sleep(1)


if __name__ == "__main__":
    main()
