//! WebSocket tunnels, through hyper's server as in the gateway.

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::origin::{Origin, ok};
use super::{get, local, upstreams};
use crate::error::{Reason, Refusal};
use crate::forward::tunnel::{TunnelEnd, TunnelReason, tunnel};
use crate::forward::{AnswerBody, RequestBody, Upstreams};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

fn upgrade_request() -> Request<RequestBody> {
    let mut request = get("/ws");
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    request
}

/// A small gateway for one connection; gives the client's socket and the end of the tunnel.
async fn gateway(upstreams: Rc<Upstreams>, idle: Duration) -> (TcpStream, oneshot::Receiver<TunnelEnd>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let (end, ended) = oneshot::channel();
    let end = Rc::new(std::cell::Cell::new(Some(end)));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (upstreams, end) = (Rc::clone(&upstreams), Rc::clone(&end));
        async move {
            let below = hyper::upgrade::on(&mut request);
            let answer = upstreams.send(&mut upgrade_request(), None).await.map_err(|error| error.refusal)?;
            let above = answer.upgrade.expect("a 101");
            tokio::task::spawn_local(async move {
                end.take().unwrap().send(tunnel(below, above, idle).await).unwrap();
            });
            Ok::<Response<AnswerBody>, Refusal>(answer.response)
        }
    });
    tokio::task::spawn_local(async move {
        let served =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        served.with_upgrades().await.unwrap();
    });
    (client, ended)
}

async fn open(client: &mut TcpStream) {
    client
        .write_all(b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn bytes_pass_both_ways_and_each_side_may_end_first() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            // The first bytes of the tunnel come with the head.
            peer.say(&format!("{SWITCH}hello")).await;
            let asked = peer.until("ping").await;
            peer.say(&asked).await;
            peer.gone().await;
            peer.say("bye").await;
            peer.finish().await;
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        let (mut client, ended) = gateway(Rc::clone(&upstreams), Duration::from_secs(20)).await;
        open(&mut client).await;
        client.write_all(b"ping").await.unwrap();
        let mut seen = [0; 9];
        client.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"helloping");
        assert_eq!(upstreams.stats().next().unwrap().connections_active, 0, "a tunnel holds no place");
        client.shutdown().await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"bye");
        let end = ended.await.unwrap();
        assert_eq!(end, TunnelEnd { bytes_up: 4, bytes_down: 12, reason: TunnelReason::Closed });
    });
}

#[test]
fn large_messages_pass_whole() {
    local(async {
        const SIZE: usize = 1 << 20;
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.say(SWITCH).await;
            let all = peer.until("end").await;
            peer.say(&all).await;
            peer.finish().await;
            peer.gone().await;
        })
        .await;
        let (mut client, ended) = gateway(upstreams(&[&origin]), Duration::from_secs(20)).await;
        open(&mut client).await;
        let (mut reader, mut writer) = client.split();
        let mut sent: Vec<u8> = (0..SIZE).map(|i| b'a' + (i % 23) as u8).collect();
        sent.retain(|byte| *byte != b'e');
        sent.extend_from_slice(b"end");
        writer.write_all(&sent).await.unwrap();
        let mut seen = Vec::new();
        reader.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, sent);
        writer.shutdown().await.unwrap();
        assert_eq!(ended.await.unwrap().bytes_up, sent.len() as u64);
    });
}

#[test]
fn an_idle_tunnel_is_closed() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            peer.head().await;
            peer.say(SWITCH).await;
            peer.gone().await;
        })
        .await;
        let (mut client, ended) = gateway(upstreams(&[&origin]), Duration::from_millis(100)).await;
        open(&mut client).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(ended.await.unwrap().reason, TunnelReason::Idle);
    });
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer_and_its_connection_is_not_used_again() {
    local(async {
        let origin = Origin::start(|_, mut peer| async move {
            let mut asked = false;
            while let Some(head) = peer.head().await {
                // As node does: after a request for a tunnel it leaves a request with an odd method without an answer.
                if asked {
                    continue;
                }
                asked = head.contains("upgrade: websocket\r\n");
                assert_eq!(asked, head.starts_with("GET /ws"));
                peer.say(&ok("no")).await;
            }
        })
        .await;
        let upstreams = upstreams(&[&origin]);
        let answer = upstreams.send(&mut upgrade_request(), None).await.unwrap();
        assert!(answer.upgrade.is_none());
        assert_eq!(super::read(answer).await.unwrap().0, "no");
        let answer = upstreams.send(&mut get("/"), None).await.unwrap();
        assert!(!answer.reused);
        assert_eq!(super::read(answer).await.unwrap().0, "no");
        assert!(upstreams.send(&mut get("/"), None).await.unwrap().reused);
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn a_switch_to_another_protocol_is_refused() {
    local(async {
        let origin = Origin::saying("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n").await;
        let error = upstreams(&[&origin]).send(&mut upgrade_request(), None).await.err().unwrap();
        assert_eq!(error.refusal.reason(), Reason::UpstreamProtocol);
    });
}
