//! Who is the client: told by the connection, by a PROXY header, by trusted proxies; and by nobody else.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use crate::support::server::{Server, free_port};
use crate::support::tls::Certificate;
use crate::support::{Client, Gateway, HOST, Origin, Protocol, Visitor, ask, program, wait_for};

/// A gateway whose second listener demands PROXY headers.
fn gateway(origin: &Origin, lines: &str) -> Gateway {
    Gateway::build(&[origin]).listener(&format!("proxy_protocol = true\n{lines}")).start()
}

/// A connection that begins with these bytes.
fn introduced(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(header).unwrap();
    stream
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, body].concat()
}

fn four() -> Vec<u8> {
    // The checksum of the TLV is wrong, and nobody looks at it.
    vec![203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb, 0x03, 0, 4, 1, 2, 3, 4]
}

fn six() -> Vec<u8> {
    let mut body = vec![0; 36];
    body[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    body[15] = 7;
    body
}

/// The client sees the end before it is counted.
fn refusals_are_counted(gateway: &Gateway, count: f64) {
    wait_for("the counter", || {
        let counted = gateway.metric("kelisim_connections_rejected_total", &["reason=\"proxy_protocol\""]);
        assert!(counted <= count, "{counted}");
        (counted == count).then_some(())
    });
}

#[test]
fn a_proxy_header_tells_the_client() {
    let origin = Origin::pages();
    let gateway = gateway(&origin, "proxy_protocol_from = [\"127.0.0.0/8\"]");
    for (header, client) in [
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.8 ::1 1 2\r\n".to_vec(), "203.0.113.8"),
        (b"PROXY UNKNOWN ignored words\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &four()), "203.0.113.7"),
        (v2(0x21, 0x21, &six()), "2001:db8::7"),
        (v2(0x20, 0x11, &four()), "127.0.0.1"),
        (v2(0x20, 0, &[0; 4080]), "127.0.0.1"),
    ] {
        let mut client_of = Client::over_tcp(introduced(gateway.addresses[1], &header));
        for _ in 0..2 {
            assert_eq!(client_of.get("/").status, 200);
            assert_eq!(origin.last().headers.all("x-forwarded-for"), [client], "{header:?}");
        }
    }
    // On another listener it is no header but nonsense.
    let mut other = gateway.client();
    other.try_send(
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\nGET / HTTP/1.1\r\nHost: kz.example\r\n\r\n",
    );
    let answer = String::from_utf8_lossy(&other.read_to_end()).into_owned();
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(origin.count(), 16);
}

#[test]
fn without_a_good_proxy_header_there_is_no_connection() {
    let origin = Origin::pages();
    let gateway = gateway(&origin, "");
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    let beginnings: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nHost: kz.example\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0\0\0",
        b"PROXY TCP4 nonsense\r\nGET / HTTP/1.1\r\nHost: kz.example\r\n\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\nGET / HTTP/1.1\r\nHost: kz.example\r\n\r\n",
        long.as_bytes(),
        &v2(0x31, 0x11, &four()),
        &v2(0x21, 0x11, &[1, 2, 3]),
        // Declares more than 4 KiB: refused before it comes.
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff",
    ];
    for beginning in beginnings {
        let mut stream = introduced(gateway.addresses[1], beginning);
        let mut rest = Vec::new();
        // Bytes that nobody read may turn the close into a reset.
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        assert!(rest.is_empty(), "{beginning:?}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(origin.count(), 0);
    refusals_are_counted(&gateway, 9.0);
    let warned = gateway.log_lines().iter().any(|line| line.contains("listen[1].proxy_protocol_from"));
    assert!(warned, "everybody may claim any address, and that is told");
}

#[test]
fn a_slow_proxy_header_is_cut() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .listener("proxy_protocol = true")
        .key("timeouts.tls_handshake", "\"300ms\"")
        .start();
    for beginning in ["", "PROXY", "PROXY TCP4 203.0.113.7"] {
        let mut client = Client::over_tcp(introduced(gateway.addresses[1], beginning.as_bytes()));
        assert!(client.is_closed(), "{beginning:?}");
    }
    refusals_are_counted(&gateway, 3.0);
}

#[test]
fn only_listed_balancers_may_speak() {
    let origin = Origin::pages();
    let gateway = gateway(&origin, "proxy_protocol_from = [\"10.0.0.0/8\"]");
    let mut stream = TcpStream::connect(gateway.addresses[1]).unwrap();
    let _ = stream
        .write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\nGET / HTTP/1.1\r\nHost: kz.example\r\n\r\n");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    assert!(rest.is_empty());
    assert_eq!(origin.count(), 0);
    refusals_are_counted(&gateway, 1.0);
}

#[test]
fn tls_and_http_2_come_after_the_proxy_header() {
    let origin = Origin::pages();
    let builder = Gateway::build(&[&origin]);
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&format!("proxy_protocol = true\n{}", certificate.config())).start();
    for header in [b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n".to_vec(), v2(0x21, 0x11, &four())] {
        let stream = introduced(gateway.addresses[1], &header);
        let mut client = Client::over_tls(stream, certificate.client(&["http/1.1"]), HOST).unwrap();
        assert_eq!(client.get("/").status, 200);
        let seen = origin.last();
        assert_eq!(seen.headers.one("x-forwarded-for"), Some("203.0.113.7"));
        assert_eq!(seen.headers.one("x-forwarded-proto"), Some("https"));
    }
}

#[test]
fn clients_behind_a_balancer_are_counted_one_by_one() {
    let origin = Origin::pages();
    let gateway = Gateway::build(&[&origin])
        .listener("proxy_protocol = true")
        .key("limits.connections_per_client", "2")
        .start();
    let from = |last: u8| {
        let header = format!("PROXY TCP4 203.0.{last}.7 192.0.2.1 1 2\r\n");
        let mut client = Client::over_tcp(introduced(gateway.addresses[1], header.as_bytes()));
        let reply = client.try_fetch(&ask("GET", "/"));
        (client, reply.is_ok())
    };
    let open: Vec<_> = [1, 1, 2, 2, 3].into_iter().map(from).collect();
    assert!(open.iter().all(|(_, served)| *served));
    assert!(!from(1).1, "its third");
    wait_for("the counter", || {
        let counted = gateway.metric("kelisim_connections_rejected_total", &["reason=\"client_limit\""]);
        (counted >= 1.0).then_some(())
    });
}

#[test]
fn haproxy_tells_the_client_in_both_versions() {
    let Some(haproxy) = program("haproxy", &["/usr/sbin/haproxy"]) else { return };
    let origin = Origin::pages();
    let gateway = gateway(&origin, "proxy_protocol_from = [\"127.0.0.0/8\"]");
    for option in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let folder = TempDir::new().unwrap();
        let (address, path) = (free_port(), folder.path().join("haproxy.cfg"));
        let config = format!(
            "global\n  maxconn 50\ndefaults\n  mode tcp\n  timeout connect 30s\n  timeout client 60s\n  timeout server 60s\n\
             frontend in\n  bind {address}\n  unique-id-format %ci\n  default_backend out\n\
             backend out\n  server kelisim {} {option}\n",
            gateway.addresses[1]
        );
        std::fs::write(&path, config).unwrap();
        let server = Server::start(Command::new(&haproxy).arg("-db").arg("-f").arg(&path), address);
        // Another loopback address than that of HAProxy itself, so that they cannot be confused.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.connect(&server.address.into()).unwrap();
        let mut client = Client::over_tcp(socket.into());
        for _ in 0..3 {
            assert_eq!(client.get("/").status, 200, "{option}");
            assert_eq!(origin.last().headers.all("x-forwarded-for"), ["127.0.0.2"], "{option}");
        }
    }
}

const TRUSTING: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

/// Everything that a proxy might say; each field names another client.
fn everything() -> crate::support::client::Ask {
    ask("GET", "/")
        .header("x-forwarded-for", "6.6.6.6, 203.0.113.1, 10.0.0.9")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "a.example")
        .header("forwarded", "for=6.6.6.6, for=\"[2001:db8::2]:80\";proto=https;host=b.example")
        .header("forwarded", "for=10.0.0.9;proto=http")
        .header("cf-connecting-ip", "203.0.113.3")
        .header("true-client-ip", "203.0.113.4")
        .header("x-real-ip", "203.0.113.5")
}

#[test]
fn exactly_one_field_is_read_and_only_from_a_trusted_peer() {
    let origin = Origin::pages();
    for (from, chain, host) in [
        ("x-forwarded-for", "203.0.113.1, 10.0.0.9, 127.0.0.1", "a.example"),
        ("forwarded", "2001:db8::2, 10.0.0.9, 127.0.0.1", "b.example"),
        ("cf-connecting-ip", "203.0.113.3, 127.0.0.1", "a.example"),
        ("true-client-ip", "203.0.113.4, 127.0.0.1", "a.example"),
        ("x-real-ip", "203.0.113.5, 127.0.0.1", "a.example"),
    ] {
        let line = format!("client_address_from = {from:?}");
        let trusting = Gateway::build(&[&origin]).site(TRUSTING).site(&line).start();
        let untrusting = Gateway::build(&[&origin]).site(&line).start();
        for protocol in Protocol::ALL {
            assert_eq!(Visitor::new(&trusting, protocol).fetch(everything()).status, 200);
            let seen = origin.last();
            assert_eq!(seen.headers.all("x-forwarded-for"), [chain], "{from} over {protocol:?}");
            assert_eq!(seen.headers.all("x-forwarded-proto"), ["https"]);
            assert_eq!(seen.headers.all("x-forwarded-host"), [host]);
            let told = seen.headers.one("forwarded").unwrap();
            assert!(told.contains(&format!("host={host};proto=https")), "the same facts: {told}");
            assert_eq!(Visitor::new(&untrusting, protocol).fetch(everything()).status, 200);
            let seen = origin.last();
            assert_eq!(seen.headers.all("x-forwarded-for"), ["127.0.0.1"]);
            assert_eq!(seen.headers.all("forwarded"), ["for=127.0.0.1;host=kz.example;proto=http"]);
        }
    }
}

#[test]
fn a_malformed_forwarded_ends_the_walk_and_is_counted() {
    let origin = Origin::pages();
    let gateway =
        Gateway::build(&[&origin]).site(TRUSTING).site("client_address_from = \"forwarded\"").start();
    let mut client = gateway.client();
    let mut chain = |forwarded: &str| {
        client.fetch(&ask("GET", "/").header("Forwarded", forwarded));
        origin.last().headers.one("x-forwarded-for").unwrap().to_owned()
    };
    assert_eq!(chain("for=203.0.113.1, for=10.0.0.9"), "203.0.113.1, 10.0.0.9, 127.0.0.1");
    assert_eq!(chain("for=203.0.113.1, for=::1, for=10.0.0.9"), "10.0.0.9, 127.0.0.1");
    // A quote that the client left open does not hide it behind the proxy.
    assert_eq!(chain("for=\"6.6.6.6, for=203.0.113.1"), "203.0.113.1, 127.0.0.1");
    assert_eq!(chain("for=203.0.113.1, for=_hidden"), "127.0.0.1");
    let counted = gateway.metric("kelisim_ingress_dropped_headers_total", &["reason=\"malformed_chain\""]);
    assert_eq!(counted, 1.0);
}

#[test]
fn the_operators_own_field_gets_the_clients_address() {
    let origin = Origin::pages();
    origin.tolerate("x-real-ip");
    let gateway = Gateway::build(&[&origin]).site(TRUSTING).site("client_address_to = \"x-real-ip\"").start();
    for protocol in Protocol::ALL {
        let mut visitor = Visitor::new(&gateway, protocol);
        visitor.fetch(everything());
        assert_eq!(origin.last().headers.all("x-real-ip"), ["203.0.113.1"], "{protocol:?}");
        visitor.fetch(ask("GET", "/"));
        assert_eq!(origin.last().headers.all("x-real-ip"), ["127.0.0.1"], "written on every request");
    }
    let mut client = gateway.client();
    client.fetch(&ask("GET", "/").header("Connection", "X-Real-IP").header("X-Real-IP", "6.6.6.6"));
    assert_eq!(origin.last().headers.all("x-real-ip"), ["127.0.0.1"]);
}
