//! Who may do what, as it is written: `[[grant]]`.
//!
//! A user or group that the system does not know makes its grant one for nobody, and the others go on: it may
//! come with a package that is not there yet. Anything else that cannot be is an error, as everywhere.

use nix::unistd::{Gid, Group, Uid, User};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{ConfigError, impossible, instances::views};
use crate::{
    model::{Family, InstanceId, Preference, Prefix, Protocol},
    rib::{Grant, Grants, Prefixes, Whom},
};

/// Who may register where nothing is configured.
const GROUP: &str = "rtmd";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct GrantSection {
    name: Option<String>,
    user: Option<Account>,
    group: Option<Account>,
    unit: Option<String>,
    #[serde(default, deserialize_with = "some")]
    protocols: Vec<String>,
    #[serde(default, deserialize_with = "some")]
    instances: Vec<u16>,
    #[serde(default, deserialize_with = "some")]
    families: Vec<String>,
    #[serde(default, deserialize_with = "some")]
    prefixes: Vec<String>,
    #[serde(default, deserialize_with = "some")]
    prefixes_longer: Vec<String>,
    routes: Option<u32>,
    next_hops: Option<u32>,
    registrations: Option<u32>,
    /// The first and the last.
    preferences: Option<[u32; 2]>,
    views: Option<Vec<u8>>,
    /// Milliseconds.
    linger: Option<u32>,
    #[serde(default = "yes")]
    shared: bool,
    #[serde(default, rename = "static")]
    statics: bool,
    #[serde(default)]
    administer: bool,
}

/// A user or a group.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a name or a number")]
enum Account {
    Number(u32),
    Name(String),
}

/// A list of at least one: an empty one might be meant for none, and would be for all.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::deserialize(from)?;
    match all.is_empty() {
        true => Err(D::Error::custom("it is empty: leave it out, which allows all")),
        false => Ok(all),
    }
}

fn yes() -> bool {
    true
}

/// The grants, in their order; without any, the one for the group of the service.
pub(super) fn grants(sections: Vec<GrantSection>) -> Result<Grants, ConfigError> {
    if sections.is_empty() {
        let group = find_group(&Account::Name(GROUP.to_owned()));
        let whom = group.map(|group| Whom { group: Some(group), ..Whom::default() });
        return Ok(Grants(vec![Grant::new("default", whom)]));
    }
    let numbered = sections.into_iter().zip(1u32..);
    numbered.map(|(section, number)| grant(section, number)).collect::<Result<_, _>>().map(Grants)
}

fn grant(section: GrantSection, number: u32) -> Result<Grant, ConfigError> {
    let name = section.name.clone().unwrap_or_else(|| number.to_string());
    let read = || -> Result<Grant, String> {
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            return Err("a name has 1 to 64 characters, none of them a control character".into());
        }
        if section.user.is_none() && section.group.is_none() && section.unit.is_none() {
            return Err("it names none of user, group and unit, so it would be for nobody".into());
        }
        let protocol = |text: &String| {
            Protocol::parse(text).ok_or_else(|| format!("protocols: {text:?} is no protocol"))
        };
        let family = |text: &String| {
            text.parse::<Family>().map_err(|error| format!("families: {}", error.message))
        };
        let prefixes = Prefixes::new(
            prefixes("prefixes", &section.prefixes)?,
            prefixes("prefixes-longer", &section.prefixes_longer)?,
        );
        let preferences = match section.preferences {
            Some([from, to]) if from > to => {
                return Err(format!("preferences: {from} is over {to}, the smaller comes first"));
            }
            range => range.map(|[from, to]| Preference(from)..=Preference(to)),
        };
        Ok(Grant {
            protocols: section.protocols.iter().map(protocol).collect::<Result<_, _>>()?,
            instances: section.instances.iter().copied().map(InstanceId).collect(),
            families: section.families.iter().map(family).collect::<Result<_, _>>()?,
            prefixes,
            routes: section.routes,
            next_hops: section.next_hops,
            registrations: section.registrations,
            preferences,
            views: section.views.as_deref().map(|all| views("views", all)).transpose()?,
            linger: section.linger,
            shared: section.shared,
            statics: section.statics,
            administer: section.administer,
            ..Grant::new(name.clone(), whom(&section))
        })
    };
    read().map_err(|fault| impossible(format_args!("grant {name:?}: {fault}")))
}

/// Whom it is for, or the name that the system does not know.
fn whom(section: &GrantSection) -> Result<Whom, String> {
    let unit = section.unit.as_ref().map(|unit| match unit.contains('.') {
        true => unit.clone(),
        false => format!("{unit}.service"),
    });
    Ok(Whom {
        user: section.user.as_ref().map(find_user).transpose()?,
        group: section.group.as_ref().map(find_group).transpose()?,
        unit,
    })
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

fn prefixes(key: &str, all: &[String]) -> Result<Vec<Prefix>, String> {
    let read = |text: &String| text.parse().map_err(|error| format!("{key}: {error}"));
    all.iter().map(read).collect()
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
            ("protocols = [\"bpg\"]", "grant \"bird\": protocols: \"bpg\" is no protocol"),
            ("families = [\"ip\"]", "grant \"bird\": families: family \"ip\" is not ipv4 or ipv6"),
            (
                "prefixes-longer = [\"10.0.0.1/8\"]",
                "grant \"bird\": prefixes-longer: prefix 10.0.0.1/8 has host bits set, did you mean \
                 10.0.0.0/8",
            ),
            (
                "preferences = [30, 20]",
                "grant \"bird\": preferences: 30 is over 20, the smaller comes first",
            ),
        ] {
            assert_eq!(bird(line), expected);
        }
        assert!(bird("preferance = [1, 2]").contains("line 4"), "{}", bird("preferance = [1, 2]"));
        assert!(bird("prefixes = []").contains("leave it out"), "{}", bird("prefixes = []"));
        let nobody = fault("[[grant]]\nprotocols = [\"bgp\"]\n");
        assert!(
            nobody.starts_with("grant \"1\": it names none of user, group and unit"),
            "{nobody}"
        );
        let control = fault("[[grant]]\nname = \"\\u001b[31m\"\nuser = 1\n");
        assert!(!control.contains('\u{1b}'), "{control:?}");
    }
}
