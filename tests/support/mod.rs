//! A bus and a service of a test's own, gone when the test is over.
//!
//! Each test has its own dbus-daemon on a socket in a scratch folder and its own rtmd on it, so
//! tests run side by side. When a test fails, what the service said is printed with it.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use rtmd::client::{self, Bus, EntityProxy, ManagerProxy, TableProxy};
use rtmd::{
    bus::wire::{Details, RouteInfo},
    model::Family,
};
use tempfile::TempDir;
use zbus::{Connection, OwnedVariant, Variant};

/// No table of this instance goes to the kernel, so these tests need no rights; and whom tests play besides
/// themselves, daemon and nobody, may register.
pub(crate) const NO_FIB: &str =
    "[[grant]]\nuser = 1\n[[grant]]\nuser = 65534\n[[instance]]\nid = 0\nfib = false\n";

/// A dbus-daemon or a dbus-broker.
pub(crate) struct PrivateBus {
    folder: TempDir,
    daemon: Child,
    /// Open as long as it runs: it may have more to say than the address.
    _output: BufReader<ChildStdout>,
}

/// A command line of rtmd.
pub(crate) struct Launch {
    /// The program that runs it, with arguments; empty for none.
    pub(crate) wrapper: Vec<&'static str>,
    pub(crate) bus: String,
    pub(crate) config: PathBuf,
    pub(crate) runtime_directory: PathBuf,
    pub(crate) state_directory: PathBuf,
    log: PathBuf,
}

/// An rtmd on it.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl PrivateBus {
    pub(crate) fn start() -> Self {
        Self::with_policy("<allow own=\"*\"/>")
    }

    /// With these rules for names besides the right to talk to everyone.
    pub(crate) fn with_policy(rules: &str) -> Self {
        Self::daemon(rules, "")
    }

    /// A dbus-daemon with rules for names, and with `<limit>` elements.
    pub(crate) fn daemon(rules: &str, limits: &str) -> Self {
        let folder = folder();
        let socket = folder.path().join("bus");
        let config = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\
             <busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/>{rules}</policy>{limits}</busconfig>",
            socket.display()
        );
        let file = folder.path().join("bus.conf");
        fs::write(&file, config).unwrap();
        let command = dbus_daemon(&file);
        Self::run(folder, command)
    }

    /// A bus of each kind that can be run here.
    pub(crate) fn of_each_kind() -> impl Iterator<Item = Self> {
        Self::of_each_kind_keeping("")
    }

    /// The same, of which dbus-daemon reads no more from who has so many bytes waiting for others:
    /// 127 MiB on a system bus (dbus-daemon(1), "max_incoming_bytes").
    pub(crate) fn of_each_kind_that_keeps(bytes: usize) -> impl Iterator<Item = Self> {
        let limit = format!("<limit name=\"max_incoming_bytes\">{bytes}</limit>");
        Self::of_each_kind_keeping(&limit)
    }

    fn of_each_kind_keeping(limits: &str) -> impl Iterator<Item = Self> + use<> {
        let daemon = std::iter::once_with({
            let limits = limits.to_owned();
            move || {
                println!("on dbus-daemon");
                Self::daemon("<allow own=\"*\"/>", &limits)
            }
        });
        daemon.chain(std::iter::once_with(Self::broker).flatten())
    }

    /// A dbus-broker with the rules of a system bus, which is started as systemd would.
    fn broker() -> Option<Self> {
        if !found("dbus-broker-launch") {
            return None;
        }
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            println!("skip: a private dbus-broker takes root, for a mount namespace");
            return None;
        }
        println!("on dbus-broker");
        let folder = folder();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/private-bus");
        let mut command = Command::new(script);
        command.arg("--broker").arg(folder.path().join("bus"));
        Some(Self::run(folder, command))
    }

    fn run(folder: TempDir, command: Command) -> Self {
        let (daemon, output) = listening(command);
        Self { folder, daemon, _output: output }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.path("bus").display())
    }

    /// An rtmd with this configuration that is on the bus.
    pub(crate) fn serve(&self, config: &str) -> Service {
        let service = self.spawn(config, "first");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.busctl(&["status", "org.rtmd1"]).status.success() {
            assert!(Instant::now() < deadline, "rtmd does not come up:\n{}", service.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        service
    }

    /// An rtmd that may or may not come up; `life` names its directories.
    pub(crate) fn spawn(&self, config: &str, life: &str) -> Service {
        self.launch(config, life).start()
    }

    /// How `spawn` would run it, to be changed before it does.
    pub(crate) fn launch(&self, config: &str, life: &str) -> Launch {
        let file = self.path(&format!("{life}.toml"));
        fs::write(&file, config).unwrap();
        Launch {
            wrapper: Vec::new(),
            bus: self.address(),
            config: file,
            runtime_directory: self.path(&format!("{life}.run")),
            state_directory: self.path(&format!("{life}.state")),
            log: self.path(&format!("{life}.log")),
        }
    }

    pub(crate) fn busctl(&self, arguments: &[&str]) -> Output {
        let address = format!("--address={}", self.address());
        Command::new("busctl").arg(address).args(arguments).output().expect("busctl")
    }

    /// Calls a method with busctl; the answer in words, or the error's name and text.
    pub(crate) fn call(&self, path: &str, method: &str, arguments: &str) -> Result<String, String> {
        let (interface, method) = method.rsplit_once('.').unwrap();
        let fixed = ["--json=short", "call", "org.rtmd1", path, interface, method];
        let all: Vec<&str> = fixed.into_iter().chain(arguments.split_whitespace()).collect();
        let output = self.busctl(&all);
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    pub(crate) fn rtmctl(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rtmctl"))
            .args(["--bus", &self.address()])
            .args(arguments)
            .output()
            .unwrap()
    }

    pub(crate) async fn connect(&self) -> Connection {
        client::connect(&Bus::Address(self.address())).await.unwrap()
    }

    /// A connection of this user's, which the system has to know; none where that is not possible,
    /// and says so.
    pub(crate) async fn connect_as(&self, uid: u32) -> Option<Connection> {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            println!("skip: only root can be another user");
            return None;
        }
        let path = self.path("bus");
        // The bus asks the kernel who connected, and a thread can be somebody else by itself.
        let connect = move || {
            let user = rustix::thread::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(None, user, None).unwrap();
            UnixStream::connect(path).unwrap()
        };
        let stream = std::thread::spawn(connect).join().unwrap();
        let connection = zbus::connection::Builder::unix_stream(stream).user_id(uid);
        Some(connection.method_timeout(client::CALL_TIMEOUT).build().await.unwrap())
    }

    /// Ends the bus under everyone's feet.
    pub(crate) fn stop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    /// Has a dbus-daemon at the same address again, after `stop`.
    pub(crate) fn start_again(&mut self) {
        let _ = fs::remove_file(self.path("bus"));
        (self.daemon, self._output) = listening(dbus_daemon(&self.path("bus.conf")));
    }
}

fn dbus_daemon(config: &Path) -> Command {
    let mut command = Command::new("dbus-daemon");
    let config = format!("--config-file={}", config.display());
    command.arg(config).args(["--nofork", "--nopidfile", "--print-address"]);
    command
}

/// Starts a bus, and waits until it is there.
fn listening(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let bus = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut daemon = bus.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut address = String::new();
    let mut output = BufReader::new(daemon.stdout.take().unwrap());
    output.read_line(&mut address).unwrap();
    assert!(address.starts_with("unix:"), "{command:?} did not start");
    (daemon, output)
}

/// A scratch folder that other users reach the socket in.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("rtmd-test-").tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    folder
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Launch {
    pub(crate) fn start(self) -> Service {
        let words = [&self.wrapper[..], &[env!("CARGO_BIN_EXE_rtmd")]].concat();
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["--bus", &self.bus])
            .arg("--config")
            .arg(&self.config)
            .arg("--runtime-directory")
            .arg(&self.runtime_directory)
            .arg("--state-directory")
            .arg(&self.state_directory)
            // Where the test listens, if it does.
            .env("NOTIFY_SOCKET", self.log.with_file_name("notify"))
            .stderr(fs::File::create(&self.log).unwrap())
            .spawn()
            .unwrap();
        Service { child, log: self.log }
    }
}

impl Service {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "rtmd does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("rtmd said:\n{}", self.log());
        }
    }
}

/// A registered client of ours.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) manager: ManagerProxy<'static>,
    pub(crate) entity: EntityProxy<'static>,
    pub(crate) table: TableProxy<'static>,
    pub(crate) id: u64,
}

impl Client {
    pub(crate) async fn register(bus: &PrivateBus, family: Family, protocol: u32) -> Self {
        let connection = bus.connect().await;
        Self::register_on(&connection, family, protocol).await
    }

    pub(crate) async fn register_on(
        connection: &Connection,
        family: Family,
        protocol: u32,
    ) -> Self {
        Self::register_in(connection, 0, family, protocol).await
    }

    pub(crate) async fn register_in(
        connection: &Connection,
        instance: u32,
        family: Family,
        protocol: u32,
    ) -> Self {
        let label = details([("label", Variant::from(format!("client-{protocol}")))]);
        Self::register_with(connection, (instance, family), protocol, &label).await
    }

    pub(crate) async fn register_with(
        connection: &Connection,
        (instance, family): (u32, Family),
        protocol: u32,
        options: &Details,
    ) -> Self {
        let manager = client::manager(connection).await.unwrap();
        let (path, profile) =
            manager.register_entity(instance, family.name(), protocol, 0, options).await.unwrap();
        let entity = EntityProxy::builder(connection).path(path).build().await.unwrap();
        let table = client::table(&manager, instance, family).await.unwrap();
        Self { connection: connection.clone(), manager, entity, table, id: profile.id }
    }

    /// Offers a route via this address.
    pub(crate) async fn add(&self, prefix: &str, via: &str) -> zbus::Result<(u64, u32)> {
        self.entity.add_route(prefix, &route(via, []), 0).await
    }
}

/// A route via this address, with these keys besides.
pub(crate) fn route<const N: usize>(via: &str, more: [(&str, Variant<'static>); N]) -> Details {
    let mut route = details(more);
    let via = Variant::from(vec![(via.to_owned(), 0u32)]);
    route.insert("via".to_owned(), OwnedVariant::try_from(via).unwrap());
    route
}

pub(crate) fn details<const N: usize>(entries: [(&str, Variant<'static>); N]) -> Details {
    let owned = |(key, value): (&str, Variant<'static>)| {
        (key.to_owned(), OwnedVariant::try_from(value).unwrap())
    };
    entries.into_iter().map(owned).collect()
}

/// The last part of the D-Bus name of the error, and its text.
pub(crate) fn refusal<T: std::fmt::Debug>(result: zbus::Result<T>) -> (String, String) {
    match result.expect_err("a refusal is expected") {
        zbus::Error::MethodError(name, text, _) => {
            let name = name.as_str().rsplit('.').next().unwrap_or_default().to_owned();
            (name, text.unwrap_or_default())
        }
        zbus::Error::FDO(error) => (format!("{error:?}"), error.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Everything there is in both tables, as text.
pub(crate) async fn picture(bus: &PrivateBus) -> Vec<String> {
    let connection = bus.connect().await;
    let manager = client::manager(&connection).await.unwrap();
    let mut lines = Vec::new();
    for family in Family::ALL {
        let entities = manager.get_registered_entities(0, family.name()).await.unwrap();
        lines.extend(entities.iter().map(|entity| format!("{entity:?}")));
        let table = client::table(&manager, 0, family).await.unwrap();
        lines.push(format!("{} next hops", table.next_hops().await.unwrap()));
        let path = table.create_route_enumeration(0, 0, "", 0, &details([])).await.unwrap();
        let routes = client::RouteEnumerationProxy::builder(&connection).path(path);
        let routes = routes.build().await.unwrap();
        loop {
            let (page, done) = routes.next(1000).await.unwrap();
            lines.extend(page.iter().map(|route| format!("{route:?}")));
            if done {
                break;
            }
        }
    }
    lines
}

/// What an entity is and has, as its owner sees it, without what goes by itself: routes with a time
/// to live, held ones, and what they count for. Of very many routes these are the first.
pub(crate) async fn own_state(entity: &EntityProxy<'_>, table: &TableProxy<'_>) -> Vec<String> {
    const OWN_ROUTES: u32 = 0x0001_0000;
    let connection = entity.inner().connection();
    let path = entity.inner().path().to_owned();
    let properties = zbus::fdo::PropertiesProxy::new(connection, "org.rtmd1", path).await.unwrap();
    let properties = properties.get_all("org.rtmd1.Entity".try_into().unwrap()).await.unwrap();
    let counts = ["BestRoutes", "NextHops", "Routes"];
    let properties = properties.iter().filter(|(name, _)| !counts.contains(&name.as_str()));
    let mut lines: Vec<String> = properties.map(|property| format!("{property:?}")).collect();
    lines.sort();
    let none = details([]);
    let path = table.create_route_enumeration(0, OWN_ROUTES, "", 0, &none).await.unwrap();
    let routes = client::RouteEnumerationProxy::builder(connection).path(path).build();
    let routes = routes.await.unwrap();
    let (page, _) = routes.next(200).await.unwrap();
    routes.close().await.unwrap();
    let mut next_hops = BTreeSet::<u64>::new();
    for route in page.iter().filter(|route| route.state == 0) {
        if !route.more.contains_key("expires-in") {
            let keys = ["list", "private", "generation"].map(|key| route.more.get(key));
            let RouteInfo { id, destination, neighbour, flags, preference, metric, views, .. } =
                route;
            let rank = (flags, preference, metric, views);
            lines.push(format!("{id} {destination} {neighbour} {rank:?} {keys:?}"));
            next_hops.extend(&route.next_hops);
        }
    }
    for id in next_hops {
        lines.push(format!("{:?}", table.get_next_hop_info(id).await.unwrap()));
    }
    lines
}

/// Waits until something holds, at most ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a program is there to run; says so when it is not, for then the test is skipped.
pub(crate) fn found(program: &str) -> bool {
    let found = installed(program);
    if !found {
        println!("skip: {program} is not installed");
    }
    found
}

/// Whether a program is there to run.
pub(crate) fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
    })
}

/// Resident bytes of a process.
pub(crate) fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most bytes of a process that were ever resident.
pub(crate) fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// What the kernel says of a process's memory under this name.
fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
