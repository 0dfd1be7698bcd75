//! What the commands do.

use crate::stage::Stage;

#[tokio::test]
async fn static_routes_are_added_listed_and_removed_in_the_words_of_ip_route() {
    let stage = Stage::set().await;
    let routes = || {
        let list = stage.done("-4 static list");
        let route = |line: &str| line.split("  ").next().unwrap().to_owned();
        list.lines().skip(1).map(route).collect::<Vec<_>>()
    };
    assert_eq!(
        routes(),
        [
            "10.3.0.0/16 via 127.0.0.1 metric 5",
            "10.4.0.0/16 dev nosuch0 preference 9",
            "10.5.0.0/16 nexthop via 127.0.0.1 weight 2 nexthop dev lo weight 1",
        ]
    );
    // What is listed can be given back, and changes nothing.
    for words in routes() {
        stage.done(&format!("static add {words}"));
    }
    assert_eq!(routes().len(), 3);
    stage.done("static add 10.3.0.0/16 via 127.0.0.2 metric 6");
    let several = stage.run("static del 10.3.0.0/16");
    assert_eq!(several.status.code(), Some(1), "{several:?}");
    stage.done("static del 10.3.0.0/16 via 127.0.0.2");
    stage.done("static del 10.3.0.0/16");
    assert_eq!(routes().len(), 2);
    for (words, why) in [
        ("static add 10.6.0.0/16", "via or dev is missing"),
        ("static add 10.6.0.0/16 via eth0", "\"eth0\" is not an address"),
        ("static add 10.6.0.1/16 via 127.0.0.1", "did you mean 10.6.0.0/16"),
        ("static add 10.6.0.0/16 dev a-name-that-is-too-long", "no interface can have the name"),
        ("-6 static add 10.6.0.0/16 via 127.0.0.1", "not of the family asked for"),
        ("static del 10.6.0.0/16", "no static route"),
    ] {
        let output = stage.run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains(why), "{words}: {said}");
    }
}

#[tokio::test]
async fn routes_are_chosen_by_owner_and_state() {
    let stage = Stage::set().await;
    let prefixes = |words: &str| {
        let found = stage.objects(&format!("routes {words}"));
        found.iter().map(|route| route["prefix"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let core = ["10.1.0.0/16", "192.0.2.0/24", "198.51.100.0/24"];
    assert_eq!(prefixes("--owner core"), core);
    assert_eq!(prefixes("--owner ospf"), core);
    assert_eq!(prefixes("--owner ospf/0"), core);
    assert_eq!(prefixes(&format!("--owner {}", stage.core.id)), core);
    assert_eq!(prefixes("--owner core --state best"), core[1..]);
    assert_eq!(prefixes("10.1.0.0/16 --state all"), ["10.1.0.0/16", "10.1.0.0/16"]);
    assert_eq!(prefixes("--state failed,pending").len(), 0);
    let unknown = stage.run("routes --owner nobody");
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert_eq!(stage.run("routes --state nonsense").status.code(), Some(2));
}

#[tokio::test]
async fn next_hops_are_shown_once_with_how_many_routes_take_them() {
    let stage = Stage::set().await;
    let hops = stage.objects("nexthops --owner edge");
    let told: Vec<(&str, u64, bool)> = hops
        .iter()
        .map(|hop| {
            let viable = hop["viable"].as_bool().unwrap();
            (hop["via"].as_str().unwrap(), hop["routes"].as_u64().unwrap(), viable)
        })
        .collect();
    // 203.0.113.1 is on no network of a link.
    assert_eq!(told, [("127.0.0.2", 2, true), ("127.0.0.3", 1, true), ("203.0.113.1", 1, false)]);
    assert_eq!(hops[0]["weight"], 3);
}

#[tokio::test]
async fn levels_are_set_for_routes_to_come_and_reapplied_to_those_there_are() {
    let stage = Stage::set().await;
    let best = || stage.objects("lookup 10.1.2.3")[0]["label"].clone();
    let level = || {
        let levels = stage.objects("preference list");
        let ospf = levels.iter().find(|level| level["protocol"] == "ospf").unwrap();
        ospf["level"].clone()
    };
    assert_eq!(level(), 110);
    stage.done("preference set ospf 4");
    assert_eq!((level(), best()), (4.into(), "edge".into()));
    stage.done("preference set ospf 4 --reapply");
    assert_eq!(best(), "core");
    assert_eq!(stage.run("preference set nosuch 4").status.code(), Some(2));
}

#[tokio::test]
async fn what_is_loaded_stays_and_the_next_load_goes_on_with_it() {
    let stage = Stage::set().await;
    let loaded = || {
        let routes = stage.objects("routes --protocol rip");
        routes.iter().map(|route| route["prefix"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let load = |words: &str, lines: &str| {
        let output = stage.read(&format!("load --protocol rip {words}"), lines);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let lines =
        "add 10.8.0.0/16 via 127.0.0.5\nadd 10.9.0.0/16 dev lo\nadd 2001:db8:8::/48 dev lo\n";
    assert_eq!(load("-", lines).0, Some(0));
    assert_eq!(loaded(), ["10.8.0.0/16", "10.9.0.0/16", "2001:db8:8::/48"]);
    let (code, said) = load("-", "del 10.9.0.0/16\nadd 10.10.0.0/16 dev lo\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("going on with entity") && said.contains("1 withdrawn"), "{said}");
    assert_eq!(loaded(), ["10.8.0.0/16", "10.10.0.0/16", "2001:db8:8::/48"]);
    // A line that is wrong is told, and the others count.
    assert_eq!(load("-", "add 10.11.0.0/16\nadd 10.12.0.0/16 dev lo\n").0, Some(1));
    assert_eq!(load("--replace -", "add 10.8.0.0/16 via 127.0.0.6\n").0, Some(0));
    assert_eq!(loaded(), ["10.8.0.0/16"]);
    stage.done("load --protocol rip --withdraw");
    assert_eq!(loaded(), [""; 0]);
    assert_eq!(stage.run("load --protocol rip --withdraw").status.code(), Some(1));
    let missing = stage.run("load --protocol rip /nonexistent/file");
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(String::from_utf8(missing.stderr).unwrap().contains("/nonexistent/file"));
}

#[tokio::test]
async fn a_load_of_many_routes_goes_in_batches_and_is_replaced_by_few() {
    let stage = Stage::set().await;
    let line = |n: u32| format!("add 10.{}.{}.0/24 dev lo\n", 100 + n / 256, n % 256);
    let lines: String = (0..5000).map(line).collect();
    assert!(stage.read("load --protocol rip -", &lines).status.success());
    let count = || stage.objects("status")[0]["tables"][0]["routes"].as_u64().unwrap();
    let before = count();
    assert!(stage.read("load --protocol rip --replace -", &line(7)).status.success());
    assert_eq!(before - count(), 4999);
}

#[tokio::test]
async fn another_users_or_programs_registration_is_not_loaded_into() {
    let stage = Stage::set().await;
    // "edge" holds bgp on a connection of its own.
    let output = stage.read("load --protocol bgp -", "add 10.8.0.0/16 dev lo\n");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is already registered"), "{said}");
}

#[tokio::test]
async fn what_needs_rights_ends_with_77_without_them() {
    let stage = Stage::set().await;
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    if user != 0 || !crate::support::found("setpriv") {
        println!("skip: only root can be another user");
        return;
    }
    for words in ["static add 10.6.0.0/16 dev lo", "preference set ospf 4"] {
        let output = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args([env!("CARGO_BIN_EXE_rtmctl"), "--bus", &stage.bus.address()])
            .args(words.split(' '))
            .output()
            .unwrap();
        // A folder on the way to the program may be closed to others.
        if output.status.code() == Some(127) || output.status.code() == Some(126) {
            println!("skip: nobody may run the program here: {output:?}");
            return;
        }
        assert_eq!(output.status.code(), Some(77), "{words}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("does not let anyone"), "{said}");
    }
}
