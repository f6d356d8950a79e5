//! The generic decoder: a consent cookie described by a table instead of code.
//!
//! An operator's `[[consent.cookie]]` and most presets are a [`Spec`]. Never grants unless every condition is there.
//! Bound: the cookies of a [`Jar`], the bounds of [`super::document`].

use super::document::{Document, Format, Found, Path};
use super::jar::{Jar, Name};
use super::reading::{Reading, all, of_words};
use super::text::moment;
use crate::consent::signal::Verdict;
use crate::consent::tcf::{self, Purposes};

/// A consent cookie, described.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name.
    pub name: Name,
    /// How its value is written.
    pub format: Format,
    /// What must grant, all of it.
    pub choices: Vec<Choice>,
    /// Words that must stand in the value before its choices count: that the banner was closed, say.
    pub guards: Vec<Guard>,
    /// Words that other cookies must hold, likewise.
    pub also: Vec<Also>,
    /// Where the time of the choice may stand; the first that is there counts.
    pub at: Vec<Path>,
    /// Where the version of the banner's text stands, and which one is expected.
    pub version: Option<Guard>,
    /// The purposes that a TCF string must consent to, with [`Format::Tcf`].
    pub purposes: Purposes,
}

/// One thing that was chosen.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Where it stands; the first whose surroundings exist counts.
    pub paths: Vec<Path>,
    /// Words that grant.
    pub grants: Vec<String>,
    /// Words that deny.
    pub denies: Vec<String>,
    /// What else counts.
    pub kind: Kind,
}

/// How a choice is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word; without it there is no choice.
    Word,
    /// A word; a key that is missing among its like was refused.
    WordOrRefused,
    /// A list that grants unless it is empty or missing among its like.
    Filled,
}

/// A word that must stand at a path.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Where.
    pub path: Path,
    /// Which.
    pub equals: String,
}

/// A word that another cookie must hold.
#[derive(Clone, Debug)]
pub struct Also {
    /// The other cookie.
    pub name: Name,
    /// Its whole value.
    pub equals: String,
}

impl Spec {
    /// A description with nothing but name and format.
    #[must_use]
    pub const fn new(name: Name, format: Format) -> Self {
        Self {
            name,
            format,
            choices: Vec::new(),
            guards: Vec::new(),
            also: Vec::new(),
            at: Vec::new(),
            version: None,
            purposes: Purposes::ADVERTISING,
        }
    }

    /// Every cookie that is looked at.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.name).chain(self.also.iter().map(|also| &also.name))
    }

    /// What the cookies of a request say; `None` if the cookie is not there.
    pub(super) fn read(&self, jar: &Jar<'_>) -> Option<Reading> {
        let reading = jar.read(&self.name, |value| self.read_value(value))?;
        Some(match self.others(jar) {
            Verdict::Granted => reading,
            Verdict::Denied => Reading::DENIED,
            // Whatever stands in the cookie, the banner has not been answered.
            Verdict::Unknown => Reading::UNKNOWN,
        })
    }

    /// Whether the other cookies say what they must; copies that differ deny.
    fn others(&self, jar: &Jar<'_>) -> Verdict {
        let mut out = Verdict::Granted;
        for also in &self.also {
            let read = |value: &[u8]| {
                let document = Document::read(&Format::Flag, value, &[]);
                let said = matches!(document, Some(Document::Flag(word)) if word == also.equals);
                Reading::new(if said { Verdict::Granted } else { Verdict::Unknown }, None)
            };
            match jar.read(&also.name, read).map(|reading| reading.verdict) {
                Some(Verdict::Granted) => {}
                Some(Verdict::Denied) => return Verdict::Denied,
                Some(Verdict::Unknown) | None => out = Verdict::Unknown,
            }
        }
        out
    }

    fn read_value(&self, value: &[u8]) -> Reading {
        if self.format == Format::Tcf {
            return tcf::read(value, self.purposes);
        }
        let known: Vec<&Path> = self.choices.iter().flat_map(|choice| &choice.paths).collect();
        let Some(document) = Document::read(&self.format, value, &known) else { return Reading::UNKNOWN };
        let holds =
            |guard: &Guard| matches!(document.find(&guard.path), Found::Word(word) if word == guard.equals);
        if !self.guards.iter().chain(&self.version).all(holds) {
            return Reading::UNKNOWN;
        }
        let Ok(at) = time_in(&document, &self.at) else { return Reading::UNKNOWN };
        Reading::new(all(self.choices.iter().map(|choice| choice.read(&document))), at)
    }
}

/// The first time that is there; an error if it is no time.
fn time_in(document: &Document, paths: &[Path]) -> Result<Option<crate::clock::Timestamp>, NoTime> {
    for path in paths {
        match document.find(path) {
            Found::Word(word) => return moment(&word).map(Some).ok_or(NoTime),
            Found::Absent | Found::Nothing => {}
            Found::Member(_) | Found::List(_) => return Err(NoTime),
        }
    }
    Ok(None)
}

/// What stands where a time should is none.
struct NoTime;

impl Choice {
    fn read(&self, document: &Document) -> Verdict {
        for path in &self.paths {
            return match (document.find(path), self.kind) {
                (Found::Nothing, _) | (Found::Absent, Kind::Word) => continue,
                // A key at the root has no like.
                (Found::Absent, _) if path.len() < 2 => continue,
                (Found::Word(word), Kind::Word | Kind::WordOrRefused) => self.weigh(&word),
                (Found::Member(member), Kind::Word | Kind::WordOrRefused) => {
                    self.weigh(if member { "true" } else { "false" })
                }
                (Found::List(0), Kind::Filled) | (Found::Absent, _) => Verdict::Denied,
                (Found::List(_), Kind::Filled) => Verdict::Granted,
                _ => Verdict::Unknown,
            };
        }
        Verdict::Unknown
    }

    fn weigh(&self, word: &str) -> Verdict {
        of_words(word, &self.grants, &self.denies)
    }
}
