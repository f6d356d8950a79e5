//! `kelisim geoip`: what the databases say of an address, and what the databases are.
//!
//! For operators, on their own terminal; the purpose is security. Never touches the network, and writes nothing but
//! its answer. Bound: two files in memory.

use std::error::Error as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::config::{CountryDatabase, Geoip};
use crate::geo::database::Database;
use crate::geo::{Databases, Role, warnings_of};
use crate::risk;

/// Arguments of `kelisim geoip`.
#[derive(Args, Debug)]
pub struct GeoipArgs {
    #[command(subcommand)]
    verb: Verb,
    /// Country database; default: the configured one, else the shipped one
    #[arg(long, value_name = "FILE", global = true)]
    country: Option<PathBuf>,
    /// ASN database; default: the configured one, if any
    #[arg(long, value_name = "FILE", global = true)]
    asn: Option<PathBuf>,
    /// Configuration that names the databases
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// What the databases say of an address
    Lookup {
        /// IPv4 or IPv6 address
        ip: IpAddr,
        /// Exit with 1 when the country is unknown
        #[arg(long)]
        fail: bool,
    },
    /// What the databases are, how old, and which signals they make possible
    Info,
}

/// How an answer is written. JSON is stable, the table is for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Runs the command. `configured` is the `[geoip]` section of the file that [`GeoipArgs::config`] names.
///
/// # Errors
/// The answer cannot be written. A database that cannot be opened is told on standard error, with exit code 64.
pub fn run(args: &GeoipArgs, configured: Option<Geoip>, now: Timestamp) -> io::Result<ExitCode> {
    let config = args.databases(configured);
    let databases = match Databases::open(&config, now) {
        Ok((databases, _)) => databases,
        Err(error) => {
            let reason = error.source().map(chain).unwrap_or_default();
            writeln!(io::stderr().lock(), "error: {error} ({}): {reason}", error.path.display())?;
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    let mut out = io::stdout().lock();
    match args.verb {
        Verb::Lookup { ip, fail } => {
            let answer = lookup(&databases, ip, now);
            let unknown = answer["country"].is_null();
            write(&mut out, &answer, args.format)?;
            Ok(if fail && unknown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Verb::Info => write(&mut out, &info(&databases, now), args.format).map(|()| ExitCode::SUCCESS),
    }
}

impl GeoipArgs {
    fn databases(&self, configured: Option<Geoip>) -> Geoip {
        let mut config = configured.unwrap_or(Geoip {
            country: CountryDatabase::Shipped,
            asn: None,
            check_every: Duration::from_secs(60),
            headers: None,
        });
        if let Some(path) = &self.country {
            config.country = CountryDatabase::File(path.clone());
        }
        if let Some(path) = &self.asn {
            config.asn = Some(path.clone());
        }
        config
    }
}

fn lookup(databases: &Databases, ip: IpAddr, now: Timestamp) -> Value {
    let ip = ip.to_canonical();
    let located = risk::operator_lookup(databases, ip);
    let (purpose, place) = located.evidence();
    let network =
        |role| databases.get(role).and_then(|database| database.network(ip)).map(|net| net.to_string());
    let file = |role| {
        databases
            .get(role)
            .map(|database| json!({ "file": path(database), "age_days": database.age_days(now) }))
    };
    json!({
        "address": ip.to_string(),
        "country": place.country(purpose),
        "country_network": network(Role::Country),
        "country_database": file(Role::Country),
        "asn": place.asn(purpose),
        "asn_network": network(Role::Asn),
        "asn_database": file(Role::Asn),
        "network_category": place.category(purpose).label(),
    })
}

fn info(databases: &Databases, now: Timestamp) -> Value {
    let describe = |role| {
        databases.get(role).map(|database| {
            let warnings: Vec<_> = warnings_of(database, now).iter().map(ToString::to_string).collect();
            json!({
                "file": path(database),
                "type": database.declared_type(),
                "built": i64::try_from(database.built()).ok().map(|built| Timestamp::from_secs(built).to_string()),
                "age_days": database.age_days(now),
                "nodes": database.nodes(),
                "shape": database.shape().to_string(),
                "ip_version": if database.ipv4_only() { 4 } else { 6 },
                "warnings": warnings,
            })
        })
    };
    json!({
        "country": describe(Role::Country),
        "asn": describe(Role::Asn),
        "signals": signals(databases.get(Role::Country).is_some(), databases.get(Role::Asn).is_some()),
    })
}

/// Which signals work with which databases.
fn signals(country: bool, asn: bool) -> Value {
    let hop = match (country, asn) {
        (false, _) => "off: needs a country database",
        (true, false) => "on, level low at most: no ASN database",
        (true, true) => "on",
    };
    let spread = match (country, asn) {
        (true, true) => "on: network, country, ASN",
        (true, false) => "on: network, country",
        (false, true) => "on: network, ASN",
        (false, false) => "on: network",
    };
    json!({
        "country-hop": hop,
        "session-spread": spread,
        "velocity": "on",
        "new-country": if country { "on" } else { "off: needs a country database" },
        "new-network": if asn { "on" } else { "off: needs an ASN database" },
        "impossible-travel": "off: not part of this version; will need a city database",
    })
}

fn path(database: &Database) -> String {
    database.path().map_or_else(|| "(shipped)".to_owned(), |path| path.display().to_string())
}

fn write(out: &mut impl Write, answer: &Value, format: Format) -> io::Result<()> {
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, answer)?;
            writeln!(out)
        }
        Format::Table => write_table(out, answer, 0),
    }
}

/// Objects are indented below their name; what is missing is a dash. Text of a file may hold anything, so controls are
/// escaped before they reach a terminal.
fn write_table(out: &mut impl Write, value: &Value, indent: usize) -> io::Result<()> {
    let Value::Object(fields) = value else { return Ok(()) };
    for (name, field) in fields {
        let width = 20usize.saturating_sub(indent);
        write!(out, "{:indent$}{:width$} ", "", name)?;
        match field {
            Value::Object(_) => {
                writeln!(out)?;
                write_table(out, field, indent + 2)?;
            }
            Value::Null => writeln!(out, "-")?,
            Value::String(text) => writeln!(out, "{}", printable(text))?,
            Value::Array(items) => {
                let items: Vec<_> = items.iter().filter_map(Value::as_str).map(printable).collect();
                writeln!(out, "{}", if items.is_empty() { "-".to_owned() } else { items.join("; ") })?;
            }
            Value::Bool(_) | Value::Number(_) => writeln!(out, "{field}")?,
        }
    }
    Ok(())
}

fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = printable(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&printable(&error.to_string()));
        cause = error.source();
    }
    text
}

const BAD_CONFIGURATION: u8 = 64;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_341_600);

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: GeoipArgs,
    }

    fn args(words: &[&str]) -> GeoipArgs {
        Command::parse_from(std::iter::once(&"geoip").chain(words)).args
    }

    fn shipped() -> Databases {
        Databases::open(&args(&["info"]).databases(None), NOW).unwrap().0
    }

    fn text(answer: &Value, format: Format) -> String {
        let mut out = Vec::new();
        write(&mut out, answer, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_lookup_names_country_network_file_and_age() {
        let answer = lookup(&shipped(), "::ffff:8.8.8.8".parse().unwrap(), NOW);
        assert_eq!(answer["address"], "8.8.8.8");
        assert_eq!(answer["country"], "US");
        assert_eq!(answer["asn"], Value::Null);
        assert_eq!(answer["country_database"], json!({ "file": "(shipped)", "age_days": 157 }));
        assert!(answer["country_network"].as_str().unwrap().contains('/'));
        let table = text(&answer, Format::Table);
        assert!(table.contains("country              US\n"), "{table}");
        assert!(table.contains("asn                  -\n"), "{table}");
    }

    #[test]
    fn info_tells_age_shape_and_active_signals() {
        let answer = info(&shipped(), NOW);
        assert_eq!(answer["country"]["shape"], "country_code");
        assert_eq!(answer["country"]["built"], "2026-06-17T19:54:21.000000Z");
        assert!(answer["country"]["warnings"][0].as_str().unwrap().contains("stale"));
        assert!(answer["signals"]["country-hop"].as_str().unwrap().contains("low at most"));
        let json: Value = serde_json::from_str(&text(&answer, Format::Json)).unwrap();
        assert_eq!(json, answer);
    }

    #[test]
    fn options_win_over_the_configuration() {
        let configured = Geoip {
            country: CountryDatabase::Off,
            asn: Some("a".into()),
            check_every: Duration::ZERO,
            headers: None,
        };
        let both =
            args(&["lookup", "1.1.1.1", "--country", "c", "--asn", "b"]).databases(Some(configured.clone()));
        assert_eq!((both.country, both.asn), (CountryDatabase::File("c".into()), Some("b".into())));
        let none = args(&["info"]).databases(Some(configured));
        assert_eq!((none.country, none.asn), (CountryDatabase::Off, Some("a".into())));
    }

    #[test]
    fn a_bad_file_is_bad_configuration() {
        let code = run(&args(&["info", "--country", "no/such/file"]), None, NOW).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(BAD_CONFIGURATION)));
    }

    #[test]
    fn what_a_file_says_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
