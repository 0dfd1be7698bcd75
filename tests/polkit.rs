//! What polkit is asked where no grant allows a call: a polkit of a few lines of this test, and the real one
//! where it is installed.

mod support;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rtmd::{
    client::{self, ManagerProxy},
    model::Family,
};
use support::{Client, PrivateBus, Service, details, eventually, refusal, route};
use zbus::{Connection, OwnedObjectPath, OwnedVariant, fdo, interface, proxy::MethodFlags};

const FIB: &str = "[[instance]]\nid = 0\nfib = false\n";
const NOBODY: u32 = 65_534;
const BGP: u32 = 14;

/// A question: whose, about what, whether a person may be asked.
type Asked = Arc<Mutex<Vec<(String, String, u32)>>>;

#[derive(Clone, Copy)]
enum Mind {
    Yes,
    No,
    Challenges,
    Sleeps,
}

struct Authority {
    mind: Mind,
    asked: Asked,
    cancelled: Asked,
}

type Answer = (bool, bool, HashMap<String, String>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action: String,
        _details: HashMap<String, String>,
        flags: u32,
        _cancellation: String,
    ) -> fdo::Result<(Answer,)> {
        assert_eq!(subject.0, "system-bus-name");
        let name = String::try_from(subject.1["name"].clone()).unwrap();
        self.asked.lock().unwrap().push((name, action, flags));
        let none = HashMap::new();
        match self.mind {
            Mind::Yes => Ok(((true, false, none),)),
            Mind::No => Ok(((false, false, none),)),
            Mind::Challenges => Ok(((false, true, none),)),
            Mind::Sleeps => std::future::pending().await,
        }
    }

    fn cancel_check_authorization(&self, id: String) {
        self.cancelled.lock().unwrap().push((id, String::new(), 0));
    }
}

struct Stage {
    bus: PrivateBus,
    _service: Service,
    _polkit: Connection,
    stranger: Connection,
    asked: Asked,
    cancelled: Asked,
}

/// A service, a polkit of this mind, and a stranger; none where this is not root's test.
async fn stage(mind: Mind) -> Option<Stage> {
    let bus = PrivateBus::start();
    let service = bus.serve(FIB);
    let polkit = bus.connect().await;
    let (asked, cancelled) = (Asked::default(), Asked::default());
    let authority = Authority { mind, asked: asked.clone(), cancelled: cancelled.clone() };
    let path = "/org/freedesktop/PolicyKit1/Authority";
    polkit.object_server().at(path, authority).await.unwrap();
    polkit.request_name("org.freedesktop.PolicyKit1").await.unwrap();
    let stranger = bus.connect_as(NOBODY).await?;
    Some(Stage { bus, _service: service, _polkit: polkit, stranger, asked, cancelled })
}

impl Stage {
    async fn manager(&self) -> ManagerProxy<'static> {
        client::manager(&self.stranger).await.unwrap()
    }

    fn asked(&self) -> Vec<(String, String, u32)> {
        self.asked.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn whom_polkit_lets_registers_and_is_bound_by_no_grant() {
    let Some(stage) = stage(Mind::Yes).await else { return };
    let client = Client::register_on(&stage.stranger, Family::Ipv4, BGP).await;
    client.add("0.0.0.0/0", "127.0.0.2").await.unwrap();
    let name = stage.stranger.unique_name().unwrap().to_string();
    assert_eq!(stage.asked(), [(name, "org.rtmd1.register".to_owned(), 0)]);
}

#[tokio::test]
async fn each_kind_of_call_is_its_own_action_and_what_a_grant_allows_asks_nobody() {
    let Some(stage) = stage(Mind::Yes).await else { return };
    let root = Client::register(&stage.bus, Family::Ipv6, BGP).await;
    root.manager.set_preference(BGP, 15, false).await.unwrap();
    assert_eq!(stage.asked(), []);
    let manager = stage.manager().await;
    manager.add_static_route(0, "10.0.0.0/8", &route("127.0.0.2", []), false).await.unwrap();
    manager.reload().await.unwrap();
    manager.set_preference(BGP, 15, false).await.unwrap();
    let actions: Vec<String> = stage.asked().into_iter().map(|(_, action, _)| action).collect();
    assert_eq!(
        actions,
        ["org.rtmd1.manage-static", "org.rtmd1.administer", "org.rtmd1.administer"]
    );
}

#[tokio::test]
async fn whom_polkit_does_not_let_is_refused_with_the_rule_and_its_word() {
    for (mind, word) in [
        (Mind::No, "(polkit does not authorize org.rtmd1.register either)"),
        (
            Mind::Challenges,
            "(polkit would ask for a password for org.rtmd1.register, and the call does not allow \
             that)",
        ),
    ] {
        let Some(stage) = stage(mind).await else { return };
        let manager = stage.manager().await;
        let refused = manager.register_entity(0, "ipv4", BGP, 0, &details([])).await;
        let (name, text) = refusal(refused);
        assert_eq!(name, "AccessDenied");
        assert!(text.starts_with("no grant lets user 65534 "), "{text}");
        assert!(text.ends_with(word), "{text}");
    }
}

#[tokio::test]
async fn a_person_is_asked_only_where_the_call_allows_it() {
    let Some(stage) = stage(Mind::No).await else { return };
    let manager = stage.manager().await;
    for flags in [MethodFlags::NO_AUTO_START, MethodFlags::ALLOW_INTERACTIVE_AUTH] {
        let proxy = manager.inner();
        let refused = proxy.call_with_flags::<_, _, ()>("Reload", flags, &()).await;
        assert_eq!(refusal(refused).0, "AccessDenied");
    }
    let flags: Vec<u32> = stage.asked().into_iter().map(|(_, _, flags)| flags).collect();
    assert_eq!(flags, [0, 1]);
}

#[tokio::test]
async fn a_polkit_that_does_not_answer_holds_up_nobody_else_and_is_told_when_the_client_goes() {
    let Some(stage) = stage(Mind::Sleeps).await else { return };
    let manager = stage.manager().await;
    let options = details([]);
    let waiting = tokio::spawn(async move {
        manager.register_entity(0, "ipv4", BGP, 0, &options).await.map(|(path, _)| path)
    });
    eventually("polkit is asked", async || !stage.asked().is_empty()).await;
    let begun = Instant::now();
    Client::register(&stage.bus, Family::Ipv4, BGP).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    stage.stranger.clone().close().await.unwrap();
    let answer: zbus::Result<OwnedObjectPath> = waiting.await.unwrap();
    assert!(answer.is_err());
    let told = async || !stage.cancelled.lock().unwrap().is_empty();
    eventually("polkit is told that nobody waits", told).await;
}

/// The real one, on a bus of the test's own, with actions and rules of the test's own.
struct RealPolkit(Child);

impl Drop for RealPolkit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const POLKITD: &str = "/usr/lib/polkit-1/polkitd";

#[tokio::test]
async fn the_real_polkit_allows_by_its_rules_and_refuses_by_the_actions_defaults() {
    if !Path::new(POLKITD).exists() {
        println!("skip: {POLKITD} is not installed");
        return;
    }
    let bus = PrivateBus::start();
    let _service = bus.serve(FIB);
    let Some(stranger) = bus.connect_as(NOBODY).await else { return };
    let [actions, rules] = ["actions", "rules"].map(|name| bus.path(name));
    for folder in [&actions, &rules] {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let action = Path::new(env!("CARGO_MANIFEST_DIR")).join("dbus/org.rtmd1.policy");
    fs::copy(action, actions.join("org.rtmd1.policy")).unwrap();
    let rule = "polkit.addRule(function(action, subject) {\n\
                if (action.id == \"org.rtmd1.register\" && subject.user == \"nobody\")\n\
                return polkit.Result.YES; });\n";
    fs::write(rules.join("10-test.rules"), rule).unwrap();
    let script = "mount --bind \"$1\" /usr/share/polkit-1/actions && \
                  mount --bind \"$2\" /etc/polkit-1/rules.d && exec \"$3\" --no-debug";
    let polkit = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&actions, &rules])
        .arg(POLKITD)
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .spawn()
        .unwrap();
    let mut polkit = RealPolkit(polkit);
    let there = fdo::DBusProxy::new(&stranger).await.unwrap();
    let begun = Instant::now();
    while !there.name_has_owner("org.freedesktop.PolicyKit1".try_into().unwrap()).await.unwrap() {
        if polkit.0.try_wait().unwrap().is_some() {
            println!("skip: polkitd cannot be run here");
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "polkitd does not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let client = Client::register_on(&stranger, Family::Ipv4, BGP).await;
    client.add("10.0.0.0/8", "127.0.0.2").await.unwrap();
    let (name, text) = refusal(client.manager.reload().await);
    assert_eq!(name, "AccessDenied");
    let words =
        "polkit would ask for a password for org.rtmd1.administer, and there was nobody to ask";
    assert!(text.contains(words), "{text}");
}
