//! Who may do what, as it is written: `[[grant]]`.
//!
//! A user or group that the system does not know makes its grant one for nobody, and the others go on: it may
//! come with a package that is not there yet. Anything else that cannot be is an error, as everywhere.

use std::fmt;

use nix::unistd::{Gid, Group, Uid, User};

use super::{
    instances::views,
    section::{Said, Section},
    tree::Value,
};
use crate::{
    model::{Family, InstanceId, Preference, Prefix, Protocol, quoted},
    rib::{Grant, Grants, Prefixes, Whom},
};

/// Who may register where nothing is configured.
const GROUP: &str = "rtmd";

/// A user or a group.
enum Account {
    Number(u32),
    Name(String),
}

/// The grants, in their order; without any, the one for the group of the service.
pub(super) fn grants(file: &mut Section<'_>) -> Grants {
    let sections = file.sections("grant", "grants, each below [[grant]]");
    if sections.is_empty() {
        let group = find_group(&Account::Name(GROUP.to_owned()));
        let whom = group.map(|group| Whom { group: Some(group), ..Whom::default() });
        return Grants(vec![Grant::new("default", whom)]);
    }
    let findings = file.findings();
    let numbered = sections.into_iter().zip(1u32..);
    let read = |(Said { value, place }, number)| {
        grant(Section::new("grant", "", place, value, findings), number)
    };
    Grants(numbered.map(read).collect())
}

fn grant(mut section: Section<'_>, number: u32) -> Grant {
    let faults = section.findings().count();
    let name = section.parsed("name", |text| match text.chars().count() {
        1..=64 if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("a name has 1 to 64 characters, none of them a control character"),
    });
    let name = name.map_or_else(|| number.to_string(), |said| said.value);
    let (user, group) = (account(&mut section, "user"), account(&mut section, "group"));
    let unit = section.text("unit").map(|said| match said.value.contains('.') {
        true => said.value,
        false => format!("{}.service", said.value),
    });
    if user.is_none() && group.is_none() && unit.is_none() && section.findings().count() == faults {
        let name = quoted(&name);
        let what =
            format!("grant {name} names none of user, group and unit, so it would be for nobody");
        section.refuse(&section.place, what);
    }
    let whom = || {
        Ok(Whom {
            user: user.as_ref().map(find_user).transpose()?,
            group: group.as_ref().map(find_group).transpose()?,
            unit,
        })
    };
    let protocol = |text: &str| {
        Protocol::parse(text).ok_or_else(|| format!("{} is no protocol", quoted(text)))
    };
    let prefix = |text: &str| text.parse::<Prefix>().map_err(|error| error.message);
    let protocols = some(&mut section, "protocols", protocol);
    let instances = section.numbers("instances", 0..=u16::MAX.into());
    let instances = instances.map_or_else(Vec::new, |said| {
        if said.value.is_empty() {
            section.refuse(&said.place, format_args!("instances {EMPTY}"));
        }
        let id = |id: u32| InstanceId(u16::try_from(id).unwrap_or_default());
        said.value.into_iter().map(id).collect()
    });
    let family = |text: &str| text.parse::<Family>().map_err(|error| error.message);
    let families = some(&mut section, "families", family);
    let exact = some(&mut section, "prefixes", prefix);
    let prefixes = Prefixes::new(exact, some(&mut section, "prefixes-longer", prefix));
    let all = 0..=u32::MAX;
    let preferences = section.numbers("preferences", all.clone()).and_then(|said| {
        match said.value.as_slice() {
            [from, to] if from <= to => return Some(Preference(*from)..=Preference(*to)),
            [from, to] => {
                let what = format!("preferences: {from} is over {to}, the smaller comes first");
                section.refuse(&said.place, what);
            }
            _ => section.refuse(&said.place, "preferences are two numbers: the first and the last"),
        }
        None
    });
    let mut number = |key| section.number(key, all.clone()).map(|said| said.value);
    let (routes, next_hops) = (number("routes"), number("next-hops"));
    let (registrations, linger) = (number("registrations"), number("linger"));
    let views = views(&mut section, "views").map(|said| said.value);
    let mut flag = |key| section.flag(key).map(|said| said.value);
    let (shared, statics) = (flag("shared").unwrap_or(true), flag("static").unwrap_or(false));
    let administer = flag("administer").unwrap_or(false);
    section.finish();
    Grant {
        protocols,
        instances,
        families,
        prefixes,
        routes,
        next_hops,
        registrations,
        preferences,
        views,
        linger,
        shared,
        statics,
        administer,
        ..Grant::new(name, whom())
    }
}

/// What to say of a list without anything: it might be meant for none, and would be for all.
const EMPTY: &str = "is empty: leave it out, which allows all";

/// What each text of a list stands for.
fn some<T, E: fmt::Display>(
    section: &mut Section<'_>,
    key: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let Some(Said { value: texts, place }) = section.texts(key) else { return Vec::new() };
    if texts.is_empty() {
        section.refuse(&place, format_args!("{key} {EMPTY}"));
    }
    let mut all = Vec::with_capacity(texts.len());
    for Said { value: text, place } in texts {
        match read(&text) {
            Ok(value) => all.push(value),
            Err(why) => section.refuse(&place, format_args!("{key}: {why}")),
        }
    }
    all
}

/// A name or a number.
fn account(section: &mut Section<'_>, key: &str) -> Option<Account> {
    let node = section.take(key)?.node;
    let number = match &node.value {
        Value::Text(name) => return Some(Account::Name(name.clone())),
        Value::Whole(number) => u32::try_from(*number).ok(),
        _ => None,
    };
    if number.is_none() {
        let what = format!("{key} is {}, expected a name or a number", node.value);
        section.refuse(&node.place, what);
    }
    number.map(Account::Number)
}

fn find_user(user: &Account) -> Result<u32, String> {
    match user {
        Account::Number(number) => Ok(*number),
        Account::Name(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok(Uid::as_raw(user.uid)),
            Ok(None) => Err(format!("there is no user {name:?}")),
            Err(error) => Err(format!("user {name:?} cannot be looked up: {error}")),
        },
    }
}

fn find_group(group: &Account) -> Result<u32, String> {
    match group {
        Account::Number(number) => Ok(*number),
        Account::Name(name) => match Group::from_name(name) {
            Ok(Some(group)) => Ok(Gid::as_raw(group.gid)),
            Ok(None) => Err(format!("there is no group {name:?}")),
            Err(error) => Err(format!("group {name:?} cannot be looked up: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::fault, super::testing::vrf_table, *};
    use crate::config::Config;

    fn granted(text: &str) -> Vec<Grant> {
        Config::parse(text, &vrf_table).unwrap().policy.grants.0
    }

    #[test]
    fn a_grant_is_read_as_it_is_written() {
        let text = "[[grant]]\nname = \"bird\"\nuser = 110\ngroup = \"root\"\nunit = \"bird\"\n\
                    protocols = [\"bgp\", \"13\"]\ninstances = [0, 7]\nfamilies = [\"ipv6\"]\n\
                    prefixes = [\"192.0.2.0/24\"]\nprefixes-longer = [\"10.0.0.0/8\"]\n\
                    routes = 1\nnext-hops = 2\nregistrations = 3\npreferences = [20, 30]\n\
                    views = [0]\nlinger = 4\nshared = false\nstatic = true\nadminister = true\n";
        let whom = Whom { user: Some(110), group: Some(0), unit: Some("bird.service".to_owned()) };
        let prefix = |text: &str| vec![text.parse().unwrap()];
        let expected = Grant {
            protocols: vec![Protocol::BGP, Protocol::OSPF],
            instances: vec![InstanceId(0), InstanceId(7)],
            families: vec![Family::Ipv6],
            prefixes: Prefixes::new(prefix("192.0.2.0/24"), prefix("10.0.0.0/8")),
            routes: Some(1),
            next_hops: Some(2),
            registrations: Some(3),
            preferences: Some(Preference(20)..=Preference(30)),
            views: Some(crate::model::ViewSet(1)),
            linger: Some(4),
            shared: false,
            statics: true,
            administer: true,
            ..Grant::new("bird", Ok(whom))
        };
        assert_eq!(granted(text), [expected]);
    }

    #[test]
    fn without_a_grant_the_group_rtmd_may_register_and_with_one_only_who_is_named() {
        let [default] = &granted("")[..] else { panic!("one") };
        assert_eq!(default.name, "default");
        assert_eq!((default.shared, default.statics, default.administer), (true, false, false));
        assert!(granted("[[grant]]\nuser = 1\n").iter().all(|grant| grant.name != "default"));
    }

    #[test]
    fn a_name_that_the_system_does_not_know_makes_a_grant_for_nobody_and_others_go_on() {
        let grants = granted("[[grant]]\nuser = \"no-such-user\"\n[[grant]]\ngroup = \"root\"\n");
        assert_eq!(grants[0].whom, Err("there is no user \"no-such-user\"".to_owned()));
        assert!(grants[1].whom.is_ok());
        let [grant] = &granted("[[grant]]\nuser = 1\ngroup = \"no-such-group\"\n")[..] else {
            panic!("one")
        };
        assert!(grant.whom.is_err(), "half of it is not enough");
    }

    #[test]
    fn what_cannot_be_is_told_with_the_grant_that_says_it() {
        let bird = |line: &str| fault(&format!("[[grant]]\nname = \"bird\"\nuser = 1\n{line}\n"));
        for (line, expected) in [
            ("protocols = [\"bpg\"]", "protocols: \"bpg\" is no protocol"),
            ("families = [\"ip\"]", "families: family \"ip\" is not ipv4 or ipv6"),
            (
                "prefixes-longer = [\"10.0.0.1/8\"]",
                "prefixes-longer: prefix 10.0.0.1/8 has host bits set, did you mean \
                 10.0.0.0/8",
            ),
            ("preferences = [30, 20]", "preferences: 30 is over 20, the smaller comes first"),
        ] {
            assert_eq!(bird(line), expected);
        }
        assert!(bird("preferance = [1, 2]").contains("did you mean preferences?"));
        assert!(bird("prefixes = []").contains("leave it out"), "{}", bird("prefixes = []"));
        let nobody = fault("[[grant]]\nprotocols = [\"bgp\"]\n");
        assert!(nobody.starts_with("grant \"1\" names none of user, group and unit"), "{nobody}");
        let control = fault("[[grant]]\nname = \"\\u001b[31m\"\nuser = 1\n");
        assert!(!control.contains('\u{1b}'), "{control:?}");
    }
}
