//! Clients that speak HTTP/1.0: what ends where the connection does, and what only seems to.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use super::support::{Answer, Gateway, Origin, PATIENCE};

/// What comes in answer to this target until the connection ends, and how it ends.
fn ask(gateway: &Gateway, target: &str) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(gateway.addresses[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {target} HTTP/1.0\r\nHost: kz.example\r\nConnection: keep-alive\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let error = loop {
        match stream.read(&mut piece) {
            Ok(0) => break None,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(error) => break Some(error.kind()),
        }
    };
    (String::from_utf8(bytes).unwrap(), error)
}

#[test]
fn an_answer_that_is_cut_never_looks_whole() {
    let origin = Origin::raw(|mut connection| {
        let Ok(Some(seen)) = connection.request() else { return };
        let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        let _ = connection.send(cut);
        if seen.target == "/stalled" {
            // Until the gateway gives up.
            let _ = connection.request();
        }
    });
    let gateway = Gateway::build(&[&origin]).key("timeouts.upstream_body", "\"300ms\"").start();
    for target in ["/cut", "/stalled"] {
        let (answer, error) = ask(&gateway, target);
        // Where nothing was sent yet, a 502 is as honest.
        let honest = error == Some(ErrorKind::ConnectionReset) || answer.contains(" 502 ");
        assert!(honest, "{target}: {error:?} after {answer:?}");
    }
}

#[test]
fn an_answer_of_unknown_length_ends_with_its_connection() {
    let origin = Origin::start(|_| Answer::new(200).chunked(["whole ", "answer"]));
    let gateway = Gateway::of(&origin);
    let (answer, error) = ask(&gateway, "/");
    assert_eq!(error, None);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "whole answer");
    let head = head.to_ascii_lowercase();
    let length = head.contains("content-length: 12");
    assert!(length || (head.contains("connection: close") && !head.contains("keep-alive")), "{head}");
}
