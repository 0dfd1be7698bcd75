"""Clients of rtmd on Debian's D-Bus library, each a function that fails if something is not so.

usage: python_client.py BUS-ADDRESS FUNCTION
"""

import signal
import sys

import dbus
import dbus.bus
import dbus.mainloop.glib

BEST_PROTOCOL = dbus.UInt32(0)
UNICAST = dbus.UInt32(1)
RIP = 8
STATIC = 10006
FOR_EVER = 2**32 - 1


def connect(address):
    return dbus.bus.BusConnection(address)


def interface(bus, path, name):
    return dbus.Interface(bus.get_object("org.rtmd1", path), name)


def register(bus, protocol, **options):
    manager = interface(bus, "/org/rtmd1", "org.rtmd1.Manager")
    options = dbus.Dictionary(options, signature="sv")
    path, profile = manager.RegisterEntity(0, "ipv4", protocol, 0, options)
    return interface(bus, path, "org.rtmd1.Entity"), profile


def table(bus):
    manager = interface(bus, "/org/rtmd1", "org.rtmd1.Manager")
    return interface(bus, manager.GetTable(0, "ipv4"), "org.rtmd1.Table")


def via(*hops):
    return dbus.Array([(address, dbus.UInt32(0)) for address in hops], signature="(su)")


def offers_routes(address):
    bus = connect(address)
    entity, profile = register(bus, STATIC, label="python")
    assert profile["preference"] == 3 and not profile["resumed"], profile
    route = dbus.Dictionary({"via": via("127.0.0.2"), "metric": dbus.UInt32(5)}, signature="sv")
    first, flags = entity.AddRoute("10.0.0.0/8", route, 0)
    assert flags == 0x10002, flags
    found = table(bus).GetMostSpecificDestination("10.1.2.3/32", BEST_PROTOCOL, UNICAST)
    assert found[0] == "10.0.0.0/8" and found[3][0][2] == first, found

    next_hop, _ = entity.AddNextHop("127.0.0.2", 0, dbus.Dictionary({}, signature="sv"))
    items = [
        (f"10.{n // 250}.{n % 250}.0/24", 0, 0, 1, 0, 1, FOR_EVER, [next_hop]) for n in range(10000)
    ]
    items.append(("nonsense", 0, 0, 1, 0, 1, FOR_EVER, [next_hop]))
    ids, errors = entity.AddRoutes(dbus.Array(items, signature="(stuuuuuat)"), 0)
    assert len(ids) == 10001 and all(ids[:-1]) and ids[-1] == 0, ids[-1]
    assert [(error[0], error[1]) for error in errors] == [
        (10000, "org.rtmd1.Error.InvalidParameter")
    ], errors
    routes = table(bus).GetRoutes("10.39.249.0/24")
    assert [route[9] for route in routes] == [[next_hop]] and routes[0][10]["fib"] == "none", routes
    assert entity.DeleteRoutes(ids[:-1]) == []
    assert entity.DeleteRoute(first) == 0x10000
    entity.Deregister(dbus.Dictionary({}, signature="sv"))


def is_refused_by_name(address):
    bus = connect(address)
    entity, _ = register(bus, STATIC)
    colour = dbus.Dictionary({"colour": "red"}, signature="sv")
    name = refusal(entity.AddRoute, "10.0.0.0/8", colour, 0)
    assert name == ("org.rtmd1.Error.InvalidParameter", 'there is no route key "colour"'), name
    assert refusal(register, bus, STATIC)[0] == "org.rtmd1.Error.AlreadyExists"
    assert refusal(entity.DeleteRoute, 7)[0] == "org.rtmd1.Error.InvalidHandle"
    stranger = interface(connect(address), entity.object_path, "org.rtmd1.Entity")
    assert refusal(stranger.DeleteRoute, 7)[0] == "org.rtmd1.Error.AccessDenied"


def refusal(call, *arguments):
    try:
        call(*arguments)
    except dbus.DBusException as error:
        return error.get_dbus_name(), error.get_dbus_message()
    raise AssertionError(f"{call} was not refused")


def reads_properties(address):
    bus = connect(address)
    entity, _ = register(bus, RIP, label="python")
    manager = interface(bus, "/org/rtmd1", dbus.PROPERTIES_IFACE)
    assert manager.Get("org.rtmd1.Manager", "Limits")["max-handles"] == 1000
    assert manager.GetAll("org.rtmd1.Manager")["FibState"] == "synced"
    own = interface(bus, entity.object_path, dbus.PROPERTIES_IFACE).GetAll("org.rtmd1.Entity")
    assert (own["Label"], own["Protocol"], own["Preference"]) == ("python", RIP, 120), own
    assert own["BusName"] == bus.get_unique_name(), own
    objects = interface(bus, "/org/rtmd1", "org.freedesktop.DBus.ObjectManager")
    objects = objects.GetManagedObjects()
    assert objects[entity.object_path]["org.rtmd1.Entity"] == own, objects


def hears_who_comes_and_goes(address):
    from gi.repository import GLib

    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    watcher, other = connect(address), connect(address)
    loop, heard = GLib.MainLoop(), []

    def hear(info, member):
        heard.append((member, info[4], info[6], info[8]))
        if member == "EntityDeregistered":
            loop.quit()

    watcher.add_signal_receiver(
        hear,
        dbus_interface="org.rtmd1.Table",
        path="/org/rtmd1/table/0/ipv4",
        member_keyword="member",
    )
    register(other, RIP, label="passing by")
    other.close()
    GLib.timeout_add_seconds(10, loop.quit)
    loop.run()
    assert [event[:3] for event in heard] == [
        ("EntityRegistered", RIP, "passing by"),
        ("EntityDeregistered", RIP, "passing by"),
    ], heard


def stays(address):
    bus = connect(address)
    entity, _ = register(bus, RIP)
    entity.AddRoute("10.0.0.0/8", dbus.Dictionary({"via": via("127.0.0.2")}, signature="sv"), 0)
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    globals()[sys.argv[2]](sys.argv[1])
