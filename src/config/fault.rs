//! What is wrong with the configuration, and where: all of it, not the first of it.

use std::{cell::RefCell, collections::BTreeMap, fmt, path::Path, rc::Rc, sync::Arc};

use crate::model::InstanceId;

/// A place in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file, or the directory where that itself is at fault.
    pub file: Arc<Path>,
    /// Line and column, from 1, the column in characters; none for the file as a whole.
    pub at: Option<(usize, usize)>,
}

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The instance that is not served because of it; without one, the whole configuration cannot be used.
    pub instance: Option<InstanceId>,
    /// What, and what was expected.
    pub message: String,
}

/// All that keeps a configuration from being used, in the order in which it was found.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Faults(pub Vec<Fault>);

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The keys of each section.
pub(super) type Keys = BTreeMap<&'static str, Vec<String>>;

/// Where those who read add what they find.
#[derive(Default)]
pub(super) struct Findings {
    found: RefCell<Vec<Fault>>,
    /// The keys that there are, by section; what somebody asked for is what there is.
    keys: Rc<RefCell<Keys>>,
}

/// As many faults as anybody reads. A file of nonsense has one in each line.
const MOST: usize = 100;

impl Fault {
    /// With the keys `file`, `line`, `column`, `instance` and `message`, null where there is nothing to say.
    pub fn json(&self) -> serde_json::Value {
        let Self { place: Place { file, at }, instance, message } = self;
        serde_json::json!({
            "file": file.to_string_lossy(),
            "line": at.map(|(line, _)| line),
            "column": at.map(|(_, column)| column),
            "instance": instance.map(|id| id.0),
            "message": message,
        })
    }
}

impl Place {
    /// A file as a whole.
    pub(super) fn whole(file: &Path) -> Self {
        Self { file: file.into(), at: None }
    }
}

impl Findings {
    /// Where to add what is wrong with a part that is looked at for itself.
    pub(super) fn part(&self) -> Self {
        Self { found: RefCell::default(), keys: Rc::clone(&self.keys) }
    }

    /// With the keys that are known already.
    pub(super) fn knowing(keys: Keys) -> Self {
        Self { found: RefCell::default(), keys: Rc::new(RefCell::new(keys)) }
    }

    /// Adds a fault of the whole configuration.
    pub(super) fn add(&self, place: &Place, message: impl fmt::Display) {
        self.push(Fault { place: place.clone(), instance: None, message: message.to_string() });
    }

    /// Adds all of an instance's.
    pub(super) fn add_of_instance(&self, id: InstanceId, found: Self) {
        for fault in found.found.into_inner() {
            self.push(Fault { instance: Some(id), ..fault });
        }
    }

    fn push(&self, fault: Fault) {
        let mut found = self.found.borrow_mut();
        match found.len() {
            ..MOST => found.push(fault),
            MOST => found.push(Fault {
                message: format!("there are more than {MOST} faults; the others are not shown"),
                ..fault
            }),
            _ => {}
        }
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// How much was found.
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// What was found.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.found.into_inner()
    }

    /// What was found, as sentences without their places: those change with every line that is added.
    pub(super) fn sentences(&self) -> String {
        let found = self.found.borrow();
        found.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// Notes which keys a section has.
    pub(super) fn note_keys(&self, section: &'static str, keys: Vec<String>) {
        self.keys.borrow_mut().insert(section, keys);
    }

    /// The keys of each section that was read so far.
    pub(super) fn keys(&self) -> Keys {
        self.keys.borrow().clone()
    }
}

/// `FILE:LINE:COLUMN`, as compilers write it and editors read it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.display().fmt(f)?;
        match self.at {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, instance, message } = self;
        match instance {
            Some(id) => write!(f, "{place}: instance {id}: {message}"),
            None => write!(f, "{place}: {message}"),
        }
    }
}
