//! The configuration: a TOML file becomes a [`Config`] that the rest can trust.
//!
//! [`read`] parses, checks everything and tells all mistakes at once with line, column and hint; unknown keys are
//! mistakes. Never touches the network; reads only the files that the configuration names. Bound: a file of 1 MiB.
//!
//! The table in [`mod@reference`] knows every key. A document goes `walk` (each value against its key, with `value` and
//! `syntax`) → `check` (keys against each other and against files) → `build` (the types below). `environment`
//! overrides keys, `print` writes the effective configuration, `problem` tells mistakes.

mod build;
mod check;
mod consent;
mod environment;
mod files;
pub mod fixed;
mod listen;
mod load;
mod print;
mod problem;
mod records;
pub mod reference;
mod syntax;
mod value;
mod walk;
mod warnings;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use crate::cookies::{Actions, Mode};
use crate::ingress::click_ids::Strip;
use crate::ingress::rate::Rate;
use crate::record::route::Routes;
use crate::risk;

pub use consent::{Consent, ConsentSource};
pub use environment::environment;
pub use files::MAX_TEXT;
pub use listen::{ListenAddress, Listener};
pub use load::{
    DEFAULT_DATA, DEFAULT_LISTEN, Unusable, effective, for_upstream, parse, parse_pure, read, read_and_open,
};
pub use problem::{MAX_PROBLEMS, Problem, Problems};
pub use records::{Durability, LegalHold, Records, Retention};

/// Everything the gateway needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where traffic is accepted; at least one.
    pub listeners: Vec<Listener>,
    /// The sites served; at least one. Hosts are unique over all sites.
    pub sites: Vec<Site>,
    /// What is done with cookies.
    pub cookies: Cookies,
    /// How consent is read and kept.
    pub consent: Consent,
    /// Location databases.
    pub geoip: Geoip,
    /// Signals and actions.
    pub risk: Risk,
    /// What is recorded, where and how durably.
    pub records: Records,
    /// Sizes and counts.
    pub limits: Limits,
    /// Waits.
    pub timeouts: Timeouts,
    /// How requests are made unambiguous.
    pub ingress: Ingress,
    /// The gateway's own log and the access log.
    pub log: Log,
    /// The admin listener.
    pub admin: Admin,
    /// Number of runtime threads; `0` in the file means one per core.
    pub workers: usize,
}

/// A certificate chain and its key, both PEM files. Those of a listener are reloaded when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// One website behind the gateway.
#[derive(Clone, Debug)]
pub struct Site {
    /// Host names in lower case, without port. Never empty.
    pub hosts: Vec<String>,
    /// Where the site's own server is. Never empty.
    pub upstream: Vec<Endpoint>,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// What is spoken with the endpoints.
    pub protocol: Protocol,
    /// TLS to the endpoints; set if and only if one of them wants it.
    pub upstream_tls: Option<UpstreamTls>,
    /// Active health checks; `None`: only real requests tell which endpoint is down.
    pub health: Option<HealthCheck>,
    /// Whose word about the client is believed. Empty: nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// The one field in which trusted proxies name the client.
    pub client_address_from: ClientAddressFrom,
    /// A further field that gets the client's address on every request.
    pub client_address_to: Option<HeaderName>,
    /// Path of the gateway's own endpoints, with both slashes, default `/.kelisim/`.
    pub prefix: String,
    /// The published policy; `None` means that there is nothing to accept and no gate.
    pub policy: Option<Policy>,
    /// Who is responsible for the site: name and contact, for receipts.
    pub controller: Option<Controller>,
    /// What visitors are told on the consent page and by its API.
    pub notices: Vec<Notice>,
    /// Largest request body in bytes.
    pub body_bytes: u64,
    /// How often one client may ask; `None`: as often as it likes.
    pub rate_limit: Option<Rate>,
    /// Templates of paths, whose variable parts are not recorded.
    pub routes: Routes,
}

/// The one field in which trusted proxies name the client.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ClientAddressFrom {
    /// `X-Forwarded-For`: a list, walked from the right.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239): a list, walked from the right; also tells scheme and host.
    Forwarded,
    /// A CDN's field with one address.
    Field(HeaderName),
}

/// Where the site's own server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A port of a host.
    Host {
        /// Host name or address literal (without brackets).
        host: String,
        /// Port.
        port: u16,
        /// Whether TLS is spoken there.
        tls: bool,
    },
    /// A Unix socket, by its absolute path; cleartext.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether TLS is spoken there.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Host { tls: true, .. })
    }
}

/// `host:port`, with brackets around an IPv6 address, or `unix:/path`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is spoken with the endpoints of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by prior knowledge in cleartext, by ALPN with TLS.
    Http2,
}

/// TLS to the endpoints of a site. The files are PEM and are read at start and at each reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Certificates that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// Name asked for and verified instead of the host in the URL.
    pub server_name: Option<String>,
    /// Certificate and key that this gateway identifies itself with.
    pub client: Option<Tls>,
    /// Whether the endpoint's certificate is verified.
    pub verify: bool,
}

/// Active health checks of a site: a `GET` to each endpoint, from one place in the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path, with its query if there is one.
    pub path: String,
    /// From the beginning of a check to the beginning of the next.
    pub interval: Duration,
    /// For the whole check, connecting included.
    pub timeout: Duration,
    /// Good answers in a row after which an endpoint is up again.
    pub healthy: u32,
    /// Failed checks in a row after which an endpoint is down.
    pub unhealthy: u32,
    /// Statuses of a good answer.
    pub statuses: Vec<RangeInclusive<u16>>,
}

/// How an endpoint is picked among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight.
    Least,
}

/// Who is responsible for a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Name, as receipts show it.
    pub name: String,
    /// Where to write to.
    pub contact: String,
    /// Law under which the site works: `ru`, `kz` or `eu`.
    pub jurisdiction: Option<String>,
}

/// Something that visitors are told, such as a change of the policy or an incident. Midnights are UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its id.
    pub id: String,
    /// Language and text; never empty.
    pub texts: Vec<(String, String)>,
    /// First day: seconds since 1970.
    pub from: Option<i64>,
    /// First day on which it is no longer shown: seconds since 1970.
    pub until: Option<i64>,
}

/// The policy documents of a site.
#[derive(Clone, Debug)]
pub struct Policy {
    /// All versions and languages, in the order of the file. Never empty.
    pub versions: Vec<PolicyVersion>,
    /// Path prefixes that need acceptance of the version in force.
    pub gate: Vec<String>,
    /// Language served when the visitor's is not there: `kk`, `ru` or `en`.
    pub default_language: String,
}

/// One document: one version in one language.
#[derive(Clone, Debug)]
pub struct PolicyVersion {
    /// Version id, 1-32 of `[A-Za-z0-9-]`; several languages share one id.
    pub id: String,
    /// Markdown text, already read.
    pub text: String,
    /// Language tag of the text.
    pub language: String,
    /// First moment in force: seconds since 1970, midnight UTC of the day given.
    pub effective: i64,
    /// Whether choices for earlier versions end with it.
    pub reconsent: bool,
}

/// What is done with cookies.
#[derive(Clone, Debug, Default)]
pub struct Cookies {
    /// Enforce, or only count.
    pub mode: Mode,
    /// The site's own rules: path (for messages) and text of the file.
    pub rules: Option<RuleFile>,
    /// Action per category.
    pub actions: Actions,
}

/// The operator's cookie rules, read but not yet compiled.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// TOML text.
    pub text: String,
}

/// Location databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geoip {
    /// Country database; `None` switches location off. Default: the one shipped, embedded in the binary.
    pub country: CountryDatabase,
    /// ASN database.
    pub asn: Option<PathBuf>,
    /// How often files are looked at for a change.
    pub check_every: Duration,
}

/// Which country database is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountryDatabase {
    /// `geoip/country.mmdb` as shipped inside the binary.
    Shipped,
    /// A file of the operator's.
    File(PathBuf),
    /// None: `country = "off"`.
    Off,
}

/// Signals and actions.
#[derive(Clone, Debug)]
pub struct Risk {
    /// What is done at each level.
    pub actions: risk::Actions,
    /// Signals that are switched off.
    pub off: Vec<risk::SignalName>,
    /// Days of observation before `deny` acts; needed when any action is `deny`.
    pub observe_days: Option<u32>,
    /// Path prefixes of login forms (POST to these is a login attempt).
    pub login_paths: Vec<String>,
    /// Whether browsers without a visitor cookie are given one.
    pub visitor_cookie: bool,
    /// Bytes for the memory of subjects and counters.
    pub memory_bytes: usize,
}

/// Sizes and counts. Units in the names or the field docs.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Fields of a request head.
    pub head_fields: usize,
    /// Bytes of the request target.
    pub uri_bytes: usize,
    /// Bytes of a request body, unless the site says otherwise.
    pub body_bytes: u64,
    /// Bytes read and thrown away after an early answer.
    pub linger_bytes: u64,
    /// Connections per thread that are read on so.
    pub linger_connections: usize,
    /// Bytes that an upload must bring for each second that it is waited for; 0: any.
    pub min_body_rate: u64,
    /// Bytes for the memory of `site[].rate_limit`.
    pub rate_memory_bytes: usize,
    /// Connections over all threads.
    pub connections: usize,
    /// Connections of one peer address (/64 for IPv6).
    pub connections_per_client: usize,
    /// Requests on one connection.
    pub requests_per_connection: u64,
    /// Concurrent streams of an HTTP/2 connection.
    pub h2_streams: u32,
    /// Window of one HTTP/2 stream in bytes.
    pub h2_stream_window: u32,
    /// Window of one HTTP/2 connection in bytes.
    pub h2_connection_window: u32,
    /// Connections per endpoint and thread.
    pub upstream_connections: usize,
    /// Of these, how many one client may hold.
    pub upstream_connections_per_client: usize,
    /// Requests waiting per endpoint and thread.
    pub upstream_queue: usize,
}

/// Waits.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// TLS handshake.
    pub tls_handshake: Duration,
    /// From accept to the end of the head.
    pub request_head: Duration,
    /// Between two reads of a request body.
    pub request_body: Duration,
    /// Between two writes of a response.
    pub response_write: Duration,
    /// Idle connection.
    pub keep_alive: Duration,
    /// Reading and throwing away after an early answer.
    pub linger: Duration,
    /// Connecting to an endpoint: the look-up, all addresses and TLS together.
    pub upstream_connect: Duration,
    /// From the request written to the head of the answer.
    pub upstream_head: Duration,
    /// Between two reads of an answer's body.
    pub upstream_body: Duration,
    /// Idle pooled connection.
    pub upstream_idle: Duration,
    /// Age at which a pooled connection is not used again.
    pub upstream_max_age: Duration,
    /// Waiting for a free upstream connection.
    pub upstream_queue: Duration,
    /// Idle tunnel after an upgrade.
    pub upgrade_idle: Duration,
    /// Drain at the end.
    pub drain: Duration,
}

/// How requests are made unambiguous.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// Whether a head that can be made unambiguous is refused all the same.
    pub strict: bool,
    /// What is done with header names that contain `_`.
    pub underscores: Underscores,
    /// What is done with `%2F` in a path.
    pub encoded_slashes: EncodedSlashes,
    /// What of the query the site does not get without consent to advertising.
    pub strip: Strip,
}

/// What is done with `%2F` in a path, which some sites read as `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EncodedSlashes {
    /// The path is passed on as it came; rules read it both ways.
    #[default]
    Pass,
    /// The request is refused with 400.
    Reject,
}

/// What is done with header names that contain `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Underscores {
    /// The field is removed and counted.
    #[default]
    Drop,
    /// The request is refused with 400.
    Reject,
    /// The field is passed on.
    Pass,
}

/// The gateway's own log and the access log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Level of the gateway's own log: `error` … `trace`.
    pub level: String,
    /// Form of the access log; `None` switches it off.
    pub access: Option<AccessFormat>,
    /// Where it goes; `None` is standard output.
    pub access_file: Option<PathBuf>,
    /// Lines waiting per thread.
    pub access_queue: usize,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object per line.
    Json,
    /// The combined log format.
    Combined,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address; `None` switches it off.
    pub address: Option<SocketAddr>,
    /// Names that it answers to, besides loopback names and the address that was connected to.
    pub hosts: Vec<String>,
}
