//! What the consent cookies of other banners say.
//!
//! [`Banners`] is compiled once from the configuration; [`Banners::read`] looks the configured names up among the
//! cookies that are already parsed, and decodes nothing if none is there. Never decides: it adds [`Signal`]s. Bounds:
//! [`jar::MAX_COOKIES`] cookies of [`text::VALUE_BYTES`] per request, each decoded at most twice.
//!
//! | file | job |
//! |---|---|
//! | [`jar`] | the consent cookies of a request |
//! | [`text`], `json`, [`document`] | a value decoded, taken apart |
//! | [`spec`] | the generic decoder |
//! | [`presets`] | the banners known by name; those that need code have a file each |
//! | [`mode`] | Google Consent Mode |
//! | [`reading`] | what one cookie says, and several together |

pub mod document;
pub mod jar;
pub mod mode;
pub mod presets;
pub mod reading;
pub mod spec;
pub mod text;

mod commanders;
mod cookiebot;
mod didomi;
mod drupal;
mod json;
mod onetrust;
mod tealium;
mod trustarc;

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, header};

use self::jar::{Jar, Name};
use self::presets::{Options, Preset, Purpose, Reader, reader};
use self::reading::{Reading, fold};
use self::spec::Spec;
use super::gpp;
use super::signal::{Signal, Signals, Source, Verdict};
use super::tcf::{self, Purposes};
use crate::cookies::catalogue::Catalogue;
use crate::cookies::parse::RequestCookies;

/// One cookie of the operator's own.
#[derive(Clone, Debug)]
pub struct Own {
    /// What it says about advertising.
    pub advertising: Spec,
    /// What it says about statistics, if it does.
    pub analytics: Option<Spec>,
}

/// Which sources are read besides our own record and the header signals.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Banners by name.
    pub presets: Vec<(Preset, Options)>,
    /// Entries of the operator, at most [`MAX_OWN`].
    pub own: Vec<Own>,
    /// Cookies with TC strings.
    pub tcf: Vec<Name>,
    /// The purposes that a TC string must consent to.
    pub purposes: Purposes,
    /// Whether `__gpp` is read.
    pub gpp: bool,
    /// Whether `us_privacy` is read.
    pub us_privacy: bool,
    /// Whether Consent Mode is read.
    pub consent_mode: bool,
    /// Whether statistics wait for consent, so that it matters what is said about them.
    pub analytics: bool,
}

/// The sources, ready to be read.
#[derive(Clone, Debug, Default)]
pub struct Banners {
    banners: Vec<Banner>,
    tcf: Vec<Name>,
    purposes: Purposes,
    gpp: bool,
    us_privacy: bool,
    consent_mode: bool,
    names: Vec<Name>,
    /// The first bytes of all names, one bit each: most cookies are passed over by this.
    begins: [u64; 4],
}

#[derive(Clone, Debug)]
struct Banner {
    source: Source,
    refuse_only: bool,
    advertising: Option<Reader>,
    analytics: Option<Reader>,
}

impl Banners {
    /// Compiles the sources.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        let (with_analytics, purposes) = (wanted.analytics, wanted.purposes);
        let own = wanted.own.into_iter().zip(OWN_LABELS).map(|(own, label)| Banner {
            source: Source::Vendor(label),
            refuse_only: false,
            advertising: Some(Reader::Spec(Box::new(own.advertising))),
            analytics: own.analytics.filter(|_| with_analytics).map(|spec| Reader::Spec(Box::new(spec))),
        });
        let presets = wanted.presets.iter().map(|(preset, options)| Banner {
            source: Source::Vendor(preset.facts().label),
            refuse_only: preset.facts().refuse_only,
            advertising: reader(*preset, options, Purpose::Advertising, purposes),
            analytics: with_analytics
                .then(|| reader(*preset, options, Purpose::Analytics, purposes))
                .flatten(),
        });
        let banners: Vec<Banner> = presets.chain(own).collect();
        let readers = banners.iter().flat_map(|banner| banner.advertising.iter().chain(&banner.analytics));
        let mut names: Vec<Name> = readers.flat_map(Reader::names).collect();
        names.extend(wanted.tcf.iter().cloned());
        names.extend(wanted.gpp.then(|| Name::exact(GPP)));
        names.extend(US_PRIVACY.into_iter().filter(|_| wanted.us_privacy).map(Name::exact));
        let mut begins = [0; 4];
        for name in &names {
            let (Name::Exact(text) | Name::Prefix(text) | Name::Numbered(text)) = name;
            if let Some(first) = text.bytes().next() {
                begins[usize::from(first >> 6)] |= 1_u64 << (first & 63);
            }
        }
        Self {
            banners,
            tcf: wanted.tcf,
            purposes,
            gpp: wanted.gpp,
            us_privacy: wanted.us_privacy,
            consent_mode: wanted.consent_mode,
            names,
            begins,
        }
    }

    /// Every cookie that is looked at: none of them may be stripped.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Reads a request: its cookies, and its raw query.
    #[inline]
    pub fn read(&self, cookies: &RequestCookies<'_>, query: Option<&str>, signals: &mut Signals) {
        if self.consent_mode
            && let Some(query) = query
        {
            read_mode(query, signals);
        }
        if !self.names.is_empty() {
            let jar = self.collect(cookies);
            if !jar.is_empty() {
                self.read_jar(&jar, signals);
            }
        }
    }

    /// Reads the cookies of a request whose other cookies do not matter any more.
    pub fn read_again(&self, headers: &HeaderMap, signals: &mut Signals) {
        if !self.names.is_empty() {
            // Only names and values are looked at, so it does not matter which rules there are.
            static RULES: LazyLock<Catalogue> = LazyLock::new(Catalogue::builtin);
            let fields = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
            self.read(&RequestCookies::parse(fields, &RULES), None, signals);
        }
    }

    fn collect<'a>(&self, cookies: &RequestCookies<'a>) -> Jar<'a> {
        let mut jar = Jar::default();
        for cookie in cookies {
            let begins = |first: &u8| self.begins[usize::from(*first >> 6)] >> (*first & 63) & 1 == 1;
            let name = cookie.name();
            if name.first().is_some_and(begins) && self.names.iter().any(|known| known.matches(name)) {
                jar.push(name, cookie.value());
            }
        }
        jar
    }

    /// Reads the consent cookies of a request.
    #[cold]
    pub fn read_jar(&self, jar: &Jar<'_>, signals: &mut Signals) {
        if jar.overflowed() {
            signals.overflow();
        }
        for banner in &self.banners {
            let read = |reader: &Option<Reader>| {
                let reading = reader.as_ref()?.read(jar)?;
                (!banner.refuse_only || reading.verdict == Verdict::Denied)
                    .then(|| signal(banner.source, reading))
            };
            if let Some(signal) = read(&banner.advertising) {
                signals.push(signal);
            }
            if let Some(signal) = read(&banner.analytics) {
                signals.push_analytics(signal);
            }
        }
        self.read_frameworks(jar, signals);
    }

    fn read_frameworks(&self, jar: &Jar<'_>, signals: &mut Signals) {
        let values = self.tcf.iter().flat_map(|name| jar.copies(name));
        if let Some(reading) = fold(values.map(|value| tcf::read(value, self.purposes))) {
            signals.push(signal(Source::Tcf, reading));
        }
        if self.gpp {
            let name = Name::exact(GPP);
            let read: Vec<gpp::Gpp> =
                jar.copies(&name).map(|value| gpp::read(value, self.purposes)).collect();
            if let Some(reading) = fold(read.iter().filter_map(|gpp| gpp.tcf)) {
                signals.push(signal(Source::Tcf, reading));
            }
            if read.iter().any(|gpp| gpp.opted_out) {
                signals.push(Signal::denied(Source::Gpp));
            } else if read.iter().any(|gpp| gpp.unreadable) {
                signals.push(signal(Source::Gpp, Reading::UNKNOWN));
            }
        }
        if self.us_privacy {
            let names = US_PRIVACY.map(Name::exact);
            let said = || names.iter().flat_map(|name| jar.copies(name)).map(gpp::read_us_privacy);
            if said().any(|denies| denies == Some(true)) {
                signals.push(Signal::denied(Source::UsPrivacy));
            } else if said().any(|denies| denies.is_none()) {
                signals.push(signal(Source::UsPrivacy, Reading::UNKNOWN));
            }
        }
    }
}

fn read_mode(query: &str, signals: &mut Signals) {
    let refused = mode::read(query);
    if refused.advertising {
        signals.push(Signal::denied(Source::ConsentMode));
    }
    if refused.analytics {
        signals.push_analytics(Signal::denied(Source::ConsentMode));
    }
}

/// A default, or what cannot be read, is no explicit statement.
fn signal(source: Source, reading: Reading) -> Signal {
    Signal {
        decision: reading.verdict,
        explicit: reading.verdict != Verdict::Unknown,
        at: reading.at,
        policy_version: None,
        source,
        by_tcf: reading.by_tcf,
    }
}

/// Most entries of the operator.
pub const MAX_OWN: usize = OWN_LABELS.len();
/// The name of each of the operator's entries, in their order.
pub const OWN_LABELS: [&str; 8] =
    ["cookie-1", "cookie-2", "cookie-3", "cookie-4", "cookie-5", "cookie-6", "cookie-7", "cookie-8"];
/// Cookies with TC strings unless the operator says otherwise; a name that ends in `*` is a prefix.
pub const TCF_COOKIES: [&str; 6] =
    ["euconsent-v2", "eupubconsent-v2", "__cmpconsent*", "ez-consent-tcf", "dm-euconsent-v2", "snconsent"];
const GPP: &str = "__gpp";
const US_PRIVACY: [&str; 2] = ["us_privacy", "usprivacy"];

#[cfg(test)]
#[path = "preset_tests.rs"]
mod preset_tests;
#[cfg(test)]
#[path = "spec_tests.rs"]
mod spec_tests;
#[cfg(test)]
#[path = "banner_tests.rs"]
mod tests;
