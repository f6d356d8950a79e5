//! Chunked bodies, good and bad, whole and in pieces.

use proptest::prelude::*;

use super::*;

/// The data and the trailers of a body that comes in pieces of `piece` bytes; what is left is given, too.
fn read(bytes: &[u8], piece: usize) -> Result<Option<(Vec<u8>, HeaderMap, usize)>, Malformed> {
    let mut decoder = Decoder::new(Follows::Chunked);
    let (mut input, mut data, mut trailers) = (BytesMut::new(), Vec::new(), HeaderMap::new());
    let mut came = 0;
    for piece in bytes.chunks(piece) {
        came += piece.len();
        input.extend_from_slice(piece);
        while let Some(frame) = decoder.decode(&mut input)? {
            match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.into_trailers().unwrap(),
            }
        }
        if decoder.ended() {
            return Ok(Some((data, trailers, bytes.len() - came + input.len())));
        }
    }
    Ok(None)
}

#[test]
fn chunks_are_joined_however_they_come() {
    let body = b"3;a=b;c=\"d\"\r\nabc\r\n0A \t\r\n0123456789\r\n000\r\nx: 1\r\ny: 2\r\n\r\nrest";
    for piece in 1..body.len() {
        let (data, trailers, left) = read(body, piece).unwrap().unwrap();
        assert_eq!(data, b"abc0123456789", "{piece}");
        assert_eq!((trailers.len(), left), (2, 4), "{piece}");
    }
}

#[test]
fn the_end_is_seen_with_the_last_data() {
    let mut decoder = Decoder::new(Follows::Chunked);
    let mut input = BytesMut::from(&b"1\r\nx\r\n0\r\n\r\n"[..]);
    assert!(decoder.decode(&mut input).unwrap().is_some());
    assert!(decoder.ended());
}

#[test]
fn what_is_cut_has_no_end() {
    let body = b"3\r\nabc\r\n0\r\nx: 1\r\n\r\n";
    for length in 0..body.len() {
        assert!(read(&body[..length.max(1)], 1).unwrap().is_none(), "{length}");
    }
}

#[test]
fn malformed_chunks_are_refused() {
    for bad in [
        "\r\n",
        ";a\r\n",
        " 1\r\nx\r\n",
        "-1\r\n",
        "0x1\r\nx\r\n",
        "1\nx\r\n",
        "1\rx\r\n",
        "1 1\r\nx\r\n",
        "1;a\nx\r\n",
        "1;a\0\r\nx\r\n",
        "1;a\rb\r\nx\r\n",
        "1\r\nxy\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx\r\r\n",
        "00000000000000001\r\nx\r\n",
        "10000000000000000\r\n",
        "g\r\n",
        "0\r\n x: y\r\n\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\nx: y\nz: a\r\n\r\n",
        "0\r\nx: y\n\nz: a\r\n\r\n",
        "0\r\nx: y\0\r\n\r\n",
        "0\r\nxy\r\n\r\n",
    ] {
        for piece in [1, 100] {
            assert_eq!(read(bad.as_bytes(), piece), Err(Malformed), "{bad:?}");
        }
    }
}

#[test]
fn bounds_hold() {
    let extension = |n| format!("1;{}\r\nx\r\n0\r\n\r\n", "y".repeat(n - 1));
    assert!(read(extension(EXTENSION_BYTES).as_bytes(), 1000).unwrap().is_some());
    assert_eq!(read(extension(EXTENSION_BYTES + 1).as_bytes(), 1000), Err(Malformed));
    let trailer = |n: usize| format!("0\r\nx: {}\r\n\r\n", "y".repeat(n - 7));
    assert!(read(trailer(TRAILER_BYTES).as_bytes(), 1000).unwrap().is_some());
    assert_eq!(read(trailer(TRAILER_BYTES + 1).as_bytes(), 1000), Err(Malformed));
    let many = |n| format!("0\r\n{}\r\n", "x: y\r\n".repeat(n));
    assert!(read(many(TRAILER_FIELDS).as_bytes(), 1000).unwrap().is_some());
    assert_eq!(read(many(TRAILER_FIELDS + 1).as_bytes(), 1000), Err(Malformed));
    let endless = "1;y\r\nx\r\n".repeat(EXTENSION_BYTES);
    assert_eq!(read(endless.as_bytes(), 1000), Err(Malformed));
}

proptest! {
    #[test]
    fn pieces_change_nothing(bytes in "(([0-3]|[;\r\n a:])|(\r\n)|(1\r\nx\r\n)|(0\r\n)){0,12}", piece in 1_usize..8) {
        prop_assert_eq!(read(bytes.as_bytes(), piece), read(bytes.as_bytes(), bytes.len().max(1)));
    }
}
