#!/usr/bin/python3
"""Registration: become an entity of a table, see who is there, be refused, and leave.

Needs Debian's python3-dbus. Where nobody else is registered it prints

    rip in table 0/ipv4 is /org/rtmd1/entity/1
    its profile: id 1, preference 120, 64 next hops a route, pages of 1000, views 0x3
    entity 1: protocol 8, example, active, on this connection: True
    objects: /org/rtmd1/entity/1, /org/rtmd1/table/0/ipv4, /org/rtmd1/table/0/ipv6
    its properties: 0 routes, 0 next hops, preference 120
    AlreadyExists: rip/0 in table 0/ipv4 is already registered, as entity 1
    InvalidParameter: there is no registration option "lable"
    InvalidParameter: registration option "methods" 1 cannot have the type i, it has to be u
    FileNotFound: instance 7 is not configured
    AccessDenied: entity 1 belongs to connection …, not to …
    another connection registers beside it, as /org/rtmd1/entity/2
    ... and leaves: 1 registered
    deregistered: 0 registered
"""

import dbus

RIP, OSPF = 8, 13  # protocols have the numbers that RTMv2 gave them


def interface(bus, path, name):
    return dbus.Interface(bus.get_object("org.rtmd1", path), name)


def refused(call, *arguments):
    """A refusal is an exception with a name for programs and a sentence for people."""
    try:
        call(*arguments)
    except dbus.DBusException as error:
        print(f"{error.get_dbus_name().rsplit('.', 1)[1]}: {error.get_dbus_message()}")


def main():
    bus = dbus.SystemBus()
    manager = interface(bus, "/org/rtmd1", "org.rtmd1.Manager")

    # Instance, family, protocol, which of several of that protocol, options.
    path, profile = manager.RegisterEntity(0, "ipv4", RIP, 0, {"label": "example"})
    print(f"rip in table 0/ipv4 is {path}")
    print(
        f"its profile: id {profile['id']}, preference {profile['preference']},",
        f"{profile['max-next-hops']} next hops a route, pages of {profile['max-handles']},",
        f"views {profile['views']:#x}",
    )

    for entity in manager.GetRegisteredEntities(0, "ipv4"):
        number, _, _, _, protocol, _, label, bus_name, state = entity
        mine = bus_name == bus.get_unique_name()
        print(f"entity {number}: protocol {protocol}, {label}, {state}, on this connection: {mine}")

    objects = interface(bus, "/org/rtmd1", "org.freedesktop.DBus.ObjectManager").GetManagedObjects()
    print("objects:", ", ".join(sorted(objects)))

    # Everybody may read the properties of an entity.
    own = interface(bus, path, dbus.PROPERTIES_IFACE).GetAll("org.rtmd1.Entity")
    print(
        f"its properties: {own['Routes']} routes, {own['NextHops']} next hops,",
        f"preference {own['Preference']}",
    )

    refused(manager.RegisterEntity, 0, "ipv4", RIP, 0, {})
    refused(manager.RegisterEntity, 0, "ipv4", OSPF, 0, {"lable": "example"})
    # What is in a dictionary needs its type: a plain number is an int32, and this takes a uint32.
    refused(manager.RegisterEntity, 0, "ipv4", OSPF, 0, {"methods": 1})
    refused(manager.RegisterEntity, 7, "ipv4", OSPF, 0, {})

    # An entity answers only to the connection that registered it.
    other = dbus.SystemBus(private=True)
    refused(interface(other, path, "org.rtmd1.Entity").Deregister, {})
    manager_of_other = interface(other, "/org/rtmd1", "org.rtmd1.Manager")
    path_of_other, _ = manager_of_other.RegisterEntity(0, "ipv4", OSPF, 0, {})
    print(f"another connection registers beside it, as {path_of_other}")
    interface(other, path_of_other, "org.rtmd1.Entity").Deregister({})
    print(f"... and leaves: {len(manager.GetRegisteredEntities(0, 'ipv4'))} registered")

    # A program that ends without this is deregistered by its end.
    interface(bus, path, "org.rtmd1.Entity").Deregister({})
    print(f"deregistered: {len(manager.GetRegisteredEntities(0, 'ipv4'))} registered")


if __name__ == "__main__":
    main()
