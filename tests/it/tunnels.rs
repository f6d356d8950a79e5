//! WebSockets: switched by both sides or by none, then bytes both ways.

use std::net::TcpStream;

use tokio_tungstenite::tungstenite::client::client;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};

use crate::support::client::{Client, Wire};
use crate::support::tls::Certificate;
use crate::support::wire::Reader;
use crate::support::{Answer, Gateway, HOST, Origin, Protocol, Visitor, ask, noise, wait_for};

/// The bytes of a head that was read, and then the rest of the connection.
struct Replayed {
    head: Vec<u8>,
    inner: TcpStream,
}

impl std::io::Read for Replayed {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.head.is_empty() {
            return self.inner.read(into);
        }
        let n = self.head.len().min(into.len());
        into[..n].copy_from_slice(&self.head[..n]);
        self.head.drain(..n);
        Ok(n)
    }
}

impl std::io::Write for Replayed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A site that echoes every message and answers a close.
fn echo() -> Origin {
    Origin::raw(|mut connection| {
        let Ok(Some(seen)) = connection.head() else { return };
        connection.record(&seen);
        let mut head = format!("{} {} HTTP/1.1\r\n", seen.method, seen.target);
        seen.headers.0.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        let inner = connection.reader.get_mut().try_clone().unwrap();
        let mut socket = accept(Replayed { head: (head + "\r\n").into_bytes(), inner }).expect("a WebSocket");
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).unwrap();
            }
        }
    })
}

fn open(gateway: &Gateway) -> WebSocket<Box<dyn Wire>> {
    let wire = gateway.client().into_wire();
    let (socket, answer) = client("ws://kz.example/socket?room=1", wire).expect("a WebSocket");
    assert_eq!(answer.status(), 101);
    assert!(answer.headers().contains_key("x-request-id"), "{answer:?}");
    socket
}

#[test]
fn a_websocket_echoes_small_and_large_messages_and_closes() {
    let origin = echo();
    let gateway = Gateway::of(&origin);
    let mut socket = open(&gateway);
    let seen = origin.last();
    assert_eq!((seen.target.as_str(), seen.headers.one("upgrade")), ("/socket?room=1", Some("websocket")));
    for message in [
        Message::text("сәлем"),
        Message::binary(noise(1)),
        Message::binary(noise(70_000)),
        Message::binary(noise(3 << 20)),
    ] {
        socket.send(message.clone()).expect("sent");
        assert!(socket.read().expect("echoed") == message);
    }
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).expect("closing");
    let answer = socket.read().expect("a close");
    assert!(matches!(&answer, Message::Close(Some(frame)) if frame.code == CloseCode::Normal), "{answer:?}");
    drop(socket);
    assert_eq!(gateway.record("/socket")["http.response.status_code"], 101);
}

#[test]
fn advertising_cookies_do_not_slip_through_with_a_websocket() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let origin = echo();
    let gateway = Gateway::of(&origin);
    let mut request = "ws://kz.example/socket".into_client_request().unwrap();
    request.headers_mut().insert("cookie", "_fbp=1; sessionid=2".parse().unwrap());
    drop(client(request, gateway.client().into_wire()).expect("a WebSocket"));
    assert_eq!(origin.last().cookies(), "sessionid=2");
}

#[test]
fn a_site_may_refuse_to_switch() {
    let origin = Origin::start(|_| Answer::new(403).body("no sockets here"));
    let gateway = Gateway::of(&origin);
    let mut visitor = gateway.client();
    let reply = visitor.fetch(
        &ask("GET", "/socket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    );
    assert_eq!((reply.status, reply.text().as_str()), (403, "no sockets here"));
    assert_eq!(visitor.get("/next").status, 403, "the connection goes on");
}

/// A client that is still sending when its tunnel is refused has to hear of the end before it stops: the gateway reads on
/// for longer than the test waits.
#[test]
fn the_end_of_a_connection_whose_tunnel_was_refused_is_told_at_once() {
    let origin = Origin::start(|_| Answer::new(403).body("no sockets here"));
    let builder = Gateway::build(&[&origin]).key("timeouts.linger", "\"1m\"");
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&certificate.config()).start();
    let encrypted = Client::connect_tls(gateway.addresses[1], certificate.client(&[]), HOST);
    for mut client in [gateway.client(), encrypted.expect("a connection")] {
        client.send(format!(
            "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\nframes"
        ));
        assert_eq!(client.read().status, 403);
        assert!(client.is_closed());
    }
}

#[test]
fn other_upgrades_are_plain_requests() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    for (connection, upgrade) in [
        ("Upgrade, HTTP2-Settings", "h2c"),
        ("upgrade", "TLS/1.0"),
        ("keep-alive", "websocket"),
        ("upgrade", ""),
    ] {
        let reply = gateway.client().fetch(
            &ask("GET", "/")
                .header("Connection", connection)
                .header("Upgrade", upgrade)
                .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        );
        assert_eq!(reply.status, 200, "{upgrade}");
        assert!(!origin.last().headers.has("upgrade"), "{upgrade}");
    }
}

#[test]
fn a_switch_that_nobody_asked_for_is_no_switch() {
    let origin = Origin::raw(|mut connection| {
        let _ = connection.request();
        let _ = connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nsmuggled",
        );
    });
    let gateway = Gateway::of(&origin);
    for protocol in Protocol::ALL {
        let reply = Visitor::new(&gateway, protocol).fetch(ask("GET", "/"));
        assert_eq!(reply.status, 502);
        assert!(!reply.text().contains("smuggled"));
    }
}

#[test]
fn the_end_of_one_side_is_the_end_of_the_tunnel() {
    let origin = echo();
    let gateway = Gateway::of(&origin);
    let socket = open(&gateway);
    wait_for("a tunnel", || {
        (gateway.metric("kelisim_connections", &["state=\"tunnel\""]) == 1.0).then_some(())
    });
    drop(socket);
    wait_for("its end", || {
        (gateway.metric("kelisim_connections", &["state=\"tunnel\""]) == 0.0).then_some(())
    });
    let socket = open(&gateway);
    origin.hang_up();
    let mut reader = Reader::new(socket.into_inner());
    assert_eq!(reader.rest().expect("the end"), b"");
}

#[test]
fn an_idle_tunnel_is_closed() {
    let origin = echo();
    let gateway = Gateway::build(&[&origin]).key("timeouts.upgrade_idle", "\"300ms\"").start();
    let mut reader = Reader::new(open(&gateway).into_inner());
    assert_eq!(reader.rest().expect("the end"), b"");
}

#[test]
fn a_tunnel_lives_through_a_drain_until_it_ends() {
    let origin = echo();
    let mut gateway = Gateway::of(&origin);
    let mut socket = open(&gateway);
    gateway.term();
    gateway.wait_for_log(0, "the drain", |line| line.contains("draining"));
    wait_for("the port to close", || TcpStream::connect(gateway.addresses[0]).err());
    socket.send(Message::text("still here")).expect("sent");
    assert_eq!(socket.read().expect("echoed"), Message::text("still here"));
    drop(socket);
    assert_eq!(gateway.wait().code(), Some(0));
}
