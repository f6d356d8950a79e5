//! The gateway's configuration: the whole job, parts of it off, more sites, more rules, more threads.
//!
//! What is not mentioned has its default. Bound: two files.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::mode::Mode;
use crate::peer::{Job, Setting, Start, Starter};
use crate::workload;

/// A part of the job that has a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Records reach the disk: group commits and Parquet segments.
    Durable,
    /// Cookies are stripped, consent is asked for and read, a policy is shown.
    Consent,
    /// The country of the client.
    Country,
    /// Signals of risk.
    Risk,
    /// Ambiguous heads are refused.
    Strict,
}

/// All that differs from one gateway of the bench to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Parts that are off.
    pub(crate) off: &'static [Part],
    /// Threads, and cores for them.
    pub(crate) workers: u32,
    /// Sites.
    pub(crate) sites: u32,
    /// Cookie rules beside the built-in ones.
    pub(crate) rules: u32,
    /// Connections of the load, if not those of the plan.
    pub(crate) connections: Option<u32>,
    /// Another country database than the shipped one.
    pub(crate) database: Option<&'static Path>,
}

/// Parts of the job switched off one by one, and together.
pub(crate) const PARTS: [Starter; 6] = [
    Starter("kelisim-memory", without(&[Part::Durable])),
    Starter("kelisim-no-consent", without(&[Part::Consent])),
    Starter("kelisim-no-country", without(&[Part::Country])),
    Starter("kelisim-no-risk", without(&[Part::Country, Part::Risk])),
    Starter("kelisim-lenient", without(&[Part::Strict])),
    Starter(
        "kelisim-plain",
        without(&[Part::Durable, Part::Consent, Part::Country, Part::Risk, Part::Strict]),
    ),
];

const fn without(off: &'static [Part]) -> Start {
    Start::Kelisim(Shape { off, ..Shape::WHOLE })
}

impl Shape {
    /// The whole job for one site on one core.
    pub(crate) const WHOLE: Self =
        Self { off: &[], workers: 1, sites: 1, rules: 0, connections: None, database: None };

    /// How much it does.
    pub(crate) fn job(&self) -> Job {
        if self.has(Part::Consent) { Job::Full } else { Job::Unstripped }
    }

    /// Rules of cookies that nobody sends, with names unlike one another.
    pub(super) fn rules_file(&self) -> String {
        let mut text = "rules = [\n".to_owned();
        for i in 0..self.rules {
            let spread = u64::from(i).wrapping_mul(2_654_435_761) % 1_000_003;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{{ match = \"={spread:x}_c{i}\", category = \"analytics\" }},");
        }
        text.push_str("]\n");
        text
    }

    /// The configuration file.
    pub(super) fn configuration(
        &self,
        setting: &Setting<'_>,
        address: SocketAddr,
        admin: SocketAddr,
        data: &Path,
    ) -> String {
        let mut text = format!("workers = {}\n[[listen]]\naddress = \"{address}\"\n", self.workers);
        if let Some(certificate) = setting.certificate {
            let (certificate, key) = (&certificate.certificate, &certificate.key);
            let _ = writeln!(text, "tls = {{ certificate = {certificate:?}, key = {key:?} }}");
        }
        for site in 0..self.sites {
            let (host, origin) = (workload::host(site), setting.origin);
            let _ = write!(
                text,
                "[[site]]\nhosts = [\"{host}\"]\nupstream = [\"http://{origin}\"]\ntrusted_proxies = [\"127.0.0.1\"]\n"
            );
            if self.has(Part::Consent) {
                text.push_str(POLICY);
            }
        }
        let _ = writeln!(text, "[records]\ndir = '{}'\nmax_bytes = \"1GiB\"", data.display());
        text.push_str(if self.has(Part::Durable) { DURABLE } else { MEMORY });
        if !self.has(Part::Consent) {
            text.push_str(NO_CONSENT);
        }
        if self.rules > 0 {
            text.push_str("[cookies]\nrules = \"cookies.toml\"\n");
        }
        self.location(&mut text);
        text.push_str(if self.has(Part::Risk) { RISK } else { NO_RISK });
        let _ = writeln!(text, "[ingress]\nstrict = {}", self.has(Part::Strict));
        self.limits(setting.mode, &mut text);
        let _ = writeln!(text, "[admin]\naddress = \"{admin}\"");
        text
    }

    fn location(&self, text: &mut String) {
        match self.database {
            _ if !self.has(Part::Country) => text.push_str(NO_COUNTRY),
            None => text.push_str(COUNTRY),
            Some(file) => {
                let _ = writeln!(text, "[geoip]\ncountry = '{}'", file.display());
            }
        }
    }

    fn limits(&self, mode: Mode, text: &mut String) {
        text.push_str(LIMITS);
        // A thousand is below the limit of open files that is left under valgrind.
        let connections = self.connections.unwrap_or(0);
        let _ = writeln!(text, "connections = {}", (connections + 200).max(1000));
        if connections > 0 {
            // They all come from one address, and wait for 64 connections to the site.
            let _ = writeln!(text, "connections_per_client = {}\nupstream_queue = 65535", connections + 200);
        }
        if mode == Mode::Http2 {
            // Its load is of one visitor, who would get half.
            text.push_str("upstream_connections_per_client = 64\n");
        }
    }

    fn has(&self, part: Part) -> bool {
        !self.off.contains(&part)
    }
}

const POLICY: &str = "[site.policy]
versions = [{ id = \"1\", file = \"policy.md\", language = \"en\", effective = 2026-01-01 }]
gate = [\"/register\"]
";
const DURABLE: &str = "durability = \"group\"\n";
const MEMORY: &str = "durability = \"memory\"\nsegments = false\n";
const NO_CONSENT: &str = "[cookies.actions]\nadvertising = \"allow\"\n[consent]\nsources = [\"own\"]\n";
const COUNTRY: &str = "[geoip]\ncountry = \"shipped\"\n";
const NO_COUNTRY: &str = "[geoip]\ncountry = \"off\"\n";
const RISK: &str = "[risk]\nlogin_paths = [\"/login\"]\n";
const NO_RISK: &str = "[risk]
off = [\"country-hop\", \"session-spread\", \"velocity\", \"new-country\", \"new-network\"]
";
const LIMITS: &str = "[limits]
# Peers do not limit it either; the default closes connections within a round.
requests_per_connection = 1000000
";
