//! The `[consent]` table: which sources are read, and how the cookies of other banners are written.
//!
//! Checks what the keys say about each other, and makes the sources that [`crate::consent::banner`] compiles. Never reads
//! a cookie. Bound: [`banner::MAX_OWN`] entries of the operator, one row per preset.

use std::collections::HashMap;
use std::time::Duration;

use super::problem::{Fault, Mistakes, shown};
use super::value::Value;
use super::walk::{Missing, View};
use crate::consent::Banners;
use crate::consent::banner::document::{Format, Path};
use crate::consent::banner::jar::Name;
use crate::consent::banner::presets::{Facts, Keys, Options, PRESETS, Preset};
use crate::consent::banner::spec::{Also, Choice, Guard, Kind, Spec};
use crate::consent::banner::{self, Wanted};
use crate::consent::tcf::Purposes;
use crate::cookies::{Action, Actions, Category};

/// How consent is read and kept.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// Sources that are read, in the file's order.
    pub sources: Vec<ConsentSource>,
    /// How long a choice is valid.
    pub max_age: Duration,
    /// Whether `Sec-GPC: 1` beats a grant given on this very site.
    pub gpc_over_own_grant: bool,
    /// How long address and user agent of a choice can be opened.
    pub proof_term: Duration,
    /// What the site calls things in the banners that are read.
    pub presets: Vec<(Preset, Options)>,
    /// The operator's own entries.
    pub cookies: Vec<banner::Own>,
    /// Names of cookies with TC strings; one that ends in `*` is a prefix.
    pub tcf_cookies: Vec<String>,
    /// The purposes that a TC string must consent to.
    pub tcf_purposes: Purposes,
}

/// A source of consent that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentSource {
    /// Our own signed record.
    Own,
    /// `Sec-GPC: 1`.
    Gpc,
    /// `DNT: 1`.
    Dnt,
    /// TC strings.
    Tcf,
    /// `__gpp`.
    Gpp,
    /// `us_privacy`.
    UsPrivacy,
    /// Google Consent Mode.
    ConsentMode,
    /// A banner by name.
    Banner(Preset),
}

impl ConsentSource {
    /// The source of that name.
    fn from_label(label: &str) -> Option<Self> {
        Some(match label {
            "own" => Self::Own,
            "gpc" => Self::Gpc,
            "dnt" => Self::Dnt,
            "tcf" => Self::Tcf,
            "gpp" => Self::Gpp,
            "us-privacy" => Self::UsPrivacy,
            "consent-mode" => Self::ConsentMode,
            label => Self::Banner(Preset::from_label(label)?),
        })
    }
}

impl Consent {
    /// The sources besides our own record and the header signals, compiled.
    #[must_use]
    pub fn banners(&self, actions: Actions) -> Banners {
        let reads = |source| self.sources.contains(&source);
        let preset = |source: &ConsentSource| match source {
            ConsentSource::Banner(preset) => {
                let said = self.presets.iter().find(|(named, _)| named == preset);
                Some((*preset, said.map(|(_, options)| options.clone()).unwrap_or_default()))
            }
            _ => None,
        };
        let tcf = |name: &String| match name.strip_suffix('*') {
            Some(prefix) => Name::Prefix(prefix.to_owned()),
            None => Name::exact(name),
        };
        Banners::new(Wanted {
            presets: self.sources.iter().filter_map(preset).collect(),
            own: self.cookies.clone(),
            tcf: if reads(ConsentSource::Tcf) { self.tcf_cookies.iter().map(tcf).collect() } else { vec![] },
            purposes: self.tcf_purposes,
            gpp: reads(ConsentSource::Gpp),
            us_privacy: reads(ConsentSource::UsPrivacy),
            consent_mode: reads(ConsentSource::ConsentMode),
            analytics: actions.get(Category::Analytics) == Action::Consent,
        })
    }

    /// Patterns of the cookies that are read, for the never-strip list.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        let mut actions = Actions::default();
        actions.set(Category::Analytics, Action::Consent);
        self.banners(actions).names().iter().map(Name::pattern).collect()
    }
}

/// The table as it will be used.
pub(super) fn build(table: &View<'_>) -> Result<Consent, Missing> {
    let purposes = table.all::<u32>("tcf_purposes");
    let preset = |row: View<'_>| Some((Preset::from_label(row.text("source")?)?, options(&row)));
    Ok(Consent {
        sources: table
            .all::<String>("sources")
            .iter()
            .filter_map(|source| ConsentSource::from_label(source))
            .collect(),
        max_age: table.take("max_age")?,
        gpc_over_own_grant: table.take("gpc_over_own_grant")?,
        proof_term: table.take("proof_term")?,
        presets: table.rows("preset").filter_map(preset).collect(),
        cookies: table.rows("cookie").map(|row| entry(&row, &purposes)).collect::<Result<_, _>>()?,
        tcf_cookies: table.all("tcf_cookies"),
        tcf_purposes: Purposes::of(purposes),
    })
}

fn options(row: &View<'_>) -> Options {
    Options {
        name: row.maybe("name"),
        prefix: row.maybe("prefix"),
        advertising: row.all("advertising"),
        analytics: row.all("analytics"),
        expect_version: row.maybe("expect_version"),
    }
}

/// One `[[consent.cookie]]`, for both purposes.
fn entry(row: &View<'_>, purposes: &[u32]) -> Result<banner::Own, Missing> {
    let name = match (row.text("name"), row.text("prefix")) {
        (Some(name), _) => Name::exact(name),
        (None, Some(prefix)) => Name::Prefix(prefix.to_owned()),
        (None, None) => return Err(Missing(row.path_of("name"))),
    };
    let separators = row.all::<String>("separators");
    let between = || separators.first().cloned().unwrap_or_else(|| ",".to_owned());
    let format = match row.word("format")? {
        "form" => Format::Form,
        "kv" => Format::Pairs {
            between: between(),
            inside: separators.get(1).cloned().unwrap_or_else(|| ":".to_owned()),
        },
        "list" => Format::List { between: between() },
        "flag" => Format::Flag,
        "tcf" => Format::Tcf,
        _ => Format::Json,
    };
    let is_json = format == Format::Json;
    let path = |key: &str| -> Option<Path> {
        let text = row.text(key)?;
        Some(if is_json { text.split('.').map(ToOwned::to_owned).collect() } else { vec![text.to_owned()] })
    };
    let choice = |path: Path| Choice {
        paths: vec![path],
        grants: row.all("grants"),
        denies: row.all("denies"),
        kind: Kind::Word,
    };
    let mut spec = Spec::new(name, format);
    spec.choices = vec![choice(path("path").unwrap_or_default())];
    spec.also = row
        .rows("also")
        .filter_map(|also| {
            Some(Also { name: Name::exact(also.text("cookie")?), equals: also.text("equals")?.to_owned() })
        })
        .collect();
    spec.at = path("at").into_iter().collect();
    spec.version = path("version")
        .zip(row.maybe::<String>("expect_version"))
        .map(|(path, equals)| Guard { path, equals });
    spec.purposes = Purposes::of(purposes.iter().copied());
    let analytics = path("analytics_path").map(|path| Spec { choices: vec![choice(path)], ..spec.clone() });
    Ok(banner::Own { advertising: spec, analytics })
}

/// What the keys say about each other.
pub(super) fn check(table: &View<'_>, mistakes: &mut Mistakes) {
    presets(table, mistakes);
    for (i, row) in table.rows("cookie").enumerate() {
        if i == banner::MAX_OWN {
            let fault = Fault::new(format!("more than {} entries", banner::MAX_OWN));
            mistakes.add(row.place(), row.path(), fault);
        }
        cookie(&row, mistakes);
    }
    for (i, (value, place)) in table.list("tcf_cookies").iter().enumerate() {
        if let Value::Text(name) = value
            && let Err(fault) = cookie_name(name.strip_suffix('*').unwrap_or(name))
        {
            mistakes.add(place, format!("{}[{i}]", table.path_of("tcf_cookies")), fault);
        }
    }
}

fn presets(table: &View<'_>, mistakes: &mut Mistakes) {
    let listed = |label: &str| {
        table.list("sources").iter().any(|(value, _)| matches!(value, Value::Text(text) if text == label))
    };
    let mut seen: HashMap<&str, String> = HashMap::new();
    for row in table.rows("preset") {
        let Some(label) = row.text("source") else {
            let fault = Fault::new("which banner is this about?").hint("source = \"onetrust\"");
            mistakes.add(row.place(), row.path(), fault);
            continue;
        };
        let Some(facts) = Preset::from_label(label).map(Preset::facts) else { continue };
        if let Some(first) = seen.insert(label, row.path().to_owned()) {
            mistakes.add(
                row.place(),
                row.path(),
                Fault::new(format!("`{label}` is already there as {first}")),
            );
        }
        if !listed(label) {
            let fault = Fault::new(format!("`{label}` is not read"))
                .hint(format!("add \"{label}\" to consent.sources, or take this table out"));
            mistakes.add(row.place(), row.path(), fault);
        }
        for (key, possible) in [
            ("name", facts.name.is_some()),
            ("prefix", facts.prefix.is_some()),
            ("advertising", facts.advertising != Keys::Fixed),
            ("analytics", facts.analytics != Keys::Fixed),
            ("expect_version", facts.versioned),
        ] {
            // Lists have a default of their own, which stands nowhere.
            let said = row.entry(key).filter(|_| row.text(key).is_some() || !row.list(key).is_empty());
            if let Some(entry) = said
                && !possible
            {
                let fault = Fault::new(format!("`{label}` has nothing of the kind to be told"));
                mistakes.add(&entry.place, row.path_of(key), fault);
            }
        }
        for key in ["name", "prefix"] {
            if let (Some(name), Some(entry)) = (row.text(key), row.entry(key))
                && let Err(fault) = cookie_name(name)
            {
                mistakes.add(&entry.place, row.path_of(key), fault);
            }
        }
    }
    let told = |facts: &Facts| {
        table
            .rows("preset")
            .any(|row| row.text("source") == Some(facts.label) && !row.list("advertising").is_empty())
    };
    for (i, (value, place)) in table.list("sources").iter().enumerate() {
        let Value::Text(label) = value else { continue };
        let Some(facts) = PRESETS.iter().find(|facts| facts.label == label) else { continue };
        if facts.advertising == Keys::Required && !told(facts) {
            let fault = Fault::new(format!("what does your `{label}` call advertising?")).hint(format!(
                "[[consent.preset]] with source = \"{label}\" and advertising = [\"its name there\"]"
            ));
            mistakes.add(place, format!("{}[{i}]", table.path_of("sources")), fault);
        }
    }
}

fn cookie(row: &View<'_>, mistakes: &mut Mistakes) {
    let mut fault = |key: &str, fault: Fault| {
        let place = row.entry(key).map_or(row.place(), |entry| &entry.place);
        mistakes.add(place, row.path_of(key), fault);
    };
    match (row.text("name"), row.text("prefix")) {
        (Some(_), Some(_)) => fault("prefix", Fault::new("a cookie has either `name` or `prefix`")),
        (None, None) => fault("name", Fault::new("a cookie needs a `name` or a `prefix`")),
        (Some(name), None) => {
            if let Err(wrong) = cookie_name(name) {
                fault("name", wrong);
            }
        }
        (None, Some(name)) => {
            if let Err(wrong) = cookie_name(name) {
                fault("prefix", wrong);
            }
        }
    }
    let format = row.text("format").unwrap_or("json");
    let (separators, has_path, has_more) = match format {
        "kv" => (2, true, true),
        "list" => (1, true, false),
        "flag" | "tcf" => (0, false, false),
        _ => (0, true, true),
    };
    let said = row.list("separators").len();
    if said != 0 && said != separators {
        fault("separators", Fault::new(format!("format `{format}` has {separators} separators")));
    }
    if has_path && row.text("path").is_none() {
        fault("path", Fault::new("where does it say so?").hint("path = \"categories.ads\""));
    }
    for (key, possible) in
        [("path", has_path), ("analytics_path", has_path), ("at", has_more), ("version", has_more)]
    {
        if row.text(key).is_some() && !possible {
            fault(key, Fault::new(format!("format `{format}` has no such place")));
        }
    }
    if row.text("version").is_some() != row.text("expect_version").is_some() {
        let key = if row.text("version").is_some() { "version" } else { "expect_version" };
        fault(key, Fault::new("`version` and `expect_version` belong together"));
    }
    if let Some((value, _)) =
        row.list("grants").iter().find(|(g, _)| row.list("denies").iter().any(|(d, _)| d == g))
    {
        let Value::Text(word) = value else { return };
        fault("grants", Fault::new(format!("`{}` grants and denies", shown(word))));
    }
    for also in row.rows("also") {
        match (also.text("cookie").map(cookie_name), also.text("equals")) {
            (Some(Ok(())), Some(_)) => {}
            (Some(Err(wrong)), _) => mistakes.add(also.place(), also.path(), wrong),
            _ => {
                let wrong = Fault::new("needs `cookie` and `equals`");
                mistakes.add(
                    also.place(),
                    also.path(),
                    wrong.hint("{ cookie = \"banner_seen\", equals = \"1\" }"),
                );
            }
        }
    }
}

/// Whether a cookie can have this name, and one that is not ours.
fn cookie_name(name: &str) -> Result<(), Fault> {
    let plain = |byte: u8| matches!(byte, 0x21..=0x7E) && byte != b';' && byte != b'=';
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(Fault::new("no cookie has this name"));
    }
    if name.starts_with("kelisim_") || "kelisim_".starts_with(name) {
        return Err(
            Fault::new("this is the gateway's own cookie").hint("\"own\" in consent.sources reads it")
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;
