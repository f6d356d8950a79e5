//! Certificates made on the spot, and clients that trust only them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A self-signed certificate in files, as an operator has them.
pub struct Certificate {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Writes `site.pem` and `site.key` into a folder, over what may be there.
    pub fn write(folder: &Path, names: &[&str]) -> Self {
        Self::write_valid_until(folder, names, 4000)
    }

    /// The same, valid until the first day of a year.
    pub fn write_valid_until(folder: &Path, names: &[&str], year: i32) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate");
        let (certificate, key_file) = (folder.join("site.pem"), folder.join("site.key"));
        // Beside their place and then moved: the gateway may look at any moment.
        for (path, text) in [(&key_file, key.serialize_pem()), (&certificate, cert.pem())] {
            let new = path.with_extension("new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, path)).expect("written");
        }
        Self { certificate, key: key_file, der: cert.der().clone() }
    }

    /// A client that trusts this certificate alone and offers these protocols.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A server that shows this certificate, and wants one of a client if told which.
    pub fn server(&self, alpn: &[&str], client: Option<&Self>) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("protocol versions");
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.der.clone()).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("a key");
        let mut config = builder.with_single_cert(vec![self.der.clone()], key).expect("a server");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// The `[listen.tls]` table.
    pub fn config(&self) -> String {
        format!("tls = {{ certificate = {:?}, key = {:?} }}\n", self.certificate, self.key)
    }
}
