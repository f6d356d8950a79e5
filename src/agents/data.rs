//! The rules in force: the built-in table, and above it what the operator's files say.
//!
//! [`Data::load`] reads a file and compiles it, which takes a good part of a second: never on a request's way, never on
//! the writer's thread. What a file does not know, the table still tells. Never keeps a user agent. Bounds:
//! [`FILE_BYTES`] and those of `super::patterns`.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::crawlers::{Crawler, Crawlers};
use super::find::{TEXT_BYTES, parse};
use super::patterns::{GivenUp, Scratch};
use super::table::{self, Category};
use super::uap::Uap;
use crate::regular_file;

/// Largest file in bytes.
pub const FILE_BYTES: usize = 4 << 20;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `records.user_agent_data`: browsers and systems.
    Agents = 0,
    /// `records.bot_data`: crawlers.
    Bots = 1,
}

impl Role {
    /// Both, in the order of their codes.
    pub const ALL: [Self; 2] = [Self::Agents, Self::Bots];

    /// Metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Agents => "user_agent",
            Self::Bots => "bot",
        }
    }

    /// The key that names the file.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Agents => "records.user_agent_data",
            Self::Bots => "records.bot_data",
        }
    }
}

/// Why a file cannot be used. Its author's or its installer's fault, never the client's.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is larger than a file may be.
    #[error("it is larger than {} MiB", FILE_BYTES >> 20)]
    Bytes,
    /// It is not what it should be.
    #[error("it is not of the expected form: {0}")]
    Form(String),
    /// Its rules are larger than rules may be together.
    #[error("its rules are too many or too large")]
    Large,
}

/// What came of the rules of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In force.
    pub rules: usize,
    /// Left out: the engine does not do what they say, or they are too large.
    pub unusable: usize,
    /// Memory of the compiled rules in bytes.
    pub bytes: usize,
}

/// A file that was read and compiled.
pub struct Loaded {
    rules: Rules,
    version: String,
    counts: Counts,
}

enum Rules {
    Agents(Arc<Uap>),
    Bots(Arc<Crawlers>),
}

/// The rules in force, and which version they are.
pub struct Data {
    agents: Option<Arc<Uap>>,
    bots: Option<Arc<Crawlers>>,
    versions: [Option<String>; Role::ALL.len()],
    counts: [Counts; Role::ALL.len()],
    version: String,
}

/// What a user agent says, in the words of the rules in force.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said<'d> {
    /// The browser or program.
    pub family: Option<Cow<'d, str>>,
    /// Its major version.
    pub major: Option<u64>,
    /// The system it runs on.
    pub os: Option<Cow<'d, str>>,
    /// Its major version.
    pub os_major: Option<u64>,
    /// `desktop`, `mobile`, `tablet`, `tv`, `console` or `bot`.
    pub device: Option<&'static str>,
    /// The program, if it is not a person's browser.
    pub bot: Option<SaidBot<'d>>,
}

/// A program, in the words of the rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidBot<'d> {
    /// Its name.
    pub name: &'d str,
    /// What it is for.
    pub category: &'d str,
    /// The rule by which it was found.
    pub rule: &'d str,
}

impl Data {
    /// Nothing but the built-in table.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            agents: None,
            bots: None,
            versions: Default::default(),
            counts: Default::default(),
            version: table::VERSION.to_owned(),
        }
    }

    /// Reads and compiles a file.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn load(role: Role, path: &Path) -> Result<Loaded, DataError> {
        let mut bytes = Vec::new();
        regular_file::open(path)?.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > FILE_BYTES {
            return Err(DataError::Bytes);
        }
        Self::compile(role, &bytes)
    }

    /// [`Self::load`] of bytes.
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn compile(role: Role, bytes: &[u8]) -> Result<Loaded, DataError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| DataError::Form(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
        let (rules, counts) = match role {
            Role::Agents => {
                let (rules, counts) = Uap::read(text)?;
                (Rules::Agents(Arc::new(rules)), counts)
            }
            Role::Bots => {
                let (rules, counts) = Crawlers::read(text)?;
                (Rules::Bots(Arc::new(rules)), counts)
            }
        };
        let hash = digest(&SHA256, bytes);
        let version = hash.as_ref().iter().take(VERSION_BYTES).map(|b| format!("{b:02x}")).collect();
        Ok(Loaded { rules, version, counts })
    }

    /// These rules with a file in place of the one before.
    #[must_use]
    pub fn with(&self, loaded: Loaded) -> Self {
        let Loaded { rules, version, counts } = loaded;
        let role = match &rules {
            Rules::Agents(_) => Role::Agents,
            Rules::Bots(_) => Role::Bots,
        };
        let mut made = self.without(role);
        match rules {
            Rules::Agents(rules) => made.agents = Some(rules),
            Rules::Bots(rules) => made.bots = Some(rules),
        }
        made.versions[role as usize] = Some(version);
        made.counts[role as usize] = counts;
        made.name();
        made
    }

    /// These rules without such a file.
    #[must_use]
    pub fn without(&self, role: Role) -> Self {
        let mut made = Self {
            agents: self.agents.clone().filter(|_| role != Role::Agents),
            bots: self.bots.clone().filter(|_| role != Role::Bots),
            versions: self.versions.clone(),
            counts: self.counts,
            version: String::new(),
        };
        made.versions[role as usize] = None;
        made.counts[role as usize] = Counts::default();
        made.name();
        made
    }

    /// The value of `ua.data_version`: of the table, and of each file the beginning of its SHA-256.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What came of the rules of a file; `None` without one.
    #[must_use]
    pub fn counts(&self, role: Role) -> Option<Counts> {
        self.versions[role as usize].as_ref().map(|_| self.counts[role as usize])
    }

    fn name(&mut self) {
        table::VERSION.clone_into(&mut self.version);
        for (role, version) in Role::ALL.iter().zip(&self.versions) {
            if let Some(version) = version {
                self.version.push_str(&format!("+{}.{version}", role.label()));
            }
        }
    }

    /// What a text says. `go_on` is asked before each rule of a file that is run.
    ///
    /// # Errors
    /// [`GivenUp`] when it says no.
    pub(super) fn say(
        &self,
        text: &[u8],
        scratch: &mut Scratch,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Said<'_>, GivenUp> {
        let text = &text[..text.len().min(TEXT_BYTES)];
        let table = parse(text);
        let mut said = Said {
            family: table.family.map(Cow::Borrowed),
            major: table.major,
            os: table.os.map(Cow::Borrowed),
            os_major: table.os_major,
            device: table.device,
            bot: table.bot.map(|bot| SaidBot {
                name: bot.name,
                category: bot.category.label(),
                rule: bot.rule,
            }),
        };
        if let Some(agents) = &self.agents {
            let (browser, system) = agents.find(text, scratch, go_on)?;
            if let Some(named) = browser.filter(|named| named.family.is_some()) {
                (said.family, said.major) = (named.family.map(Cow::Owned), named.major);
            }
            if let Some(named) = system.filter(|named| named.family.is_some()) {
                (said.os, said.os_major) = (named.family.map(Cow::Owned), named.major);
            }
        }
        if let Some(bots) = &self.bots
            && let Some(crawler) = bots.find(text, scratch, go_on)?
        {
            said.bot = Some(both(crawler, said.bot));
            said.device = Some("bot");
        }
        Ok(said)
    }
}

/// A crawler of the file, with what only the table knows of it.
fn both<'d>(crawler: &'d Crawler, table: Option<SaidBot<'d>>) -> SaidBot<'d> {
    let known = table.filter(|bot| bot.category != Category::Other.label());
    SaidBot {
        name: known.map_or(&crawler.name, |bot| bot.name),
        category: crawler
            .category
            .as_deref()
            .or(known.map(|bot| bot.category))
            .unwrap_or(Category::Other.label()),
        rule: &crawler.rule,
    }
}

/// Bytes of a file's hash in its version.
const VERSION_BYTES: usize = 6;
