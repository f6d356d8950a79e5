//! Random answers, good and bad, in random pieces: ours and hyper's client see the same.

use http::Method;
use proptest::prelude::*;

use super::conformance::{ENDS, Ours, Reference, seen};
use super::play::{Script, Seen};

/// A valid answer, and pieces to send it in.
fn answers() -> impl Strategy<Value = Script> {
    let fields = prop::collection::vec(("[a-zA-Z][a-z0-9-]{0,9}", "[!-~\u{e0}]([ -~]{0,12}[!-~])?"), 0..6);
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 0..5);
    let shape =
        (0..4_u8, 0..3_usize, prop::sample::select(vec![200_u16, 206, 404, 500, 204, 304]), any::<bool>());
    let tail =
        (any::<bool>(), prop::option::of("[ -~]{1,9}"), prop::option::of("(;[a-z]{1,4}(=[a-z]{1,3})?){1,2}"));
    let pieces = prop::collection::vec(any::<usize>(), 0..12);
    (fields, chunks, shape, tail, pieces).prop_map(|(fields, chunks, shape, tail, pieces)| {
        let ((kind, interim, status, head), (close, extra, extension)) = (shape, tail);
        let mut bytes = b"HTTP/1.1 103 Early\r\nx: y\r\n\r\n".repeat(interim);
        bytes.extend_from_slice(format!("HTTP/1.{} {status} Why\r\n", u8::from(kind != 3)).as_bytes());
        for (name, value) in fields {
            bytes.extend_from_slice(format!("x-{name}: {value}\r\n").as_bytes());
        }
        if close {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        let body = chunks.concat();
        let bodiless = head || matches!(status, 204 | 304);
        match kind {
            0 => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks.iter().filter(|_| !bodiless) {
                    let extension = extension.as_deref().unwrap_or_default();
                    bytes.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                if !bodiless {
                    bytes.extend_from_slice(if close { b"0\r\nx-sum: 1\r\n\r\n" } else { b"0\r\n\r\n" });
                }
            }
            1 => bytes.extend_from_slice(b"\r\n"),
            _ => bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes()),
        }
        if kind > 0 && !bodiless {
            bytes.extend_from_slice(&body);
        }
        let delimited = kind == 1 && !bodiless;
        if !delimited {
            bytes.extend_from_slice(extra.as_deref().unwrap_or_default().as_bytes());
        }
        let method = if head { Method::HEAD } else { Method::GET };
        Script::whole(method, &bytes, delimited).cut(&pieces)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn valid_answers_are_read_as_hyper_reads_them(script in answers()) {
        let ours = seen::<Ours>(&script);
        prop_assert!(matches!(ours, Seen::Whole(_)), "{:?}", ours);
        prop_assert_eq!(ours, seen::<Reference>(&script));
    }
}

/// Pieces of answers in any order: mostly nonsense, sometimes nearly an answer.
fn nonsense() -> impl Strategy<Value = Script> {
    let tokens = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 103 Early\r\n\r\n",
        "content-length: 3\r\n",
        "content-length: 3, 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: chunked, \r\n",
        "connection: close\r\n",
        "x: y\r\n",
        "x:",
        " ",
        "\t",
        "\r",
        "\n",
        "\0",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "3\r\nabc\r\n",
        "3;a=b \r\nabc\r\n",
        "3 ",
        "0\r\n",
        "0\r\n\r\n",
        "abc",
        ";",
    ]);
    let start = prop::sample::select(vec![
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 None\r\n",
    ]);
    let bytes = (start, prop::collection::vec(tokens, 0..10));
    (bytes, prop::collection::vec(any::<usize>(), 0..12), any::<bool>()).prop_map(
        |((start, tokens), cuts, head)| {
            let method = if head { Method::HEAD } else { Method::GET };
            let bytes = start.to_owned() + &tokens.concat();
            Script::whole(method, bytes.as_bytes(), ENDS).cut(&cuts)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_accepted_is_what_hyper_sees_and_pieces_change_nothing(script in nonsense()) {
        let ours = seen::<Ours>(&script);
        prop_assert_eq!(&ours, &seen::<Ours>(&script.cut(&[])));
        if matches!(ours, Seen::Whole(_)) {
            prop_assert_eq!(ours, seen::<Reference>(&script));
        }
    }
}
