//! Any bytes as an endpoint's answer, in any pieces: never a panic, the pieces change nothing, and what our client
//! accepts hyper's reads with the same status, fields, body and trailers.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// Status lines that save the fuzzer the way there.
const STARTS: [&[u8]; 4] = [
    b"",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: ",
];

fuzz_target!(|data: (bool, u8, Vec<u16>, &[u8])| {
    let (head, start, cuts, bytes) = data;
    let answer = [STARTS[usize::from(start % 4)], bytes].concat();
    let cuts: Vec<usize> = cuts.into_iter().take(64).map(usize::from).collect();
    kelisim::forward::fuzz::answer(&answer, &cuts, head);
});
