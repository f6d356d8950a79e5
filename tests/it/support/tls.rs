//! Certificates made on the spot, and clients that trust only them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

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
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (certificate, key) = (folder.join("site.pem"), folder.join("site.key"));
        // Beside their place and then moved: the gateway may look at any moment.
        for (path, text) in [(&key, made.signing_key.serialize_pem()), (&certificate, made.cert.pem())] {
            let new = path.with_extension("new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, path)).expect("written");
        }
        Self { certificate, key, der: made.cert.der().clone() }
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

    /// The `[listen.tls]` table.
    pub fn config(&self) -> String {
        format!("tls = {{ certificate = {:?}, key = {:?} }}\n", self.certificate, self.key)
    }
}
