//! The banners that are known by name: what their cookies are called and how each one says yes.
//!
//! Most are a [`Spec`], the rest have a file of their own. A preset that was built without a sample of a real grant can
//! only refuse. Never trusts what a banner writes before a choice. Bound: the table.

use super::document::{Format, Path};
use super::jar::{Jar, Name};
use super::reading::{Reading, fold};
use super::spec::{Also, Choice, Guard, Kind, Spec};
use super::{commanders, cookiebot, didomi, drupal, onetrust, tealium, trustarc};
use crate::consent::tcf::{self, Purposes};

use Keys::{Fixed, Required, Usual};

/// A banner by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Preset {
    OneTrust,
    Cookiebot,
    CookieYes,
    CookieYesLegacy,
    Complianz,
    CookieConsent,
    Klaro,
    Tarteaucitron,
    Axeptio,
    CookieScript,
    CookieFirst,
    Borlabs,
    Iubenda,
    TrustArc,
    Tealium,
    ConsentManager,
    Didomi,
    CommandersAct,
    Zaraz,
    Shopify,
    DrupalEu,
}

/// What a preset lets the operator say about one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Nothing: the banner's own name for it.
    Fixed,
    /// The site's names for it, these unless told.
    Usual(&'static [&'static str]),
    /// The site's names for it, which nobody else can know.
    Required,
}

/// What a preset is called and what it lets the operator say.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The preset.
    pub preset: Preset,
    /// The name in `consent.sources`, in metrics, in `kelisim-consent`.
    pub label: &'static str,
    /// The cookie's name, if the site can choose it.
    pub name: Option<&'static str>,
    /// How the cookies' names begin, if the site can choose it.
    pub prefix: Option<&'static str>,
    /// What is said about advertising.
    pub advertising: Keys,
    /// What is said about statistics.
    pub analytics: Keys,
    /// Whether a version of the banner's text can be expected.
    pub versioned: bool,
    /// Whether it can only refuse.
    pub refuse_only: bool,
}

/// What the operator says about a preset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The cookie's name.
    pub name: Option<String>,
    /// How the cookies' names begin.
    pub prefix: Option<String>,
    /// Categories, services, vendors or purposes for advertising; empty: the default.
    pub advertising: Vec<String>,
    /// The same for statistics.
    pub analytics: Vec<String>,
    /// The version of the banner's text.
    pub expect_version: Option<String>,
}

impl Preset {
    /// What is known about it.
    #[must_use]
    pub fn facts(self) -> &'static Facts {
        // The table has a row for each, in order; a test says so.
        PRESETS.get(self as usize).unwrap_or(&PRESETS[0])
    }

    /// The preset of that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        PRESETS.iter().find(|facts| facts.label == label).map(|facts| facts.preset)
    }
}

/// How a preset's cookies are read for one purpose.
#[derive(Clone, Debug)]
pub(super) enum Reader {
    Spec(Box<Spec>),
    OneTrust { groups: Vec<String>, objection: bool },
    Cookiebot(&'static str),
    TrustArc(Vec<String>),
    Tealium(Vec<String>),
    Tcf([Name; 2], Purposes),
    Didomi { purposes: Vec<String>, tcf: Option<Purposes> },
    CommandersAct(Vec<String>),
    Drupal(Vec<String>),
}

impl Reader {
    /// What a request says; `None` if the banner's cookie is not there.
    pub(super) fn read(&self, jar: &Jar<'_>) -> Option<Reading> {
        match self {
            Self::Spec(spec) => spec.read(jar),
            Self::OneTrust { groups, objection } => onetrust::read(jar, groups, *objection),
            Self::Cookiebot(category) => cookiebot::read(jar, category),
            Self::TrustArc(levels) => trustarc::read(jar, levels),
            Self::Tealium(categories) => tealium::read(jar, categories),
            Self::Tcf(names, wanted) => {
                let values = names.iter().flat_map(|name| jar.copies(name));
                fold(values.map(|value| tcf::read(value, *wanted)))
            }
            Self::Didomi { purposes, tcf } => didomi::read(jar, purposes, *tcf),
            Self::CommandersAct(categories) => commanders::read(jar, categories),
            Self::Drupal(categories) => drupal::read(jar, categories),
        }
    }

    /// Every cookie that is looked at.
    pub(super) fn names(&self) -> Vec<Name> {
        match self {
            Self::Spec(spec) => spec.names().cloned().collect(),
            Self::OneTrust { .. } => onetrust::names(),
            Self::Cookiebot(_) => cookiebot::names(),
            Self::TrustArc(_) => trustarc::names(),
            Self::Tealium(_) => tealium::names(),
            Self::Tcf(names, _) => names.to_vec(),
            Self::Didomi { .. } => didomi::names(),
            Self::CommandersAct(_) => commanders::names(),
            Self::Drupal(_) => drupal::names(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Advertising,
    Analytics,
}

/// The reader of a preset for a purpose; `None` if nobody said what the site calls it. `wanted` is what a TC string must
/// consent to.
pub(super) fn reader(
    preset: Preset,
    options: &Options,
    purpose: Purpose,
    wanted: Purposes,
) -> Option<Reader> {
    let facts = preset.facts();
    let (keys, said) = match purpose {
        Purpose::Advertising => (facts.advertising, &options.advertising),
        Purpose::Analytics => (facts.analytics, &options.analytics),
    };
    let chosen: Vec<String> = match keys {
        Usual(default) if said.is_empty() => default.iter().map(|key| (*key).to_owned()).collect(),
        _ => said.clone(),
    };
    let advertising = purpose == Purpose::Advertising;
    let pick = |ads: &'static str, statistics: &'static str| if advertising { ads } else { statistics };
    if keys == Required && chosen.is_empty() {
        return None;
    }
    Some(match preset {
        Preset::OneTrust => Reader::OneTrust { groups: chosen, objection: advertising },
        Preset::Cookiebot => Reader::Cookiebot(pick("marketing", "statistics")),
        Preset::TrustArc => Reader::TrustArc(chosen),
        Preset::Tealium => Reader::Tealium(chosen),
        Preset::ConsentManager if advertising => {
            let names = ["__cmpconsent", "__cmpconsentx"].map(|name| Name::Numbered(name.to_owned()));
            Reader::Tcf(names, wanted)
        }
        Preset::ConsentManager => return None,
        Preset::Didomi if !advertising && chosen.is_empty() => return None,
        Preset::Didomi => Reader::Didomi { purposes: chosen, tcf: advertising.then_some(wanted) },
        Preset::CommandersAct => Reader::CommandersAct(chosen),
        Preset::DrupalEu => Reader::Drupal(chosen),
        _ => Reader::Spec(Box::new(spec(facts, options, &chosen, &pick))),
    })
}

/// The table entry of a preset that needs no code.
fn spec(
    facts: &Facts,
    options: &Options,
    chosen: &[String],
    pick: &dyn Fn(&'static str, &'static str) -> &'static str,
) -> Spec {
    let name = options.name.as_deref().or(facts.name).unwrap_or_default();
    let prefix = options.prefix.as_deref().or(facts.prefix).unwrap_or_default();
    let mut spec = Spec::new(Name::exact(name), Format::Json);
    let each = |before: &[&str], kind| {
        chosen
            .iter()
            .map(|key| choice([path(before).into_iter().chain([key.clone()]).collect()], kind))
            .collect()
    };
    match facts.preset {
        Preset::CookieYes => {
            spec.name = Name::exact("cookieyes-consent");
            spec.format = pairs(",", ":");
            spec.guards = vec![guard(&["action"], "yes")];
            spec.choices = vec![words(&[pick("advertisement", "analytics")], "yes", "no")];
        }
        Preset::CookieYesLegacy => {
            let which = pick("advertisement", "analytics");
            spec.name = Name::exact(&format!("cookielawinfo-checkbox-{which}"));
            spec.format = Format::Flag;
            spec.choices = vec![words(&["-"], "yes", "no")];
            spec.also = vec![also("viewed_cookie_policy", "yes")];
        }
        Preset::Complianz => {
            spec.name = Name::exact(&format!("{prefix}{}", pick("marketing", "statistics")));
            spec.format = Format::Flag;
            spec.choices = vec![words(&["-"], "allow", "deny")];
            spec.also = vec![also(&format!("{prefix}banner-status"), "dismissed")];
            let version = options.expect_version.as_deref();
            spec.also.extend(version.map(|version| also(&format!("{prefix}policy_id"), version)));
        }
        Preset::CookieConsent => {
            // Versions 1 and 2 had `level` in place of `categories`.
            spec.choices = chosen
                .iter()
                .map(|key| choice([path(&["categories", key]), path(&["level", key])], Kind::Word))
                .collect();
            spec.at = vec![path(&["lastConsentTimestamp"]), path(&["consentTimestamp"])];
            spec.version = options.expect_version.as_deref().map(|version| guard(&["revision"], version));
        }
        Preset::Klaro | Preset::Zaraz => spec.choices = each(&[], Kind::Word),
        Preset::Tarteaucitron => {
            spec.format = pairs("!", "=");
            spec.choices = each(&[], Kind::Word);
        }
        Preset::Axeptio => {
            spec.name = Name::exact("axeptio_cookies");
            spec.guards = vec![guard(&["$$completed"], "true")];
            spec.choices = each(&[], Kind::Word);
            spec.at = vec![path(&["$$date"])];
        }
        Preset::CookieScript => {
            spec.name = Name::exact("CookieScriptConsent");
            let category = pick("targeting", "performance");
            spec.choices = vec![
                words(&["action"], "accept", "reject"),
                choice([path(&["categories", category])], Kind::Word),
            ];
            spec.at = vec![path(&["consenttime"])];
        }
        Preset::CookieFirst => {
            spec.name = Name::exact("cookiefirst-consent");
            spec.choices = vec![choice([path(&[pick("advertising", "performance")])], Kind::Word)];
            spec.at = vec![path(&["timestamp"])];
        }
        Preset::Borlabs => spec.choices = each(&["consents"], Kind::Filled),
        Preset::Iubenda => {
            spec.name = Name::Numbered("_iub_cs-".to_owned());
            let purpose = pick("5", "4");
            spec.choices =
                vec![choice([path(&["purposes", purpose]), path(&["consent"])], Kind::WordOrRefused)];
            spec.at = vec![path(&["timestamp"])];
        }
        // Shopify, which can only refuse.
        _ => {
            spec.name = Name::exact("_tracking_consent");
            spec.choices = vec![words(&["con", "CMP", pick("m", "a")], "1", "0")];
        }
    }
    spec
}

fn path(keys: &[&str]) -> Path {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn pairs(between: &str, inside: &str) -> Format {
    Format::Pairs { between: between.to_owned(), inside: inside.to_owned() }
}

fn guard(at: &[&str], equals: &str) -> Guard {
    Guard { path: path(at), equals: equals.to_owned() }
}

fn also(name: &str, equals: &str) -> Also {
    Also { name: Name::exact(name), equals: equals.to_owned() }
}

/// A choice between `true` and `false`.
fn choice(paths: impl Into<Vec<Path>>, kind: Kind) -> Choice {
    Choice { paths: paths.into(), grants: vec!["true".to_owned()], denies: vec!["false".to_owned()], kind }
}

fn words(at: &[&str], grants: &str, denies: &str) -> Choice {
    Choice {
        grants: vec![grants.to_owned()],
        denies: vec![denies.to_owned()],
        ..choice([path(at)], Kind::Word)
    }
}

const fn facts(preset: Preset, label: &'static str, advertising: Keys, analytics: Keys) -> Facts {
    Facts {
        preset,
        label,
        name: None,
        prefix: None,
        advertising,
        analytics,
        versioned: false,
        refuse_only: false,
    }
}

const fn named(name: &'static str, facts: Facts) -> Facts {
    Facts { name: Some(name), ..facts }
}

/// Every preset, in the order of [`Preset`].
pub static PRESETS: [Facts; 21] = [
    facts(Preset::OneTrust, "onetrust", Usual(&["C0004"]), Usual(&["C0002"])),
    facts(Preset::Cookiebot, "cookiebot", Fixed, Fixed),
    facts(Preset::CookieYes, "cookieyes", Fixed, Fixed),
    facts(Preset::CookieYesLegacy, "cookieyes-legacy", Fixed, Fixed),
    Facts { prefix: Some("cmplz_"), versioned: true, ..facts(Preset::Complianz, "complianz", Fixed, Fixed) },
    Facts {
        versioned: true,
        ..named("cc_cookie", facts(Preset::CookieConsent, "cookieconsent", Required, Required))
    },
    named("klaro", facts(Preset::Klaro, "klaro", Required, Required)),
    named("tarteaucitron", facts(Preset::Tarteaucitron, "tarteaucitron", Required, Required)),
    facts(Preset::Axeptio, "axeptio", Required, Required),
    facts(Preset::CookieScript, "cookie-script", Fixed, Fixed),
    facts(Preset::CookieFirst, "cookiefirst", Fixed, Fixed),
    named("borlabs-cookie", facts(Preset::Borlabs, "borlabs", Usual(&["marketing"]), Usual(&["statistics"]))),
    facts(Preset::Iubenda, "iubenda", Fixed, Fixed),
    facts(Preset::TrustArc, "trustarc", Usual(&["2"]), Usual(&["1"])),
    facts(Preset::Tealium, "tealium", Required, Required),
    facts(Preset::ConsentManager, "consentmanager", Fixed, Fixed),
    facts(Preset::Didomi, "didomi", Usual(&[]), Usual(&[])),
    facts(Preset::CommandersAct, "commanders-act", Required, Required),
    named("zaraz-consent", facts(Preset::Zaraz, "zaraz", Required, Required)),
    Facts { refuse_only: true, ..facts(Preset::Shopify, "shopify", Fixed, Fixed) },
    Facts { refuse_only: true, ..facts(Preset::DrupalEu, "drupal-eu", Usual(&[]), Usual(&[])) },
];
