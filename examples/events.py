#!/usr/bin/python3
"""Events: hear who comes and goes, and be told, or asked, when a route's time is over.

Needs Debian's python3-dbus and, for whatever comes unasked, the main loop of python3-gi. It prints

    EntityRegistered: ospf
    EntityDeregistered: ospf
    RouteExpired: 198.51.100.0/24
    ... and it is gone
    asked about 198.51.100.0/24: keep it
    asked about 203.0.113.0/24: delete it
    ... and it is gone
    198.51.100.0/24 is kept, for ever
"""

import time

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

TABLE = "/org/rtmd1/table/0/ipv4"
RIP, OSPF, BGP = 8, 13, 14
NOT_FOR_THE_KERNEL = 8

SECONDS = 20

loop = GLib.MainLoop()


def interface(bus, path, name):
    return dbus.Interface(bus.get_object("org.rtmd1", path), name)


def register(bus, protocol, label, **options):
    manager = interface(bus, "/org/rtmd1", "org.rtmd1.Manager")
    path, _ = manager.RegisterEntity(0, "ipv4", protocol, 0, {"label": label, **options})
    return interface(bus, path, "org.rtmd1.Entity")


def offer(entity, destination):
    """Offers a route that lives for a fifth of a second, unless it is offered again."""
    route = {
        "via": [("192.0.2.2", dbus.UInt32(0))],
        "flags": dbus.UInt32(NOT_FOR_THE_KERNEL),
        "ttl": dbus.UInt32(200),
    }
    entity.AddRoute(destination, route, 0)


def hear_of_entity(entity, member):
    print(f"{member}: {entity[6]}")
    if member == "EntityDeregistered":
        loop.quit()


def hear_of_expiry(route):
    print(f"RouteExpired: {route[1]}")
    loop.quit()


class Callback(dbus.service.Object):
    """Answers the service's question what is to become of an expired route."""

    @dbus.service.method("org.rtmd1.Callback", in_signature="(tsttuuuuuata{sv})", out_signature="b")
    def RouteExpired(self, route):
        delete = route[1] != "198.51.100.0/24"
        print(f"asked about {route[1]}: {'delete' if delete else 'keep'} it")
        if delete:
            loop.quit()
        return delete


def wait(what):
    """Runs the loop until it is ended, or the time is over."""

    def late():
        late.happened = True
        loop.quit()

    late.happened = False
    timer = GLib.timeout_add_seconds(SECONDS, late)
    loop.run()
    if late.happened:
        raise SystemExit(f"events.py: waited {SECONDS} seconds in vain for {what}")
    GLib.source_remove(timer)


def wait_until_gone(table, destination):
    end = time.monotonic() + SECONDS
    while table.GetRoutes(destination):
        if time.monotonic() > end:
            raise SystemExit(f"events.py: {destination} has routes of others, which do not go")
        time.sleep(0.01)
    print("... and it is gone")


def main():
    DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    table = interface(bus, TABLE, "org.rtmd1.Table")
    for destination in ("198.51.100.0/24", "203.0.113.0/24"):
        if table.GetRoutes(destination):
            raise SystemExit(f"events.py: {destination} has routes already, which would be in the way")

    # A match on the table's path is a match on instance and family.
    signals = bus.add_signal_receiver(
        hear_of_entity,
        bus_name="org.rtmd1",
        dbus_interface="org.rtmd1.Table",
        path=TABLE,
        member_keyword="member",
    )
    another_program = dbus.SystemBus(private=True)
    another_program.set_exit_on_disconnect(False)  # it is this program, which goes on
    register(another_program, OSPF, "ospf")
    another_program.close()  # nobody deregistered, and the registration went all the same
    wait("the signal EntityDeregistered")
    signals.remove()

    # Without a callback its owner hears of an expired route, and it is deleted.
    rip = register(bus, RIP, "rip")
    rip.connect_to_signal("RouteExpired", hear_of_expiry)
    offer(rip, "198.51.100.0/24")
    wait("the signal RouteExpired")
    wait_until_gone(table, "198.51.100.0/24")

    # With one its owner is asked first. Who does not answer within some seconds has it deleted.
    callback = Callback(bus, "/callback")
    bgp = register(bus, BGP, "bgp", callback=dbus.ObjectPath("/callback"))
    offer(bgp, "198.51.100.0/24")
    time.sleep(0.1)  # so that they expire one after the other
    offer(bgp, "203.0.113.0/24")
    wait("the question what is to become of 203.0.113.0/24")
    wait_until_gone(table, "203.0.113.0/24")
    (kept,) = table.GetRoutes("198.51.100.0/24")
    print(f"{kept[1]} is kept, {'for a while' if 'expires-in' in kept[10] else 'for ever'}")
    callback.remove_from_connection()


if __name__ == "__main__":
    main()
