//! `Introspect` of the objects that others are below: those are told by name, and not described.
//!
//! zbus's own, which the others have, describes the whole tree below an object, each with three
//! interfaces that every object has. Clients decide how many there are, and with thousands of them
//! the answer would be longer than a bus takes. The D-Bus specification lets it be incomplete, and
//! what walks a tree (`busctl tree`) asks each object anyway.

use std::{collections::BTreeSet, sync::Arc};

use zbus::{
    Connection, ObjectServer, fdo, interface,
    message::Header,
    object_server::{Interface, InterfaceRef},
};

use super::{
    context::Context,
    convert::{entity_path, table_path},
    manager::Manager,
    object_manager::ObjectManager,
    served::{OWN_LEVEL, Served},
    wire::ROOT,
};

/// What the object of a path, and those above it, tell of those below them.
#[derive(Clone, Debug)]
pub(super) struct Introspection(Arc<Context>);

/// The interfaces that zbus gives every object, but for the one in this file.
const OF_EVERY_OBJECT: &str = r#"  <interface name="org.freedesktop.DBus.Peer">
    <method name="GetMachineId">
      <arg type="s" direction="out"/>
    </method>
    <method name="Ping">
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
"#;

#[interface(
    name = "org.freedesktop.DBus.Introspectable",
    spawn = false,
    introspection_docs = false
)]
impl Introspection {
    async fn introspect(
        &self,
        #[zbus(object_server)] server: &ObjectServer,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<String> {
        let path = header.path().map_or("/", |path| path.as_str());
        let mut xml = String::from(concat!(
            r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN""#,
            "\n ",
            r#""http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">"#,
            "\n<node>\n"
        ));
        self.introspect_to_writer(&mut xml, OWN_LEVEL);
        xml.push_str(OF_EVERY_OBJECT);
        if path == ROOT {
            describe::<Manager>(server, &mut xml).await?;
            describe::<ObjectManager>(server, &mut xml).await?;
        }
        for name in self.below(path) {
            xml.push_str(&format!("  <node name=\"{name}\"/>\n"));
        }
        xml.push_str("</node>\n");
        Ok(xml)
    }
}

impl Introspection {
    /// The names of the objects directly below a path.
    fn below(&self, path: &str) -> BTreeSet<String> {
        let name = |object: &str| {
            let below = object.strip_prefix(path.trim_end_matches('/'))?.strip_prefix('/')?;
            below.split('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
        };
        self.0.rib.with(|rib| {
            let tables = rib.tables().map(table_path);
            let objects = tables.chain(rib.entities().map(|entity| entity_path(entity.id)));
            let names = objects.filter_map(|object| name(&object));
            names.chain(rib.objects().keys().filter_map(|object| name(object))).collect()
        })
    }
}

/// Adds what the root object's interface says of itself.
async fn describe<I: Interface + Clone>(
    server: &ObjectServer,
    xml: &mut String,
) -> fdo::Result<()> {
    let interface: InterfaceRef<Served<I>> = server.interface(ROOT).await?;
    interface.get().await.introspect_to_writer(xml, OWN_LEVEL);
    Ok(())
}

/// Lets the object of a path, which has others below it, answer `Introspect` by their names.
pub(super) async fn list_by_name(context: &Arc<Context>, connection: &Connection, path: &str) {
    let server = connection.object_server();
    let ours: zbus::Result<InterfaceRef<Served<Introspection>>> = server.interface(path).await;
    // It goes with the last object below; then the next one brings zbus's own again.
    if ours.is_err() && server.remove_named(path, Introspection::name()).await.is_ok() {
        let ours = Served::new(context, Introspection(Arc::clone(context)));
        let _ = server.at(path, ours).await;
    }
}
