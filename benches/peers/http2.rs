//! One HTTP/2 request over TLS, for checks and for gathering visitor cookies.
//!
//! Never for timing. Bound: [`PATIENCE`] for all of it.

use std::net::SocketAddr;

use http::Version;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Fallible;
use crate::client::{Answer, PATIENCE};
use crate::tls::Certificate;
use crate::workload::{self, Request};

/// Connects, asks and waits for the whole answer.
pub(crate) fn exchange(
    address: SocketAddr,
    certificate: &Certificate,
    request: &Request<'_>,
) -> Fallible<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(address, certificate, request)).await? })
}

async fn ask(address: SocketAddr, certificate: &Certificate, request: &Request<'_>) -> Fallible<Answer> {
    let connector = TlsConnector::from(certificate.client("h2")?);
    let name = ServerName::try_from(workload::HOST)?;
    let stream = connector.connect(name, TcpStream::connect(address).await?).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2".as_slice()) {
        return Err("HTTP/2 was not agreed to".into());
    }
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let mut head = http::Request::builder()
        .version(Version::HTTP_2)
        .uri(format!("https://{}{}", request.host, request.target));
    for (name, value) in request.fields() {
        head = head.header(name, value);
    }
    let (answer, _) = sender.ready().await?.send_request(head.body(())?, true)?;
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status: head.status.as_u16(), head: text(&head.headers), body })
}

/// Fields as the other client has them.
fn text(headers: &http::HeaderMap) -> String {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    format!("HTTP/2\r\n{}", lines.collect::<String>())
}
