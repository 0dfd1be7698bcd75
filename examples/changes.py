#!/usr/bin/python3
"""Change notification: be woken when destinations change, and fetch what they are now.

Needs Debian's python3-dbus and, for the wake-up, the main loop of python3-gi. It prints

    woken, with context 1
      198.51.100.0/24: the best has metric 1
      198.51.101.0/24: the best has metric 1
      203.0.113.0/24: the best has metric 1
    198.51.100.0/24 changes twice, 198.51.101.0/24 goes:
    woken, with context 1
      198.51.100.0/24: the best has metric 3
      198.51.101.0/24: gone
    203.0.113.0/24 changes and is ignored:
    woken, with context 1
      waiting: True
      waiting: False
    of 198.51.100.0/24 and 203.0.113.0/24 only 203.0.113.0/24 is marked, and both change:
      marked: False True
    woken, with context 2
      203.0.113.0/24: the best has metric 4
"""

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

RIP = 8
UNICAST = 1  # views
BEST = 2  # of the changes: that of a best route
ONLY_MARKED = 0x00010000
NOT_FOR_THE_KERNEL = 8
A, B, C = "198.51.100.0/24", "198.51.101.0/24", "203.0.113.0/24"

loop = GLib.MainLoop()


def interface(bus, path, name):
    return dbus.Interface(bus.get_object("org.rtmd1", path), name)


def watch(bus, table, flags, context):
    """Registers for changes; the signal only says that there is something to fetch."""
    path = table.RegisterForChangeNotification(UNICAST, flags, context)
    notification = interface(bus, path, "org.rtmd1.Notification")
    notification.connect_to_signal("ChangeNotification", woken)
    return notification


def woken(context):
    print(f"woken, with context {context}")
    loop.quit()


def fetch(notification, table):
    """Fetches all that waits. Whoever stops before "done" is not woken again."""
    done = False
    while not done:
        page, done = notification.GetChangedDestinations(100)
        for prefix, *_ in page:
            routes = table.GetRoutes(prefix)
            print(f"  {prefix}: the best has metric {routes[0][7]}" if routes else f"  {prefix}: gone")


def main():
    DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    table = interface(bus, "/org/rtmd1/table/0/ipv4", "org.rtmd1.Table")
    notification = watch(bus, table, BEST, 1)

    # Another program offers routes. What was there before has to be enumerated.
    router = dbus.SystemBus(private=True)
    manager = interface(router, "/org/rtmd1", "org.rtmd1.Manager")
    path, _ = manager.RegisterEntity(0, "ipv4", RIP, 0, {})
    entity = interface(router, path, "org.rtmd1.Entity")

    def offer(prefix, metric):
        route = {
            "via": [("192.0.2.2", dbus.UInt32(0))],
            "metric": dbus.UInt32(metric),
            "flags": dbus.UInt32(NOT_FOR_THE_KERNEL),
        }
        return entity.AddRoute(prefix, route, 0)[0]

    for prefix in A, B, C:
        offer(prefix, 1)
    loop.run()
    fetch(notification, table)

    print(f"{A} changes twice, {B} goes:")
    offer(A, 2)
    entity.DeleteRoute(offer(B, 2))
    offer(A, 3)
    loop.run()
    fetch(notification, table)

    print(f"{C} changes and is ignored:")
    offer(C, 2)
    loop.run()
    print("  waiting:", bool(notification.GetChangeStatus(C)))
    notification.IgnoreChangedDestinations([C])
    print("  waiting:", bool(notification.GetChangeStatus(C)))
    fetch(notification, table)
    notification.Deregister()

    print(f"of {A} and {C} only {C} is marked, and both change:")
    marked = watch(bus, table, BEST | ONLY_MARKED, 2)
    marked.MarkDestination(C, True)
    print("  marked:", bool(marked.IsMarked(A)), bool(marked.IsMarked(C)))
    offer(A, 4)
    offer(C, 4)
    loop.run()
    fetch(marked, table)


if __name__ == "__main__":
    main()
