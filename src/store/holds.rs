//! What keeps records whose erasure somebody asks for: legal holds and the minimum term, as the gateway has read them.
//!
//! The gateway writes them to `subjects/holds` when it starts, so that `kelisim subject erase`, which reads no
//! configuration, knows them. No file: nothing is held. A file that cannot be read holds everything: nothing is erased by
//! mistake. Never decides about retention: that is [`super::terms`]. Bound: the configured holds.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{private_folder, sync_folder};
use super::subjects::book::FOLDER;
use super::terms::{HeldBy, Terms};
use crate::seal::Day;

/// The holds of a data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    named: Vec<Named>,
    /// Days that a law demands; 0 for none.
    minimum: u32,
}

/// Days that a name keeps. Whatever classes it names, the facts of the record are held, and an erasure would take them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    name: String,
    from: String,
    until: String,
}

impl Holds {
    /// Those of a gateway's terms.
    #[must_use]
    pub fn of(terms: &Terms) -> Self {
        let named = terms.holds().iter().map(|hold| Named {
            name: hold.name.clone(),
            from: hold.from.to_string(),
            until: hold.until.to_string(),
        });
        Self { named: named.collect(), minimum: terms.least() }
    }

    /// Writes them for the commands, whole or not at all; without any, there is no file.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let path = path(dir);
        if *self == Self::default() {
            return match std::fs::remove_file(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(cause) => Err(cause),
                Ok(()) => sync_folder(&path),
            };
        }
        private_folder(&dir.join(FOLDER))?;
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        sync_folder(&path)
    }

    /// Reads those of a data folder.
    ///
    /// # Errors
    /// When the file cannot be read: then nobody knows what is held.
    pub fn read(dir: &Path) -> io::Result<Self> {
        match std::fs::read(path(dir)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(cause),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.minimum == 0
    }

    /// What keeps the records of a day (`2026-11-22`), in words; `None` when nothing does. A day that cannot be read is
    /// within the minimum term, if there is one.
    #[must_use]
    pub fn on(&self, day: &str, today: Day) -> Option<String> {
        // Days written so are in the order of their texts.
        if let Some(hold) = self.named.iter().find(|hold| (&*hold.from..=&*hold.until).contains(&day)) {
            return Some(HeldBy::Named(&hold.name).to_string());
        }
        let age = day.parse::<Day>().map_or(0, |day| today.number() - day.number());
        let held = self.minimum > 0 && age <= i64::from(self.minimum);
        held.then(|| HeldBy::Minimum(self.minimum).to_string())
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FOLDER).join("holds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::record::Class;
    use crate::store::Hold;

    fn day(number: i64) -> Day {
        Day::of(Timestamp::from_secs(number * 86_400))
    }

    fn terms(minimum: u32, holds: Vec<Hold>) -> Terms {
        Terms::new([90, 30, 30, 7, 30], [0, minimum, 0, 0, 0], holds)
    }

    fn hold() -> Hold {
        Hold { name: "case 7".into(), from: day(20_000), until: day(20_009), classes: vec![Class::Sec] }
    }

    #[test]
    fn commands_read_what_the_gateway_wrote_last() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(Holds::read(dir.path()).expect("none").is_empty());
        let holds = Holds::of(&terms(60, vec![hold()]));
        holds.write(dir.path()).expect("written");
        assert_eq!(Holds::read(dir.path()).expect("readable"), holds);
        Holds::of(&terms(0, Vec::new())).write(dir.path()).expect("removed");
        assert!(Holds::read(dir.path()).expect("none").is_empty());
        Holds::default().write(dir.path()).expect("nothing to remove");
        std::fs::write(path(dir.path()), "{").expect("damaged");
        Holds::read(dir.path()).expect_err("nobody knows what is held");
    }

    #[test]
    fn a_day_is_held_by_name_or_by_the_minimum_term() {
        let on = |holds: &Holds, number: i64, today: i64| holds.on(&day(number).to_string(), day(today));
        let named = Holds::of(&terms(0, vec![hold()]));
        let case = Some("legal hold case 7".to_owned());
        assert_eq!([on(&named, 20_000, 30_000), on(&named, 20_009, 30_000)], [case.clone(), case]);
        assert_eq!([on(&named, 19_999, 30_000), on(&named, 20_010, 30_000)], [None, None]);
        let minimum = Holds::of(&terms(60, Vec::new()));
        assert_eq!(on(&minimum, 20_000, 20_060).as_deref(), Some("a minimum term of 60 days"));
        assert_eq!(on(&minimum, 20_000, 20_061), None);
        assert!(minimum.on("nonsense", day(20_000)).is_some());
    }
}
