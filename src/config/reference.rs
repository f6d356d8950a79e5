//! The table of configuration keys: the one place that knows their names, kinds, bounds and defaults.
//!
//! From [`KEYS`] come the type checks, the defaults, the suggestions for unknown keys, the names of environment
//! variables and the printed reference. Never reads a value. Bound: the table.

use std::fmt::Write;
use std::time::Duration;

use super::fixed;
use super::syntax::{show_duration, show_size};
use crate::ingress::names::CLIENT_ADDRESS;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Path from the root; `[]` marks an array of tables, as in `listen[].tls.certificate`.
    pub path: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// What holds when nothing stands there.
    pub fallback: Fallback,
    /// What it is for.
    pub doc: &'static str,
}

/// What holds when a key is absent.
#[derive(Debug)]
pub enum Fallback {
    /// The configuration (or the table around the key) is incomplete.
    Required,
    /// No value; the text says what that means.
    Unset(&'static str),
    /// This value, written as TOML.
    Value(&'static str),
}

/// What may stand at a key.
#[derive(Debug)]
pub enum Kind {
    /// A duration such as `"15s"`, within bounds.
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Whole days such as `"30d"`, from 1 to the number given.
    Days(u64),
    /// A size such as `"64KiB"`, or an integer in bytes, within bounds.
    Size {
        /// Smallest, in bytes.
        min: u64,
        /// Largest, in bytes.
        max: u64,
    },
    /// An integer within bounds.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// `true` or `false`.
    Bool,
    /// A TOML date, or a string with one.
    Date,
    /// One of some words.
    Word {
        /// The words that are understood.
        members: &'static [&'static str],
        /// Words that will be understood in a later version: refused with that message.
        later: &'static [&'static str],
    },
    /// Address and port, or one of the words.
    Socket(&'static [&'static str]),
    /// Address and port, or `unix:/path`.
    Listen,
    /// Permissions of a file, in octal digits.
    Mode,
    /// A readable file, or one of the words. Relative to the folder of the configuration file.
    File {
        /// Words instead of a path.
        words: &'static [&'static str],
        /// Whether its text (UTF-8, at most 1 MiB) becomes part of the configuration.
        text: bool,
    },
    /// A file that will be made if needed, or one of the words. Relative to the folder of the configuration file.
    Output(&'static [&'static str]),
    /// A folder that will be made if needed. Relative to the folder of the configuration file.
    Folder,
    /// A host name or address.
    Host,
    /// `http://host[:port]`, `https://host[:port]` or `unix:/path`.
    Upstream,
    /// A path to ask for, which begins with `/` and may have a query.
    Target,
    /// A status such as `200`, or several: `2xx`, `200-399`.
    Statuses,
    /// `10.0.0.0/8` or one address.
    Network,
    /// A path prefix that begins with `/`.
    Prefix,
    /// A template of paths, with braces around what varies.
    Route,
    /// A path prefix with a slash at both ends.
    OwnPrefix,
    /// 1-32 letters, digits and the extra bytes given.
    Id(&'static [u8]),
    /// Any text of 1-128 characters.
    Text,
    /// A list.
    List {
        /// The kind of its elements.
        of: &'static Kind,
        /// Whether it must have an element.
        filled: bool,
    },
    /// A key that a later version will understand.
    Later,
}

impl Key {
    /// The environment variable that overrides this key; `None` inside arrays of tables.
    #[must_use]
    pub fn environment(&self) -> Option<String> {
        let single = !self.path.contains("[]") && !matches!(self.kind, Kind::Later);
        // A shell cannot set a variable with a hyphen.
        let name = || self.path.to_ascii_uppercase().replace('.', "__").replace('-', "_");
        single.then(|| format!("{ENVIRONMENT_PREFIX}{}", name()))
    }
}

impl Kind {
    /// What is expected, as it stands in messages and in the reference.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Duration { min, max } => {
                format!("a duration from {} to {}", show_duration(*min), show_duration(*max))
            }
            Self::Days(max) => format!("whole days from 1d to {max}d"),
            Self::Size { min, max } => format!("a size from {} to {}", show_size(*min), show_size(*max)),
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Bool => "true or false".into(),
            Self::Date => "a date such as 2026-11-22".into(),
            Self::Word { members, .. } => format!("one of {}", quoted(members)),
            Self::Socket(words) => either("an address with port", words),
            Self::Listen => "an address with port, or unix:/path".into(),
            Self::Mode => "permissions such as \"0660\"".into(),
            Self::File { words, .. } => either("the path of a file", words),
            Self::Output(words) => either("the path of a file to write", words),
            Self::Folder => "the path of a folder".into(),
            Self::Host => "a host name".into(),
            Self::Upstream => "a URL http://host[:port] or https://host[:port], or unix:/path".into(),
            Self::Target => "a path that begins with /".into(),
            Self::Statuses => "a status, or several: \"200\", \"2xx\", \"200-399\"".into(),
            Self::Network => "a network such as 10.0.0.0/8".into(),
            Self::Prefix => "a path prefix such as \"/register\"".into(),
            Self::Route => "a template of paths such as \"/user/{id}\"".into(),
            Self::OwnPrefix => "a path prefix with slashes at both ends".into(),
            Self::Id(_) => "an id of 1 to 32 characters".into(),
            Self::Text => "a text".into(),
            Self::List { of, .. } => format!("a list; each: {}", of.describe()),
            Self::Later => "not supported yet".into(),
        }
    }
}

/// The key at a path such as `limits.head_bytes` or `listen[].address`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Every key with kind, unit, bounds, default and environment variable, as text for a person.
#[must_use]
pub fn render() -> String {
    let mut out = String::from(HEAD);
    for key in KEYS {
        let fallback = match &key.fallback {
            Required => "required".to_owned(),
            Unset(meaning) => format!("default: {meaning}"),
            Value(value) => format!("default: {value}"),
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "\n{}\n    {}", key.path, key.kind.describe());
        let _ = match key.kind {
            Kind::Later => writeln!(out),
            _ if fixed::is_fixed(key.path) => writeln!(out, "; {fallback}; needs a new process"),
            _ => writeln!(out, "; {fallback}"),
        };
        if let Some(variable) = key.environment() {
            let _ = writeln!(out, "    {variable}");
        }
        let _ = writeln!(out, "    {}", key.doc);
    }
    out
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", ")
}

fn either(what: &str, words: &[&str]) -> String {
    if words.is_empty() { what.to_owned() } else { format!("{what}, or {}", quoted(words)) }
}

/// What environment variables that override keys begin with.
pub const ENVIRONMENT_PREFIX: &str = "KELISIM_";

const HEAD: &str = "\
Keys of kelisim.toml. `a[].b` stands in [[a]]. Durations: \"200ms\", \"15s\", \"10m\", \"1h\", \"30d\".
Sizes: bytes, or \"64KiB\", \"100MiB\". Relative paths start at the folder of the file.
The variable below a key overrides it; a list is then written with commas.
HUP takes over every change but that of keys that need a new process.
";

const fn key(path: &'static str, kind: Kind, fallback: Fallback, doc: &'static str) -> Key {
    Key { path, kind, fallback, doc }
}

const fn later(path: &'static str, doc: &'static str) -> Key {
    Key { path, kind: Kind::Later, fallback: Unset("off"), doc }
}

const fn duration(min_ms: u64, max_secs: u64) -> Kind {
    Kind::Duration { min: Duration::from_millis(min_ms), max: Duration::from_secs(max_secs) }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn word(members: &'static [&'static str]) -> Kind {
    Kind::Word { members, later: &[] }
}

/// Purposes that open a sealed class.
const SEALED: Kind = word(&["security", "fraud", "diagnostics", "advertising"]);

const fn list(of: &'static Kind) -> Kind {
    Kind::List { of, filled: false }
}

const fn filled(of: &'static Kind) -> Kind {
    Kind::List { of, filled: true }
}

const fn file(words: &'static [&'static str], text: bool) -> Kind {
    Kind::File { words, text }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Categories with a choice behind them may wait for consent; the others may not.
const CHOICE: Kind = word(&["allow", "consent", "strip"]);
const NO_CHOICE: Kind = word(&["allow", "strip"]);
const RISK_ACTION: Kind = word(&["observe", "tag", "throttle", "deny"]);
const RISK_CAP: Kind = word(&["low", "medium"]);
const GEO_HEADER: Kind = word(&["country", "network"]);
const LANGUAGE: Kind = word(&["kk", "ru", "en"]);
const SIGNAL: Kind = word(&["country-hop", "session-spread", "velocity", "new-country", "new-network"]);
const SOURCE: Kind = word(&[
    "own",
    "gpc",
    "dnt",
    "tcf",
    "gpp",
    "us-privacy",
    "consent-mode",
    "onetrust",
    "cookiebot",
    "cookieyes",
    "cookieyes-legacy",
    "complianz",
    "cookieconsent",
    "klaro",
    "tarteaucitron",
    "axeptio",
    "cookie-script",
    "cookiefirst",
    "borlabs",
    "iubenda",
    "trustarc",
    "tealium",
    "consentmanager",
    "didomi",
    "commanders-act",
    "zaraz",
    "shopify",
    "drupal-eu",
]);
const PRESET: Kind = word(&[
    "onetrust",
    "cookiebot",
    "cookieyes",
    "cookieyes-legacy",
    "complianz",
    "cookieconsent",
    "klaro",
    "tarteaucitron",
    "axeptio",
    "cookie-script",
    "cookiefirst",
    "borlabs",
    "iubenda",
    "trustarc",
    "tealium",
    "consentmanager",
    "didomi",
    "commanders-act",
    "zaraz",
    "shopify",
    "drupal-eu",
]);

const CLIENT_ADDRESS_FROM: Kind = word(&[
    "x-forwarded-for",
    "forwarded",
    "akamai-client-ip",
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "do-connecting-ip",
    "eo-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "incap-client-ip",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-nf-client-connection-ip",
    "x-real-ip",
    "x-sucuri-clientip",
]);

use Fallback::{Required, Unset, Value};

/// Every key, in the order of the reference.
#[rustfmt::skip] // one key per entry reads as the table it is
pub static KEYS: &[Key] = &[
    key("workers", integer(0, 1024), Value("0"), "Runtime threads; 0 means one per core."),

    key("listen[].address", Kind::Listen, Required,
        "Address and port that accept traffic, or the path of a Unix socket, whose peers count as 127.0.0.1."),
    key("listen[].mode", Kind::Mode, Value("\"0660\""), "Permissions of the Unix socket: who may write to it may connect."),
    key("listen[].tls.certificate", file(&[], false), Required,
        "PEM file with the certificate chain, leaf first; read again when it changes."),
    key("listen[].tls.key", file(&[], false), Required, "PEM file with the private key."),
    key("listen[].proxy_protocol", Kind::Bool, Value("false"),
        "Whether every connection must begin with a PROXY header (version 1 or 2), before TLS."),
    key("listen[].proxy_protocol_from", list(&Kind::Network), Value("[]"),
        "Networks of the load balancers that may connect then; empty: everybody, who may then claim any address."),

    key("site[].hosts", filled(&Kind::Host), Required,
        "Host names served, lower case, without port; each belongs to one site."),
    key("site[].upstream", filled(&Kind::Upstream), Required,
        "The site's own servers: cleartext, TLS, or cleartext through a Unix socket."),
    key("site[].upstream_protocol", word(&["http/1.1", "h2"]), Value("\"http/1.1\""),
        "What is spoken with all servers of the site; `h2` is by prior knowledge, with TLS by ALPN, and has no WebSockets."),
    key("site[].upstream_tls.ca", file(&[], false), Unset("the certificates that the system trusts"),
        "PEM file with the certificates that a server's must come from; read at start and at each reload."),
    key("site[].upstream_tls.server_name", Kind::Host, Unset("the host in the URL"),
        "Name that is asked for (SNI) and that the server's certificate must be valid for."),
    key("site[].upstream_tls.certificate", file(&[], false), Unset("none"),
        "PEM file with the certificate chain that the gateway shows to the servers (mTLS); needs `key`."),
    key("site[].upstream_tls.key", file(&[], false), Unset("none"), "PEM file with the private key of `certificate`."),
    key("site[].upstream_tls.verify", Kind::Bool, Value("true"),
        "Whether the servers' certificates are verified; `false` lets anybody in between read and change everything."),
    key("site[].balance", word(&["round_robin", "least"]), Value("\"round_robin\""),
        "How a server is picked: in turn, or the one with the fewest requests in flight."),
    key("site[].trusted_proxies", list(&Kind::Network), Value("[]"),
        "Networks whose word about the client is believed; empty: nobody's."),
    key("site[].client_address_from", CLIENT_ADDRESS_FROM, Value("\"x-forwarded-for\""),
        "The one field in which trusted proxies name the client: a list, or a CDN's field with one address."),
    key("site[].client_address_to", word(CLIENT_ADDRESS), Unset("none"),
        "A field that gets the client's address on every request, besides X-Forwarded-For and Forwarded."),
    key("site[].prefix", Kind::OwnPrefix, Value("\"/.kelisim/\""),
        "Path of the gateway's own pages; the site never sees requests below it."),
    key("site[].body_bytes", size(0, TIB), Unset("limits.body_bytes"),
        "Largest request body of this site; a larger one gets 413."),
    key("site[].routes", list(&Kind::Route), Value("[]"),
        "Templates of paths such as /user/{id} or /files/{rest*}: what the braces match is not recorded; the template is http.route."),
    key("site[].rate_limit.requests", integer(1, 1_000_000), Required,
        "Requests that one client may make in the time of `per`; beyond that 429. A client is an IPv4 address or an IPv6 /64."),
    key("site[].rate_limit.per", duration(1000, DAY), Value("\"1s\""), "The time for that many requests."),
    key("site[].rate_limit.burst", integer(1, 1_000_000), Unset("the value of requests"),
        "Requests that one client may make at once before the rate holds."),
    key("site[].health.path", Kind::Target, Required,
        "Path that every server is asked for with GET, as the first of `hosts`; once for the process, not for each thread."),
    key("site[].health.interval", duration(10, HOUR), Value("\"5s\""), "From the beginning of a check to the next."),
    key("site[].health.timeout", duration(10, 600), Value("\"2s\""), "For a whole check; not above the interval."),
    key("site[].health.healthy", integer(1, 100), Value("2"), "Good answers in a row after which a server is up again."),
    key("site[].health.unhealthy", integer(1, 100), Value("3"), "Failed checks in a row after which a server is down."),
    key("site[].health.statuses", filled(&Kind::Statuses), Value("[\"200-399\"]"), "Statuses of a good answer."),
    key("site[].policy.versions[].id", Kind::Id(b"-"), Required,
        "Version of the published policy; its languages share one id."),
    key("site[].policy.versions[].file", file(&[], true), Required, "Markdown text of the document."),
    key("site[].policy.versions[].language", LANGUAGE, Required, "Language of the document."),
    key("site[].policy.versions[].effective", Kind::Date, Required,
        "Day on which the version comes into force, at midnight UTC; the same for all its languages."),
    key("site[].policy.versions[].reconsent", Kind::Bool, Value("true"),
        "Whether choices made for earlier versions end when this one comes into force; `false` for a change of wording."),
    key("site[].policy.gate", list(&Kind::Prefix), Value("[]"),
        "Path prefixes that need acceptance of the version in force."),
    key("site[].policy.default_language", LANGUAGE, Unset("language of the first document"),
        "Language served when the visitor's is not there."),
    key("site[].controller.name", Kind::Text, Required, "Who is responsible for the site, as receipts of choices name them."),
    key("site[].controller.contact", Kind::Text, Required, "Where to write to."),
    key("site[].controller.jurisdiction", word(&["ru", "kz", "eu"]), Unset("none"),
        "Law under which the site works, as receipts name it."),
    key("site[].notice[].id", Kind::Id(b"-"), Required, "Id of something that visitors are told."),
    key("site[].notice[].text.kk", Kind::Text, Unset("none"), "Its text in Kazakh; at least one language."),
    key("site[].notice[].text.ru", Kind::Text, Unset("none"), "Its text in Russian."),
    key("site[].notice[].text.en", Kind::Text, Unset("none"), "Its text in English."),
    key("site[].notice[].from", Kind::Date, Unset("at once"), "First day on which it is shown, from midnight UTC."),
    key("site[].notice[].until", Kind::Date, Unset("for good"), "First day on which it is no longer shown."),

    key("cookies.mode", word(&["enforce", "dry-run"]), Value("\"enforce\""),
        "`dry-run` decides, counts and reports, and leaves the traffic as it is."),
    key("cookies.rules", file(&[], true), Unset("none"), "The site's own additions to the built-in catalogue; deploy/cookies.toml shows every field of a rule."),
    key("cookies.actions.necessary", NO_CHOICE, Value("\"allow\""), "Cookies without which the site does not work."),
    key("cookies.actions.security", NO_CHOICE, Value("\"allow\""), "Cookies that protect the visitor or the site."),
    key("cookies.actions.functional", CHOICE, Value("\"allow\""), "Cookies that remember a preference."),
    key("cookies.actions.analytics", CHOICE, Value("\"allow\""), "Cookies that count and measure."),
    key("cookies.actions.advertising", CHOICE, Value("\"consent\""), "Cookies for advertising."),
    key("cookies.actions.unknown", NO_CHOICE, Value("\"allow\""), "Cookies that no rule knows."),

    key("consent.sources", filled(&SOURCE), Value("[\"own\", \"gpc\", \"dnt\"]"), "Where consent is read from."),
    key("consent.max_age", duration(DAY * 1000, 400 * DAY), Value("\"365d\""),
        "How long a choice is valid; browsers keep no cookie above 400 days. A TC string is valid for 13 months, or for this time where it is below the default."),
    key("consent.gpc_over_own_grant", Kind::Bool, Value("false"),
        "Whether `Sec-GPC: 1` or `DNT: 1` beats a grant given on this very site."),
    key("consent.proof_term", Kind::Days(3650), Value("\"1095d\""),
        "How long address and user agent in the receipts of choices can be opened; read at the start."),
    key("consent.preset[].source", PRESET, Unset("none; each table needs it"),
        "The banner in `consent.sources` that the table is about."),
    key("consent.preset[].name", Kind::Text, Unset("the banner's usual name"),
        "Name of its cookie, where the site can choose it."),
    key("consent.preset[].prefix", Kind::Text, Unset("the banner's usual prefix"),
        "What the names of its cookies begin with, where the site can choose it."),
    key("consent.preset[].advertising", list(&Kind::Text), Value("[]"),
        "What the site calls advertising there: categories, services, vendors or purposes, all of which must grant."),
    key("consent.preset[].analytics", list(&Kind::Text), Value("[]"),
        "The same for statistics; matters where cookies.actions.analytics is `consent`."),
    key("consent.preset[].expect_version", Kind::Text, Unset("any"),
        "Version of the banner's text for which a choice counts."),
    key("consent.tcf_cookies", filled(&Kind::Text),
        Value("[\"euconsent-v2\", \"eupubconsent-v2\", \"__cmpconsent*\", \"ez-consent-tcf\", \"dm-euconsent-v2\", \"snconsent\"]"),
        "Cookies with TC strings, for source `tcf`; a name that ends in * is a prefix."),
    key("consent.tcf_purposes", filled(&integer(1, 24)), Value("[1, 2, 3, 4, 7]"),
        "Purposes that a TC string must consent to; purpose 1 always."),
    key("consent.cookie[].name", Kind::Text, Unset("none; or `prefix`"),
        "A consent cookie of the site's own, always read. At most 8 entries."),
    key("consent.cookie[].prefix", Kind::Text, Unset("none; or `name`"), "What its name begins with."),
    key("consent.cookie[].format", word(&["json", "form", "kv", "tcf", "list", "flag"]), Value("\"json\""),
        "How its value is written."),
    key("consent.cookie[].separators", list(&Kind::Text), Unset("comma, and for kv colon"),
        "kv: between pairs and inside a pair; list: between members."),
    key("consent.cookie[].path", Kind::Text, Unset("none; flag and tcf need none"),
        "Key, dotted path (json) or list member that speaks of advertising."),
    key("consent.cookie[].analytics_path", Kind::Text, Unset("none"), "The same for statistics."),
    key("consent.cookie[].grants", filled(&Kind::Text), Value("[\"true\"]"), "Words that grant."),
    key("consent.cookie[].denies", list(&Kind::Text), Value("[\"false\"]"),
        "Words that deny; any other word is no choice."),
    key("consent.cookie[].also[].cookie", Kind::Text, Unset("none; each entry needs it"),
        "Another cookie without which nothing was chosen yet."),
    key("consent.cookie[].also[].equals", Kind::Text, Unset("none; each entry needs it"), "What it must hold."),
    key("consent.cookie[].at", Kind::Text, Unset("none; as fresh as the cookie"),
        "Key or path of the time of the choice: ISO 8601, seconds or milliseconds since 1970."),
    key("consent.cookie[].version", Kind::Text, Unset("none"), "Key or path of the version of the banner's text."),
    key("consent.cookie[].expect_version", Kind::Text, Unset("none"), "Version for which a choice counts."),

    key("geoip.country", file(&["shipped", "off"], false), Value("\"shipped\""),
        "Country database (MMDB); `shipped` is the one inside the program, `off` switches location off."),
    key("geoip.asn", file(&[], false), Unset("none"), "ASN database (MMDB)."),
    key("geoip.check_every", duration(1000, DAY), Value("\"1m\""), "How often the files are looked at for a change."),
    key("geoip.headers", list(&GEO_HEADER), Value("[]"),
        "What the site is told of where visitors are, in kelisim-country (KZ) and kelisim-network (isp, hosting, unknown)."),
    key("geoip.headers_purpose", Kind::Text, Unset("none; `headers` is then refused"),
        "What the site needs it for, in the words of the privacy policy; logged at each start."),
    key("geoip.headers_as", word(&["cloudflare"]), Unset("none"),
        "Writes the country as another product does, too: `CF-IPCountry`, with XX where it is not known."),
    later("geoip.city", "City database."),

    key("risk.action.low", RISK_ACTION, Value("\"observe\""), "What is done at level low."),
    key("risk.action.medium", RISK_ACTION, Value("\"observe\""), "What is done at level medium."),
    key("risk.action.high", RISK_ACTION, Value("\"observe\""), "What is done at level high."),
    key("risk.off", list(&SIGNAL), Value("[]"), "Signals that are switched off."),
    key("risk.cap.country-hop", RISK_CAP, Unset("none"), "Highest level of that signal; what is capped is never high by itself."),
    key("risk.cap.session-spread", RISK_CAP, Unset("none"), "Highest level of that signal."),
    key("risk.cap.velocity", RISK_CAP, Unset("none"), "Highest level of that signal."),
    key("risk.cap.new-country", RISK_CAP, Unset("none"), "Highest level of that signal."),
    key("risk.cap.new-network", RISK_CAP, Unset("none"), "Highest level of that signal."),
    key("risk.observe_days", integer(1, 365), Unset("none; `deny` is then refused"),
        "Days during which `deny` only counts what it would have done."),
    key("risk.login_paths", list(&Kind::Prefix), Value("[]"), "Path prefixes of login forms; a POST there is an attempt."),
    key("risk.failed_login_statuses", filled(&Kind::Statuses), Value("[\"401\", \"403\"]"),
        "What the site answers to a failed login, also \"200\" or \"302\" where it answers otherwise to one that succeeds."),
    key("risk.shared_networks", list(&Kind::Network), Value("[]"),
        "Networks whose addresses many visitors share, such as carrier-grade NAT or relays: their addresses are not counted, only logins by address and user agent."),
    key("risk.shared_asns", list(&integer(1, u32::MAX as u64)), Value("[]"),
        "The same by the number of the autonomous system; needs geoip.asn."),
    key("risk.visitor_cookie", Kind::Bool, Value("true"),
        "Whether browsers get the cookie `kelisim_vid`, by which signals tell one from another. Never in dry-run."),
    key("risk.memory_bytes", size(MIB, 16 * GIB), Value("\"32MiB\""), "Memory for subjects and counters."),

    key("records.dir", Kind::Folder, Value("\"/var/lib/kelisim/records\""), "Data folder: journal, keys, audit log."),
    key("records.keys_dir", Kind::Folder, Unset("`keys` in records.dir"),
        "Folder of the keys that seal records; keep it out of backups of the data."),
    key("records.durability", word(&["memory", "group", "fsync"]), Value("\"group\""),
        "What the end of a response waits for: nothing, the write, or the fsync."),
    key("records.group_commit", duration(1, 60), Value("\"200ms\""), "Longest time between two fsyncs at level group."),
    key("records.file_bytes", size(MIB, 4 * GIB), Value("\"64MiB\""), "Size of one journal file."),
    key("records.ring_bytes", size(64 * KIB, GIB), Value("\"4MiB\""), "Buffer between each thread and the writer."),
    key("records.hold", duration(0, 10), Value("\"50ms\""),
        "How long a response waits when buffer or disk is full, before its record is shed and counted."),
    key("records.max_bytes", size(2 * MIB, 1024 * TIB), Value("\"16GiB\""),
        "Size of journal and segments together; beyond it the oldest that is not held goes, and the gap is recorded. At least eight files."),
    key("records.segments", Kind::Bool, Value("true"),
        "Closed journal files become Parquet segments, which DuckDB, Polars and PyArrow read."),
    key("records.segment_minutes", integer(1, 1440), Value("15"),
        "Minutes after which a journal file becomes a segment although it is not full."),
    key("records.retention.support", Kind::Days(3650), Value("\"90d\""),
        "Facts without a person, and the record itself; kept as long as anything sealed in it."),
    key("records.retention.security", Kind::Days(3650), Value("\"30d\""), "Addresses and identifiers."),
    key("records.retention.fraud", Kind::Days(3650), Value("\"30d\""), "Location and risk; not above security."),
    key("records.retention.diagnostics", Kind::Days(3650), Value("\"7d\""), "Technical detail; not above security."),
    key("records.retention.advertising", Kind::Days(3650), Value("\"30d\""), "Campaign data; not above security."),
    key("records.minimum.support", Kind::Days(3650), Unset("no minimum"),
        "Days that a law demands; wins over records.retention. The same for each purpose."),
    key("records.minimum.security", Kind::Days(3650), Unset("no minimum"), "Addresses and identifiers."),
    key("records.minimum.fraud", Kind::Days(3650), Unset("no minimum"), "Location and risk; not above security."),
    key("records.minimum.diagnostics", Kind::Days(3650), Unset("no minimum"), "Technical detail; not above security."),
    key("records.minimum.advertising", Kind::Days(3650), Unset("no minimum"), "Campaign data; not above security."),
    key("records.legal_hold[].name", Kind::Text, Required,
        "A case or request: records of these days are not destroyed until the hold is taken out."),
    key("records.legal_hold[].from", Kind::Date, Required, "First day, UTC."),
    key("records.legal_hold[].until", Kind::Date, Required, "Last day, UTC."),
    key("records.legal_hold[].classes",
        list(&SEALED), Value("[]"),
        "Which sealed fields; empty for all. Facts without a person are held in any case."),
    key("records.query_values", list(&Kind::Text), Value("[]"), "Query keys whose values may be recorded."),
    key("records.cookie_values", list(&Kind::Text), Value("[]"),
        "Cookies whose values are recorded, sealed with class security, where they went to the site; none that log in, and none of advertising."),
    key("records.record_before_forward", list(&Kind::Prefix), Value("[]"),
        "Path prefixes whose requests are recorded durably before the site sees them."),
    key("records.account_header", Kind::Id(b"-"), Unset("none"),
        "Field of the site's answers that names the account; it goes into the records as a keyed hash only."),
    key("records.node", Kind::Id(b"._-"), Value("\"kelisim\""), "Name of this node; set it when there are several."),
    key("records.user_agent_data", file(&[], false), Unset("the built-in table"),
        "Rules for browsers and systems: regexes.yaml of uap-core. Taken anew when it changes."),
    key("records.bot_data", file(&[], false), Unset("the built-in table"),
        "Rules for crawlers: crawler-user-agents.json. Taken anew when it changes."),

    key("limits.head_bytes", size(KIB, MIB), Value("\"64KiB\""), "Request head; beyond it 431."),
    key("limits.head_fields", integer(16, 1000), Value("200"), "Fields of a request head; beyond it 431."),
    key("limits.uri_bytes", size(256, MIB), Value("\"16KiB\""), "Request target; beyond it 414."),
    key("limits.body_bytes", size(0, TIB), Value("\"100MiB\""), "Request body; beyond it 413."),
    key("limits.linger_bytes", size(0, GIB), Value("\"256KiB\""),
        "Read and thrown away after an answer that came before the end of the request; then the connection is cut; an HTTP/2 stream is not read on and reset after timeouts.linger."),
    key("limits.linger_connections", integer(0, 1_000_000), Value("256"),
        "Connections and HTTP/2 streams per thread that are read on so; further ones end at once, and their client may miss the answer."),
    key("limits.min_body_rate", size(0, GIB), Value("0"),
        "Bytes that an upload must bring for each second that it is waited for, beyond the first timeouts.request_body; else 408. 0: any."),
    key("limits.rate_memory_bytes", size(64 * KIB, 16 * GIB), Value("\"4MiB\""),
        "Memory for site[].rate_limit: 16 bytes for each client that is not at rest."),
    key("limits.connections", integer(1, 10_000_000), Value("20000"), "Connections over all threads; then accepting stops."),
    key("limits.connections_per_client", integer(1, 10_000_000), Value("256"),
        "Connections of one peer address (/64 for IPv6); then new ones are closed."),
    key("limits.requests_per_connection", integer(1, u32::MAX as u64), Value("10000"),
        "Requests on one connection; then it is closed. On HTTP/2 those on their way are answered, limits.h2_streams at most."),
    key("limits.h2_streams", integer(1, 10_000), Value("100"), "Concurrent streams of an HTTP/2 connection."),
    key("limits.h2_stream_window", size(16 * KIB, GIB), Value("\"256KiB\""), "Window of an HTTP/2 stream."),
    key("limits.h2_connection_window", size(64 * KIB, GIB), Value("\"1MiB\""), "Window of an HTTP/2 connection."),
    key("limits.upstream_connections", integer(1, 65_535), Value("64"), "Connections per server and thread."),
    key("limits.upstream_connections_per_client", integer(1, 65_535), Unset("half of limits.upstream_connections, rounded up"),
        "Of these, for the requests of one client (IPv4 address or IPv6 /64); with HTTP/2 the streams of so many. More wait for them, then 429. The same number as above: no such limit."),
    key("limits.upstream_queue", integer(0, 65_535), Value("256"), "Requests waiting per server and thread, and for each client's share; then 503, or 429."),
    key("limits.upstream_head_bytes", size(KIB, MIB), Value("\"64KiB\""), "Head of a server's answer; beyond it 502."),
    key("limits.upstream_head_fields", integer(16, 1000), Value("200"),
        "Fields of the head of a server's answer; beyond it 502. With HTTP/2 only the bytes are counted, and 32 more for each field."),

    key("timeouts.tls_handshake", duration(100, HOUR), Value("\"10s\""), "TLS handshake."),
    key("timeouts.request_head", duration(100, HOUR), Value("\"15s\""), "From accept to the end of the head."),
    key("timeouts.request_body", duration(100, HOUR), Value("\"30s\""), "Between two reads of a request body; then 408."),
    key("timeouts.response_write", duration(100, HOUR), Value("\"1m\""), "Between two writes of a response."),
    key("timeouts.keep_alive", duration(100, DAY), Value("\"1m\""), "Idle connection."),
    key("timeouts.linger", duration(1, 60), Value("\"2s\""), "Reading and throwing away after such an answer."),
    key("timeouts.upstream_connect", duration(10, 600), Value("\"3s\""), "Connecting to a server, look-up and TLS included; then the next, or 504. At most twice that for one request."),
    key("timeouts.upstream_head", duration(100, DAY), Value("\"1m\""), "From the request written to the head of the answer; then 504."),
    key("timeouts.upstream_body", duration(100, DAY), Value("\"1m\""), "Between two reads of an answer's body."),
    key("timeouts.upstream_idle", duration(100, DAY), Value("\"30s\""), "Idle pooled connection."),
    key("timeouts.upstream_max_age", duration(1000, 30 * DAY), Value("\"10m\""), "Age at which a pooled connection is not used again."),
    key("timeouts.upstream_queue", duration(1, 600), Value("\"2s\""), "Waiting for a free connection, and before that for the client's share; then 503, or 429."),
    key("timeouts.upgrade_idle", duration(100, 30 * DAY), Value("\"1h\""), "Idle tunnel after an upgrade."),
    key("timeouts.drain", duration(1, HOUR), Value("\"30s\""), "Waiting for requests and tunnels at the end."),

    key("ingress.underscores", word(&["drop", "reject", "pass"]), Value("\"drop\""),
        "What is done with header names that contain `_`."),
    key("ingress.encoded_slashes", word(&["pass", "reject"]), Value("\"pass\""),
        "What is done with `%2F` in a path, which some sites read as `/`."),
    key("ingress.click_ids", word(&["pass", "strip"]), Value("\"pass\""),
        "Click ids (gclid, yclid …) in the URL that the site gets and in Referer: strip removes them without consent to advertising. Only parameters of that query itself, in these letters: URLs nested in a value stay, since many are signed. Records have none, nested or not."),
    key("ingress.campaign", word(&["pass", "strip"]), Value("\"pass\""),
        "The same for utm_* and itm_*, but that records have them with consent."),
    key("ingress.strict", Kind::Bool, Value("true"),
        "Heads with two framings, a repeated Content-Length or bare LF line ends get 400; else they are made unambiguous and counted."),

    key("log.level", word(&["error", "warn", "info", "debug", "trace"]), Value("\"info\""),
        "What of the gateway's own log is written to standard error; KELISIM_LOG (a filter) goes before it."),
    key("log.access", word(&["off", "json", "combined"]), Value("\"off\""),
        "A line per request of a site, for tools that read logs: masked address, the path as it is recorded, the user agent as sent, no query and no cookie."),
    key("log.access_file", Kind::Output(&["stdout"]), Value("\"stdout\""),
        "Where access lines go; a file is opened again on USR1."),
    key("log.access_queue", integer(16, 1_000_000), Value("4096"),
        "Access lines waiting per thread for a slow disk; further ones are dropped and counted."),
    key("log.access_user_agent", Kind::Bool, Value("true"),
        "Whether access lines have the user agent."),

    key("admin.address", Kind::Socket(&["off"]), Value("\"127.0.0.1:9180\""), "Address of the admin listener."),
    key("admin.hosts", list(&Kind::Host), Value("[]"),
        "Names that the admin listener answers to, besides loopback names and the address that is connected to; others get 421."),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::risk::SignalName;

    #[test]
    fn paths_are_unique_and_sentences_end() {
        let mut seen = HashSet::new();
        for key in KEYS {
            assert!(seen.insert(key.path), "{} is there twice", key.path);
            assert!(key.doc.ends_with('.'), "{}: {}", key.path, key.doc);
        }
    }

    #[test]
    fn signals_are_those_of_risk() {
        let Kind::Word { members, .. } = &SIGNAL else { panic!("not a word") };
        assert_eq!(members.to_vec(), SignalName::ALL.map(SignalName::label));
        let capped = KEYS.iter().filter_map(|key| key.path.strip_prefix("risk.cap."));
        assert_eq!(capped.collect::<Vec<_>>(), SignalName::ALL.map(SignalName::label));
    }

    #[test]
    fn no_two_keys_share_a_variable_and_a_shell_can_set_each() {
        let names: Vec<String> = KEYS.iter().filter_map(Key::environment).collect();
        let distinct: HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        assert!(names.iter().all(|name| name.bytes().all(fits)));
    }

    #[test]
    fn presets_are_those_of_consent() {
        use crate::consent::banner::TCF_COOKIES;
        use crate::consent::banner::presets::PRESETS;
        let (Kind::Word { members: presets, .. }, Kind::Word { members: sources, .. }) = (&PRESET, &SOURCE)
        else {
            panic!("not words")
        };
        assert_eq!(presets.to_vec(), PRESETS.map(|facts| facts.label));
        assert_eq!(sources[7..], **presets);
        let default = find("consent.tcf_cookies").unwrap();
        let Value(default) = default.fallback else { panic!("no default") };
        assert_eq!(default, format!("{TCF_COOKIES:?}"));
    }

    #[test]
    fn client_address_fields_are_those_of_ingress() {
        let Kind::Word { members, .. } = &CLIENT_ADDRESS_FROM else { panic!("not a word") };
        assert_eq!(members[2..], *CLIENT_ADDRESS);
    }

    #[test]
    fn the_reference_is_a_contract() {
        insta::assert_snapshot!("reference", render());
    }
}
