//! What a shell offers for the word that is being typed: asked of the running service, and nothing
//! when that does not answer at once.
//!
//! The shell runs `rtmctl` itself with the words so far behind `--` (see `clap_complete::env`), and a
//! completer gets only the last one; so the words before it are read from there.

use std::{collections::BTreeSet, ffi::OsStr, time::Duration};

use clap::Parser;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use rtmd::{
    bus::wire::SERVICE,
    client::DestinationEnumerationProxy,
    model::{
        entity::Protocol,
        prefix::{Family, Prefix},
    },
};

use crate::{
    cli::Scope,
    context::{Context, Problem},
};

/// Destinations of the tables asked for.
pub(crate) fn prefixes() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let word = word.to_string_lossy();
        ask(async |context| destinations(context, &word).await)
    })
}

/// Who owns routes: labels, protocols, ids.
pub(crate) fn owners() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| beginning(word, ask(owner_names)))
}

/// The names of protocols.
pub(crate) fn protocols() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        // Those that have a name do not print as their number.
        let named = (0..20_000).map(Protocol).map(|it| it.to_string());
        let named = named.filter(|name| name.starts_with(|c: char| !c.is_ascii_digit()));
        beginning(word, named.collect())
    })
}

/// The words of a static route: after `dev` interfaces, else what may come next, and for `del` the
/// routes there are.
pub(crate) fn route_words() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let before = words_before();
        let last = before.last().map_or("", String::as_str);
        let offered: Vec<String> = match last {
            "dev" => interfaces(),
            "del" => ask(static_prefixes),
            "add" => own(&["default", "blackhole", "unreachable", "prohibit"]),
            "proto" => own(&["static", "static-non-dod", "autostatic"]),
            "views" => own(&["unicast", "multicast", "both"]),
            "via" | "metric" | "preference" | "weight" => Vec::new(),
            _ => {
                own(&["via", "dev", "weight", "metric", "preference", "views", "proto", "nexthop"])
            }
        };
        beginning(word, offered)
    })
}

fn own(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Those that go on from what is typed.
fn beginning(word: &OsStr, offered: Vec<String>) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    let harmless = |text: &String| !text.contains(char::is_control);
    let fitting = offered.into_iter().filter(|text| text.starts_with(&*word) && harmless(text));
    fitting.map(CompletionCandidate::new).collect()
}

/// The answer of the service that the words name; none when it takes too long.
fn ask<T: Default>(question: impl AsyncFnOnce(&Context) -> Result<T, Problem>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return T::default() };
    let answer = async {
        let context = Context::connect(scope(&words_before())).await.ok()?;
        question(&context).await.ok()
    };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
    answer.ok().flatten().unwrap_or_default()
}

/// The words of the line before the one that is being typed.
fn words_before() -> Vec<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let mut words: Vec<String> = words.skip_while(|word| word != "--").skip(1).collect();
    // bash and zsh say which one is typed, for fish it is the last.
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    words.truncate(index.unwrap_or_else(|| words.len().saturating_sub(1)));
    words
}

/// Which service the words are about.
fn scope(words: &[String]) -> Scope {
    /// The words of which nothing is known yet are no mistake.
    #[derive(Parser)]
    #[command(ignore_errors = true, disable_help_flag = true, disable_version_flag = true)]
    struct Words {
        #[command(flatten)]
        scope: Scope,
        #[arg(allow_hyphen_values = true)]
        rest: Vec<String>,
    }
    let mut known = Vec::new();
    let mut words = words.iter();
    known.extend(words.next());
    // Only what belongs to the scope: other options may want values that are not there yet.
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bus" | "--host" | "-H" | "--instance" => {
                known.push(word);
                known.extend(words.next());
            }
            "-4" | "-6" | "--ipv4" | "--ipv6" => known.push(word),
            other
                if ["--bus=", "--host=", "--instance="].iter().any(|it| other.starts_with(it)) =>
            {
                known.push(word);
            }
            _ => {}
        }
    }
    Words::try_parse_from(known).map_or_else(|_| Scope::default(), |words| words.scope)
}

async fn destinations(context: &Context, word: &str) -> Result<Vec<CompletionCandidate>, Problem> {
    let mut found = Vec::new();
    for (family, table) in context.tables(context.instance()).await? {
        let Some(from) = first(word, family) else { continue };
        let path = table.create_destination_enumeration(0, ENUM_NEXT, &from.to_string(), 0).await?;
        let walk = DestinationEnumerationProxy::builder(table.inner().connection())
            .destination(SERVICE)
            .path(path)
            .build()
            .await?;
        // One page has to do: a shell shows no more.
        let (page, _) = walk.next(context.limit("max-handles", 100).await?).await?;
        let fitting = page.into_iter().filter(|it| it.prefix.starts_with(word));
        found.extend(fitting.map(|it| CompletionCandidate::new(it.prefix)));
    }
    Ok(found)
}

/// Where in the table the destinations that begin like this begin; none in the other family's.
fn first(word: &str, family: Family) -> Option<Prefix> {
    let separator = match family {
        Family::Ipv4 if word.contains(':') => return None,
        Family::Ipv6 if word.contains('.') => return None,
        Family::Ipv4 => '.',
        Family::Ipv6 => ':',
    };
    let whole = word.rsplit_once(separator).map_or("", |(whole, _)| whole);
    let parts: Vec<&str> = whole.split(separator).filter(|part| !part.is_empty()).collect();
    let text = match family {
        Family::Ipv4 => {
            let all = parts.iter().copied().chain(std::iter::repeat("0")).take(4);
            format!("{}/{}", all.collect::<Vec<_>>().join("."), parts.len() * 8)
        }
        Family::Ipv6 if parts.len() > 7 || whole.contains("::") => return None,
        Family::Ipv6 => format!("{}::/{}", parts.join(":"), parts.len() * 16),
    };
    text.parse().ok()
}

async fn owner_names(context: &Context) -> Result<Vec<String>, Problem> {
    let mut names = BTreeSet::new();
    for family in context.scope.families() {
        let instance = context.instance();
        for entity in context.manager.get_registered_entities(instance, family.name()).await? {
            let protocol = Protocol(entity.protocol).to_string();
            names.insert(format!("{protocol}/{}", entity.protocol_instance));
            names.extend([entity.label, protocol, entity.id.to_string()]);
        }
    }
    names.remove("");
    Ok(names.into_iter().collect())
}

async fn static_prefixes(context: &Context) -> Result<Vec<String>, Problem> {
    let mut prefixes = BTreeSet::new();
    for family in context.scope.families() {
        let routes = context.manager.get_static_routes(context.instance(), family.name()).await?;
        prefixes.extend(routes.into_iter().map(|(prefix, _, _)| prefix));
    }
    Ok(prefixes.into_iter().collect())
}

/// The links of this machine.
fn interfaces() -> Vec<String> {
    let folder = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        folder.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// `RTM_ENUM_NEXT`: from a prefix on.
const ENUM_NEXT: u32 = 1;
/// How long somebody who pressed Tab waits without thinking that it hangs.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_from_where_what_is_typed_begins() {
        let from = |word, family| first(word, family).map(|prefix| prefix.to_string());
        for (word, ipv4, ipv6) in [
            ("", Some("0.0.0.0/0"), Some("::/0")),
            ("1", Some("0.0.0.0/0"), Some("::/0")),
            ("10.1", Some("10.0.0.0/8"), None),
            ("10.1.2.0/2", Some("10.1.2.0/24"), None),
            ("2001:db8:f", None, Some("2001:db8::/32")),
            ("300.1", None, None),
        ] {
            assert_eq!(from(word, Family::Ipv4).as_deref(), ipv4, "{word}");
            assert_eq!(from(word, Family::Ipv6).as_deref(), ipv6, "{word}");
        }
    }

    #[test]
    fn the_service_is_the_one_that_the_line_names() {
        let line = ["rtmctl", "--bus", "unix:path=/a", "-6", "routes", "--owner", "--instance=3"];
        let scope = scope(&line.map(str::to_owned));
        assert_eq!(scope.bus.to_string(), "the bus at unix:path=/a");
        assert_eq!((scope.instance, scope.ipv6), (Some(3), true));
    }
}
