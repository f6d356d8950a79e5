//! One self-made certificate for all peers, and a client that trusts it alone.
//!
//! The key is of the P-256 curve, as most sites' are now. Never leaves the bench's folder. Bound: three files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::{Fallible, workload};

/// A certificate in files, as the programs want them.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// Both in one file.
    pub(crate) both: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes one and writes it into a folder.
    pub(crate) fn write(folder: &Path) -> Fallible<Self> {
        // `wrk` asks for the address that it connects to.
        let names = [workload::HOST, "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names)?;
        let (chain, secret) = (made.cert.pem(), made.signing_key.serialize_pem());
        let [certificate, key, both] = ["site.pem", "site.key", "both.pem"].map(|name| folder.join(name));
        std::fs::write(&certificate, &chain)?;
        std::fs::write(&key, &secret)?;
        std::fs::write(&both, chain + &secret)?;
        Ok(Self { certificate, key, both, der: made.cert.der().clone() })
    }

    /// A client that offers one protocol.
    pub(crate) fn client(&self, protocol: &str) -> Fallible<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(Arc::new(config))
    }
}

/// A server with the certificate and the key in a file that holds both.
pub(crate) fn server(both: &Path) -> Fallible<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from_pem_file(both)?], PrivateKeyDer::from_pem_file(both)?)?;
    Ok(Arc::new(config))
}
