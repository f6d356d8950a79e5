//! Certificates: loads them, serves them by rustls, and takes new ones when the files change.
//!
//! A half-written or bad file leaves the last good certificate in use. One that clients will not accept is used, and told.
//! TLS 1.2 and 1.3 with ring; ALPN offers `h2` and
//! `http/1.1`. Never logs a key. Bound: one certificate per listener.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::certificate::Facts;
use crate::clock::Timestamp;
use crate::snapshot::Reloads;
use crate::{config, regular_file};

/// A certificate in use: what rustls needs and the names it is valid for.
#[derive(Debug)]
pub struct Certificate {
    /// What rustls serves connections with.
    pub server: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    /// The configured hosts that the leaf is valid for. Requests for others are misdirected (RFC 9110 §15.5.20):
    /// compared with the certificate, not with SNI, since reusing a connection for another name is legal.
    pub covered: HashSet<Box<str>>,
    /// When it is valid; `None` if it does not say.
    pub facts: Option<Facts>,
    told: AtomicBool,
}

/// The certificate of one listener, replaced when its files change.
#[derive(Debug)]
pub struct Store {
    files: ArcSwap<config::Tls>,
    hosts: ArcSwap<Vec<String>>,
    current: ArcSwap<Certificate>,
    /// The listener's index in the configuration.
    pub listener: usize,
    /// Its address, as metrics and log lines have it.
    pub address: String,
    /// How often changed files were taken, and could not be.
    pub reloads: Reloads,
}

/// A certificate from other files than those in use.
#[derive(Debug)]
pub struct Prepared {
    files: config::Tls,
    certificate: Certificate,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM, or holds none of what it should.
    #[error("{} holds no {what}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What the parser said.
        source: rustls::pki_types::pem::Error,
    },
    /// The leaf certificate is not X.509 as browsers accept it.
    #[error("the certificate cannot be read")]
    Leaf(#[source] webpki::Error),
    /// Certificate and key do not fit each other, or rustls refuses them.
    #[error("certificate and key cannot be used together")]
    Refused(#[from] rustls::Error),
}

impl Store {
    /// Loads the certificate. `hosts` are the configured host names in lower case.
    ///
    /// # Errors
    /// A file cannot be read, holds no PEM of its kind, or the two do not fit.
    pub fn open(files: config::Tls, hosts: Vec<String>) -> Result<Self, CertificateError> {
        let certificate = load(&files, &hosts)?;
        Ok(Self {
            files: ArcSwap::from_pointee(files),
            hosts: ArcSwap::from_pointee(hosts),
            current: ArcSwap::from_pointee(certificate),
            listener: 0,
            address: String::new(),
            reloads: Reloads::default(),
        })
    }

    /// The certificate of this listener.
    #[must_use]
    pub fn of_listener(self, listener: usize, address: String) -> Self {
        Self { listener, address, ..self }
    }

    /// The certificate in use now.
    #[must_use]
    pub fn current(&self) -> Arc<Certificate> {
        self.current.load_full()
    }

    /// Loads the files again and uses them if they are good.
    ///
    /// # Errors
    /// Those of [`Store::open`]; the certificate in use stays.
    pub fn reload(&self) -> Result<(), CertificateError> {
        let loaded = load(&self.files.load(), &self.hosts.load());
        let counter = if loaded.is_ok() { &self.reloads.ok } else { &self.reloads.failed };
        counter.fetch_add(1, Relaxed);
        self.current.store(Arc::new(loaded?));
        Ok(())
    }

    /// Reads the files of a new configuration for these hosts, and changes nothing yet; `None` if they are those in use,
    /// which are watched anyway.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn prepare(
        &self,
        files: &config::Tls,
        hosts: &[String],
    ) -> Result<Option<Prepared>, CertificateError> {
        if **self.files.load() == *files {
            return Ok(None);
        }
        Ok(Some(Prepared { files: files.clone(), certificate: load(files, hosts)? }))
    }

    /// Goes on with other files.
    pub fn set_files(&self, prepared: Prepared) {
        self.files.store(Arc::new(prepared.files));
        self.current.store(Arc::new(prepared.certificate));
    }

    /// Takes over the hosts of a new configuration. Connections already open keep the names that they began with: a
    /// browser that is told 421 there opens another.
    pub fn set_hosts(&self, hosts: Vec<String>) {
        let current = self.current();
        // The leaf was read before; should it not be, no host is covered by it.
        let covered = covered_by(&current.leaf, &hosts).unwrap_or_default();
        let (server, leaf) = (Arc::clone(&current.server), current.leaf.clone());
        self.hosts.store(Arc::new(hosts));
        let told = AtomicBool::new(false);
        self.current.store(Arc::new(Certificate { server, leaf, covered, facts: current.facts, told }));
    }

    /// The file of the certificate.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.files.load().certificate.clone()
    }

    /// The configured hosts that the certificate is not for.
    #[must_use]
    pub fn uncovered(&self) -> Vec<String> {
        let current = self.current();
        let hosts = self.hosts.load();
        hosts.iter().filter(|host| !current.covered.contains(name(host))).cloned().collect()
    }

    /// What clients will not accept about it: one sentence each, with its key.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let (key, path, current) =
            (format!("listen[{}].tls.certificate", self.listener), self.path(), self.current());
        let mut told: Vec<String> =
            current.facts.into_iter().flat_map(|facts| facts.warnings(&key, &path, now)).collect();
        if current.covered.is_empty() && !self.hosts.load().is_empty() {
            told.push(format!(
                "{key}: {} is for none of the hosts: every request over TLS at {} is answered 421",
                path.display(),
                self.address
            ));
        }
        told
    }

    /// When the files were last changed: a value to compare, not to show.
    #[must_use]
    pub fn stamp(&self) -> (Option<SystemTime>, Option<SystemTime>) {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        let files = self.files.load();
        (modified(&files.certificate), modified(&files.key))
    }
}

impl Certificate {
    /// Tells once that somebody asked for a configured host which it is not for.
    pub fn misses(&self, host: &str) {
        if !self.told.swap(true, Relaxed) {
            tracing::warn!(
                host,
                "a request was answered 421: the listener's certificate is not for its host"
            );
        }
    }
}

fn load(files: &config::Tls, hosts: &[String]) -> Result<Certificate, CertificateError> {
    let chain = read(&files.certificate)?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(|source| {
            CertificateError::Pem { path: files.certificate.clone(), what: "certificate", source }
        })?;
    let leaf = chain.first().ok_or_else(|| CertificateError::Pem {
        path: files.certificate.clone(),
        what: "certificate",
        source: rustls::pki_types::pem::Error::NoItemsFound,
    })?;
    let covered = covered_by(leaf, hosts)?;
    let (leaf, facts) = (leaf.clone(), Facts::of(&chain));
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|source| CertificateError::Pem {
        path: files.key.clone(),
        what: "private key",
        source,
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificate { server: Arc::new(server), leaf, covered, facts, told: AtomicBool::new(false) })
}

fn covered_by(leaf: &CertificateDer<'_>, hosts: &[String]) -> Result<HashSet<Box<str>>, CertificateError> {
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(CertificateError::Leaf)?;
    let covers = |host: &&str| {
        ServerName::try_from(*host).is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    };
    Ok(hosts.iter().map(|host| name(host)).filter(covers).map(Into::into).collect())
}

/// Look-ups are by name without brackets.
fn name(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    regular_file::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, hosts: &[&str]) -> config::Tls {
        let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        let files = config::Tls { certificate: dir.join("site.pem"), key: dir.join("site.key") };
        std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn knows_which_hosts_it_covers() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), &["kz.example", "*.kz.example"]);
        let hosts =
            ["kz.example", "www.kz.example", "a.b.kz.example", "other.example"].map(String::from).to_vec();
        let store = Store::open(files, hosts).unwrap();
        let covered = store.current();
        assert!(covered.covered.contains("kz.example"));
        assert!(covered.covered.contains("www.kz.example"));
        assert!(!covered.covered.contains("a.b.kz.example"));
        assert!(!covered.covered.contains("other.example"));
    }

    #[test]
    fn hosts_of_a_reloaded_configuration_are_covered_too() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), &["kz.example", "new.example"]);
        let store = Store::open(files, vec!["kz.example".into()]).unwrap();
        assert!(!store.current().covered.contains("new.example"));
        store.set_hosts(vec!["kz.example".into(), "new.example".into(), "other.example".into()]);
        assert!(store.current().covered.contains("new.example"));
        assert!(!store.current().covered.contains("other.example"));
        store.reload().unwrap();
        assert!(store.current().covered.contains("new.example"));
    }

    #[test]
    fn an_ipv6_host_is_covered_under_its_name_without_brackets() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(write(dir.path(), &["::1"]), vec!["[::1]".into()]).unwrap();
        assert!(store.current().covered.contains("::1"));
    }

    #[test]
    fn a_certificate_for_no_host_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), &["kz.example"]);
        let hosts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let now = Timestamp::from_secs(1_790_000_000);
        let store = Store::open(files.clone(), hosts(&["kz.example", "other.example"])).unwrap();
        assert_eq!((store.warnings(now), store.uncovered()), (vec![], hosts(&["other.example"])));
        let store = Store::open(files, hosts(&["other.example"])).unwrap().of_listener(2, "[::]:443".into());
        let told = store.warnings(now);
        assert!(told.len() == 1 && told[0].starts_with("listen[2].tls.certificate: "), "{told:?}");
        assert!(told[0].ends_with("every request over TLS at [::]:443 is answered 421"), "{told:?}");
    }

    #[test]
    fn a_bad_file_leaves_the_last_good_certificate_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), &["kz.example"]);
        let store = Store::open(files.clone(), vec!["kz.example".into()]).unwrap();
        let before = store.current();
        std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
        assert!(store.reload().is_err());
        assert!(Arc::ptr_eq(&before, &store.current()));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let mut files = write(dir.path(), &["kz.example"]);
        files.key = write(other.path(), &["kz.example"]).key;
        assert!(matches!(Store::open(files, vec![]), Err(CertificateError::Refused(_))));
    }
}
