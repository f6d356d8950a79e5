//! Events that arrive one by one, and WebSockets, with servers that nobody here wrote.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client::{IntoClientRequest as _, client};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::site::{Believes, Site, Tls};
use crate::support::browser::Browser;
use crate::support::server::{Server, python_with};
use crate::support::{ask, noise};

#[test]
fn events_arrive_one_by_one() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let gateway = site.server.gateway();
    let mut http1 = gateway.client();
    http1.send("GET /events HTTP/1.1\r\nHost: kz.example\r\nAccept: text/event-stream\r\n\r\n");
    let head = http1.read_head();
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    in_turn(
        || http1.read_chunk().filter(|chunk| !chunk.is_empty()),
        || drop(gateway.client().get("/permit")),
    );
    let mut http2 = gateway.http2().open(&ask("GET", "/events").header("accept", "text/event-stream"));
    assert_eq!((http2.reply.status, http2.reply.header("content-type")), (200, "text/event-stream"));
    in_turn(|| http2.next().map(|bytes| bytes.to_vec()), || drop(gateway.client().get("/permit")));
}

/// Each event must be there before the next one is permitted.
fn in_turn(mut next: impl FnMut() -> Option<Vec<u8>>, permit: impl Fn()) {
    for number in 1..=5 {
        let expected = format!("id: {number}\ndata: event {number}\n\n");
        let mut event = Vec::new();
        while event.len() < expected.len() {
            event.extend(next().expect("an event"));
        }
        assert_eq!(String::from_utf8_lossy(&event), expected);
        permit();
    }
    while let Some(more) = next() {
        assert_eq!(more, b"", "after the last event");
    }
}

#[test]
fn a_browser_gets_events_one_by_one() {
    let Some(mut browser) = Browser::start() else { return };
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let gateway = site.server.build_gateway().hosts(&["127.0.0.1"]).start();
    browser.open(&format!("http://{}/seen", gateway.addresses[0]));
    browser.evaluate(
        "window.got = []; window.source = new EventSource('/events');
         source.onmessage = e => got.push(e.lastEventId + ':' + e.data); source.onerror = () => source.close(); 1",
    );
    let mut got = Vec::new();
    for number in 1..=5 {
        got.push(format!("{number}:event {number}"));
        browser.wait_until(&format!("got.length >= {number}"));
        assert_eq!(browser.evaluate("got"), Value::from(got.clone()));
        assert_eq!(browser.evaluate("fetch('/permit').then(r => r.text())"), "go on");
    }
    browser.wait_until("source.readyState === EventSource.CLOSED");
}

#[test]
fn a_websocket_server_of_others_echoes_through_the_gateway() {
    let folder = TempDir::new().unwrap();
    let Some(server) = echo(&folder) else { return };
    let gateway = server.gateway();
    let mut request = "ws://kz.example/room?id=1".into_client_request().unwrap();
    for (name, value) in [
        ("cookie", "_fbp=1; sessionid=\"a=b, c\"; _gcl_au=2"),
        ("origin", "https://kz.example"),
        ("sec-websocket-protocol", "chat.v1, chat.v2"),
        ("x-forwarded-for", "203.0.113.9"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (mut socket, answer) = client(request, gateway.client().into_wire()).expect("a WebSocket");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat.v2");
    socket.send(Message::text("headers")).expect("sent");
    let seen: Value = serde_json::from_str(socket.read().expect("headers").to_text().unwrap()).unwrap();
    assert_eq!(seen["cookie"], "sessionid=\"a=b, c\"", "{seen}");
    assert_eq!(
        (&seen["host"], &seen["origin"]),
        (&"kz.example".into(), &"https://kz.example".into()),
        "{seen}"
    );
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1", "{seen}");
    for message in [
        Message::text(""),
        Message::text("сәлем"),
        Message::binary(noise(126)),
        Message::binary(noise(70_000)),
        Message::binary(noise(10 << 20)),
    ] {
        socket.send(message.clone()).expect("sent");
        assert!(socket.read().expect("echoed") == message, "{} bytes", message.len());
    }
    socket.send(Message::Ping("are you there".into())).expect("sent");
    assert_eq!(socket.read().expect("an answer"), Message::Pong("are you there".into()));
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).expect("closing");
    let closed = socket.read().expect("a close");
    assert!(matches!(&closed, Message::Close(Some(frame)) if frame.code == CloseCode::Normal), "{closed:?}");
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)), "and then the end");
    assert_eq!(gateway.record("/room")["http.response.status_code"], 101);
}

#[test]
fn a_browser_talks_over_a_websocket() {
    let folder = TempDir::new().unwrap();
    let Some(mut browser) = Browser::start() else { return };
    let Some(server) = echo(&folder) else { return };
    let gateway = server.build_gateway().hosts(&["127.0.0.1"]).start();
    let address = gateway.addresses[0];
    browser.open(&format!("http://{address}/"));
    assert_eq!(browser.evaluate("document.body.innerText"), "a page");
    browser.evaluate("document.cookie = '_fbp=1; path=/'; document.cookie = 'sessionid=abc; path=/'");
    let opened = browser.evaluate(&format!(
        "new Promise((done, failed) => {{
           window.socket = new WebSocket('ws://{address}/room', ['chat.v2']);
           window.ask = message => new Promise(r => {{ socket.onmessage = e => r(e.data); socket.send(message) }});
           socket.binaryType = 'arraybuffer'; socket.onerror = failed;
           socket.onopen = () => done([socket.protocol, socket.extensions]); }})"
    ));
    assert_eq!(opened[0], "chat.v2");
    // The browser's compression is agreed between the two ends; the tunnel carries it unseen.
    assert!(opened[1].as_str().is_some_and(|e| e.starts_with("permessage-deflate")), "{opened}");
    let seen = browser.evaluate("ask('headers').then(JSON.parse)");
    assert_eq!(
        (&seen["cookie"], &seen["origin"]),
        (&"sessionid=abc".into(), &format!("http://{address}").into())
    );
    assert_eq!(browser.evaluate("ask('сәлем')"), "сәлем");
    assert_eq!(browser.evaluate("ask('x'.repeat(1 << 20)).then(t => t === 'x'.repeat(1 << 20))"), true);
    let bytes = "ask(Uint8Array.from({ length: 200000 }, (_, i) => i * 7)).then(b =>
        new Uint8Array(b).every((v, i) => v === (i * 7) % 256) && b.byteLength)";
    assert_eq!(browser.evaluate(bytes), 200_000);
    let closed = browser.evaluate(
        "new Promise(r => { socket.onclose = e => r([e.code, e.reason, e.wasClean]); socket.close(3001, 'done') })",
    );
    assert_eq!(closed, serde_json::json!([3001, "done", true]));
}

fn echo(folder: &TempDir) -> Option<Server> {
    let python = python_with("websockets.sync.server")?;
    let script = folder.path().join("echo.py");
    std::fs::write(&script, include_str!("echo.py")).expect("written");
    Some(Server::telling(Command::new(python).arg(script).env("PYTHONDONTWRITEBYTECODE", "1")))
}
