//! Opens the files that a configuration names, as a start does, and keeps nothing: for `kelisim check`.
//!
//! Tells all that cannot be used, each by its key, where a start tells the first. Never listens and never writes; a file
//! that the gateway would make is not made. Bound: the configuration, and one open file at a time.

use std::io::ErrorKind;
use std::path::Path;

use super::start::{StartError, cookie_policy, hosts};
use crate::config::{Config, CountryDatabase, Listener, Site, Tls, Unusable, UpstreamTls};
use crate::error::chain;
use crate::forward::tls::{ClientTls, TlsError};
use crate::geo::Role;
use crate::geo::database::Database;
use crate::listen::tls::{CertificateError, Store};
use crate::record::access_log::writer;

/// What would keep a gateway with this configuration from starting, as far as files can tell.
#[must_use]
pub fn unusable(config: &Config) -> Vec<Unusable> {
    let hosts = hosts(config);
    let mut found = cookie_rules(config);
    found.extend(databases(config));
    found.extend(config.listeners.iter().enumerate().filter_map(|(i, l)| certificate(i, l, &hosts)));
    found.extend(config.sites.iter().enumerate().filter_map(|(i, site)| upstream_tls(i, site)));
    found.extend(access_log(config));
    found
}

fn plain(key: String, error: &dyn std::error::Error) -> Unusable {
    Unusable { key, why: chain(error).to_string(), hint: None }
}

fn cookie_rules(config: &Config) -> Vec<Unusable> {
    match cookie_policy(config) {
        Err(StartError::CookieRules { path, problems }) => {
            // Without a file the name of a consent cookie is at fault.
            let key = if config.cookies.rules.is_some() { "cookies.rules" } else { "consent.cookie" };
            let told = problems.into_iter().map(|problem| Unusable {
                key: key.to_owned(),
                why: format!("{}:{}:{}: {}", path.display(), problem.line, problem.column, problem.message),
                hint: Some(problem.hint),
            });
            told.collect()
        }
        Err(error) => vec![plain("cookies".to_owned(), &error)],
        Ok(_) => Vec::new(),
    }
}

fn databases(config: &Config) -> impl Iterator<Item = Unusable> {
    let country = match &config.geoip.country {
        CountryDatabase::File(path) => Some((Role::Country, path)),
        CountryDatabase::Shipped | CountryDatabase::Off => None,
    };
    let asn = config.geoip.asn.as_ref().map(|path| (Role::Asn, path));
    country.into_iter().chain(asn).filter_map(|(role, path)| {
        let error = Database::open(role, path).err()?;
        Some(plain(format!("geoip.{}", role.label()), &error))
    })
}

fn certificate(index: usize, listener: &Listener, hosts: &[String]) -> Option<Unusable> {
    let files = listener.tls.as_ref()?;
    let error = Store::open(files.clone(), hosts.to_vec()).err()?;
    let name = match &error {
        CertificateError::Read { path, .. } => of_pair(files, path, ""),
        CertificateError::Pem { path, what, .. } => of_pair(files, path, what),
        CertificateError::Leaf(_) | CertificateError::Refused(_) => "certificate",
    };
    Some(plain(format!("listen[{index}].tls.{name}"), &error))
}

fn upstream_tls(index: usize, site: &Site) -> Option<Unusable> {
    let tls = site.upstream_tls.as_ref()?;
    let error = ClientTls::load(tls, site.protocol).err()?;
    let key = match &error {
        TlsError::Read { path, .. } | TlsError::Anchor { path, .. } => {
            format!("upstream_tls.{}", of_upstream(tls, path, ""))
        }
        TlsError::Pem { path, what, .. } => format!("upstream_tls.{}", of_upstream(tls, path, what)),
        TlsError::Refused(_) => "upstream_tls.certificate".to_owned(),
        TlsError::ServerName => "upstream_tls.server_name".to_owned(),
        TlsError::NoRoots => "upstream".to_owned(),
    };
    Some(plain(format!("site[{index}].{key}"), &error))
}

fn of_upstream(tls: &UpstreamTls, path: &Path, what: &str) -> &'static str {
    match &tls.client {
        Some(files) if tls.ca.as_deref() != Some(path) => of_pair(files, path, what),
        _ => "ca",
    }
}

fn of_pair(files: &Tls, path: &Path, what: &str) -> &'static str {
    // One file may hold both.
    if what == "private key" || path != files.certificate { "key" } else { "certificate" }
}

fn access_log(config: &Config) -> Option<Unusable> {
    config.log.access?;
    let path = config.log.access_file.as_deref()?;
    let error = writer::can_open(path).err()?;
    let told = plain("log.access_file".to_owned(), &error);
    Some(match (error.kind(), path.parent()) {
        (ErrorKind::NotFound, Some(folder)) => {
            Unusable { why: format!("there is no folder `{}`", folder.display()), ..told }
        }
        _ => Unusable { why: format!("`{}` cannot be opened: {}", path.display(), told.why), ..told },
    })
}
