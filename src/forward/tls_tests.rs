//! Certificates that are trusted, and those that are not.

use std::path::PathBuf;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::Protocol;

fn local<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// A certificate in files.
struct Made {
    files: config::Tls,
    der: CertificateDer<'static>,
}

fn make(folder: &Path, name: &str) -> Made {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = |end: &str| -> PathBuf { folder.join(format!("{name}.{end}")) };
    std::fs::write(path("pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let files = config::Tls { certificate: path("pem"), key: path("key") };
    Made { files, der: made.cert.der().clone() }
}

/// A server with that certificate; asks for one of `clients` if there is one.
async fn server(of: &Made, alpn: &[&[u8]], clients: Option<&Made>) -> std::net::SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_file(&of.files.key).unwrap();
    let mut config = builder.with_single_cert(vec![of.der.clone()], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let accepted = acceptor.accept(stream);
            tokio::task::spawn_local(async move {
                use tokio::io::AsyncWriteExt;
                if let Ok(mut stream) = accepted.await {
                    let _ = stream.write_all(b"x").await;
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

const PLAIN: config::UpstreamTls =
    config::UpstreamTls { ca: None, server_name: None, client: None, verify: true };

/// A handshake with `app.example`, and the first byte behind it: with TLS 1.3 a server refuses a client after it.
async fn handshake(
    address: std::net::SocketAddr,
    tls: &config::UpstreamTls,
    protocol: Protocol,
) -> Result<(), Reason> {
    use tokio::io::AsyncReadExt;
    let dialer = ClientTls::load(tls, protocol).unwrap().dialer("app.example");
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = dialer.handshake(stream).await.map_err(|refusal| refusal.reason())?;
    stream.read_u8().await.map(drop).map_err(|_| Reason::UpstreamClosed)
}

#[test]
fn only_the_right_name_of_a_trusted_certificate_is_taken() {
    local(async {
        let folder = tempfile::tempdir().unwrap();
        let (app, other) = (make(folder.path(), "app.example"), make(folder.path(), "other.example"));
        let trusting =
            |made: &Made| config::UpstreamTls { ca: Some(made.files.certificate.clone()), ..PLAIN };
        let at = server(&app, &[], None).await;
        assert_eq!(handshake(at, &trusting(&app), Protocol::Http1).await, Ok(()));
        assert_eq!(handshake(at, &trusting(&other), Protocol::Http1).await, Err(Reason::UpstreamCertificate));
        let at = server(&other, &[], None).await;
        assert_eq!(handshake(at, &trusting(&other), Protocol::Http1).await, Err(Reason::UpstreamCertificate));
        let named = config::UpstreamTls { server_name: Some("other.example".into()), ..trusting(&other) };
        assert_eq!(handshake(at, &named, Protocol::Http1).await, Ok(()));
        let unverified = config::UpstreamTls { verify: false, ..PLAIN };
        assert_eq!(handshake(at, &unverified, Protocol::Http1).await, Ok(()));
    });
}

#[test]
fn http2_must_be_agreed_upon() {
    local(async {
        let folder = tempfile::tempdir().unwrap();
        let app = make(folder.path(), "app.example");
        let tls = config::UpstreamTls { ca: Some(app.files.certificate.clone()), ..PLAIN };
        let none = server(&app, &[], None).await;
        assert_eq!(handshake(none, &tls, Protocol::Http1).await, Ok(()));
        assert_eq!(handshake(none, &tls, Protocol::Http2).await, Err(Reason::UpstreamTls));
        let both = server(&app, &[b"h2", b"http/1.1"], None).await;
        assert_eq!(handshake(both, &tls, Protocol::Http1).await, Ok(()));
        assert_eq!(handshake(both, &tls, Protocol::Http2).await, Ok(()));
        let old = server(&app, &[b"http/1.1"], None).await;
        assert_eq!(handshake(old, &tls, Protocol::Http2).await, Err(Reason::UpstreamTls));
    });
}

#[test]
fn the_gateway_shows_its_certificate() {
    local(async {
        let folder = tempfile::tempdir().unwrap();
        let (app, own) = (make(folder.path(), "app.example"), make(folder.path(), "gateway.example"));
        let at = server(&app, &[], Some(&own)).await;
        let tls = config::UpstreamTls { ca: Some(app.files.certificate.clone()), ..PLAIN };
        assert!(handshake(at, &tls, Protocol::Http1).await.is_err());
        let showing = config::UpstreamTls { client: Some(own.files.clone()), ..tls };
        assert_eq!(handshake(at, &showing, Protocol::Http1).await, Ok(()));
    });
}

#[test]
fn files_that_cannot_be_used_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (app, other) = (make(folder.path(), "app.example"), make(folder.path(), "other.example"));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let load = |tls: config::UpstreamTls| ClientTls::load(&tls, Protocol::Http1);
    let ca = |path: &Path| config::UpstreamTls { ca: Some(path.to_owned()), ..PLAIN };
    assert!(matches!(load(ca(&folder.path().join("missing.pem"))), Err(TlsError::Read { .. })));
    assert!(matches!(load(ca(&empty)), Err(TlsError::Pem { what: "certificate", .. })));
    assert!(matches!(load(ca(&app.files.key)), Err(TlsError::Pem { what: "certificate", .. })));
    let mixed = config::Tls { certificate: app.files.certificate.clone(), key: other.files.key };
    let mixed = config::UpstreamTls { client: Some(mixed), ..ca(&app.files.certificate) };
    assert!(matches!(load(mixed), Err(TlsError::Refused(_))));
}

#[test]
fn a_changed_file_is_another_trust() {
    let folder = tempfile::tempdir().unwrap();
    let app = make(folder.path(), "app.example");
    let tls = config::UpstreamTls { ca: Some(app.files.certificate.clone()), ..PLAIN };
    let load = || ClientTls::load(&tls, Protocol::Http1).unwrap();
    let first = load();
    assert!(first.same(&load()));
    assert!(!first.same(&ClientTls::load(&tls, Protocol::Http2).unwrap()));
    make(folder.path(), "app.example");
    assert!(!first.same(&load()));
}
