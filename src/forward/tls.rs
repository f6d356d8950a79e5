//! TLS to the endpoints: what is trusted, what is shown, what went wrong.
//!
//! Certificates are verified against the system's roots or the operator's own; only `verify = false` changes that.
//! TLS 1.2 and 1.3 with ring. Files are read when a configuration takes effect, never for a request. Never logs a key
//! or a certificate. Bound: the files, and rustls' 256 sessions for resumption.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::Facts;
use crate::clock::Timestamp;
use crate::error::{Reason, Refusal};
use crate::{config, regular_file};

/// TLS to the endpoints of one site, for all threads.
#[derive(Debug)]
pub struct ClientTls {
    of: config::UpstreamTls,
    protocol: config::Protocol,
    client: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    /// Of everything that was read from files.
    files: [u8; 32],
    /// When our own certificate is valid.
    own: Option<Facts>,
}

/// Why TLS to an endpoint cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
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
        source: pem::Error,
    },
    /// A certificate authority that cannot be used.
    #[error("a certificate in {} cannot be trusted", path.display())]
    Anchor {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The system trusts nobody.
    #[error(
        "the system has no trusted certificates: install its package ca-certificates, or set upstream_tls.ca"
    )]
    NoRoots,
    /// `server_name` is not a name.
    #[error("upstream_tls.server_name is not a name")]
    ServerName,
    /// Certificate and key do not fit each other, or rustls refuses them.
    #[error("certificate and key cannot be used together")]
    Refused(#[from] rustls::Error),
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that cannot be used, or a system without trusted certificates.
    pub fn load(of: &config::UpstreamTls, protocol: config::Protocol) -> Result<Self, TlsError> {
        let mut files = digest::Context::new(&digest::SHA256);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)?;
        let builder = if of.verify {
            builder.with_root_certificates(roots(of.ca.as_deref(), &mut files)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        let mut facts = None;
        let mut client = match &of.client {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = certificates(&own.certificate, &mut files)?;
                facts = Facts::of(&chain);
                let pem = read(&own.key, &mut files)?;
                let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|source| TlsError::Pem {
                    path: own.key.clone(),
                    what: "private key",
                    source,
                })?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        client.alpn_protocols = vec![alpn(protocol).to_vec()];
        let name = of.server_name.as_deref().map(|name| server_name(name).ok_or(TlsError::ServerName));
        let mut digest = [0; 32];
        digest.copy_from_slice(files.finish().as_ref());
        Ok(Self {
            of: of.clone(),
            protocol,
            client: Arc::new(client),
            name: name.transpose()?,
            files: digest,
            own: facts,
        })
    }

    /// What servers will not accept about our own certificate: one sentence each, with its key.
    pub(super) fn warnings(&self, site: usize, now: Timestamp) -> Vec<String> {
        let (Some(facts), Some(own)) = (self.own, &self.of.client) else { return Vec::new() };
        let key = format!("site[{site}].upstream_tls.certificate");
        facts.warnings(&key, &own.certificate, now).collect()
    }

    /// Whether connections made with one could have been made with the other.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.of == other.of && self.protocol == other.protocol && self.files == other.files
    }

    /// What connects to a host.
    pub(super) fn dialer(&self, host: &str) -> Dialer {
        let name = self.name.clone().or_else(|| server_name(host));
        Dialer { connector: TlsConnector::from(Arc::clone(&self.client)), name, protocol: self.protocol }
    }
}

/// Makes TLS connections to one host.
pub(super) struct Dialer {
    connector: TlsConnector,
    /// `None` if the host can be no name of a certificate: it then has none that fits.
    name: Option<ServerName<'static>>,
    protocol: config::Protocol,
}

impl Dialer {
    /// The handshake.
    ///
    /// # Errors
    /// `UpstreamCertificate` or `UpstreamTls`.
    pub(super) async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refusal> {
        let name = self.name.clone().ok_or_else(|| Refusal::from(Reason::UpstreamCertificate))?;
        let stream = self.connector.connect(name, stream).await.map_err(refusal)?;
        let chosen = stream.get_ref().1.alpn_protocol();
        // A server without ALPN speaks HTTP/1.1; HTTP/2 has to be agreed upon (RFC 9113 §3.2).
        let agreed = match self.protocol {
            config::Protocol::Http1 => chosen.is_none_or(|name| name == alpn(self.protocol)),
            config::Protocol::Http2 => chosen == Some(alpn(self.protocol)),
        };
        if agreed {
            Ok(stream)
        } else {
            Err(Refusal::caused_by(Reason::UpstreamTls, NotAgreed(self.protocol)))
        }
    }
}

/// A server that speaks TLS, but not the protocol that is wanted.
#[derive(Debug, thiserror::Error)]
#[error("the server did not agree to {} by ALPN", String::from_utf8_lossy(alpn(self.0)))]
struct NotAgreed(config::Protocol);

const fn alpn(protocol: config::Protocol) -> &'static [u8] {
    match protocol {
        config::Protocol::Http1 => b"http/1.1",
        config::Protocol::Http2 => b"h2",
    }
}

fn refusal(error: io::Error) -> Refusal {
    let reason = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Reason::UpstreamCertificate
        }
        _ => Reason::UpstreamTls,
    };
    Refusal::caused_by(reason, error)
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).ok()
}

/// What is trusted: the operator's file, or else what the system trusts.
fn roots(ca: Option<&Path>, files: &mut digest::Context) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path, files)? {
            roots.add(certificate).map_err(|source| TlsError::Anchor { path: path.to_owned(), source })?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the system's trusted certificates cannot be read");
    }
    found.certs.iter().for_each(|certificate| files.update(certificate));
    // Old roots that webpki cannot read are no reason to trust none.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn certificates(path: &Path, files: &mut digest::Context) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { path: path.to_owned(), what: "certificate", source };
    let pem = read(path, files)?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(failed)?;
    if all.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(all) }
}

fn read(path: &Path, files: &mut digest::Context) -> Result<Vec<u8>, TlsError> {
    let bytes =
        regular_file::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    files.update(&(bytes.len() as u64).to_le_bytes());
    files.update(&bytes);
    Ok(bytes)
}

/// Takes any certificate, as `verify = false` says. The signature must still be made with its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
