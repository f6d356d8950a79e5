//! Bodies much larger than the gateway may ever hold: its resident memory stays flat, whoever is slow.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use tempfile::TempDir;

use super::site::{Believes, Site, Tls};
use crate::support::server::{Server, nginx};
use crate::support::tls::Certificate;
use crate::support::wire::Reader;
use crate::support::{Client, Gateway, HOST, PATIENCE, ask, noise};

#[test]
fn a_download_of_a_gigabyte_leaves_memory_flat() {
    let folder = TempDir::new().unwrap();
    let Some(server) = sparse(&folder) else { return };
    let builder = server.build_gateway();
    let certificate = Certificate::write(builder.folder(), &[HOST]);
    let gateway = builder.listener(&certificate.config()).start();
    warm_up(&gateway);
    flat(&gateway, || {
        let mut client = gateway.client();
        client.send(format!("GET /sparse.bin HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        let reply = client.read_head();
        assert_eq!((reply.status, reply.header("content-length")), (200, "1073741824"));
        discard(&mut client, SPARSE);
        assert_eq!(client.get("/").status, 200, "the connection goes on");
    });
    flat(&gateway, || {
        let mut body = gateway.http2().open(&ask("GET", "/sparse.bin"));
        assert_eq!(body.reply.status, 200);
        let mut count = 0;
        while let Some(bytes) = body.next() {
            count += bytes.len();
        }
        assert_eq!(count, SPARSE);
    });
    // A part of it by TLS, which costs more time here than there.
    flat(&gateway, || {
        let config = certificate.client(&["http/1.1"]);
        let mut client = Client::connect_tls(gateway.addresses[1], config, HOST).expect("TLS");
        let range = format!("bytes=1000-{}", 999 + PART);
        client.send(format!("GET /sparse.bin HTTP/1.1\r\nHost: {HOST}\r\nRange: {range}\r\n\r\n"));
        let reply = client.read_head();
        assert_eq!((reply.status, reply.header("content-length")), (206, PART.to_string().as_str()));
        discard(&mut client, PART);
        assert_eq!(client.get("/").status, 200, "the connection goes on");
    });
}

#[test]
fn a_slow_reader_of_a_gigabyte_costs_no_memory() {
    let folder = TempDir::new().unwrap();
    let Some(server) = sparse(&folder) else { return };
    let gateway = server.gateway();
    warm_up(&gateway);
    flat(&gateway, || {
        let mut http1 = gateway.client();
        http1.send(format!("GET /sparse.bin HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        assert_eq!(http1.read_head().status, 200);
        let mut http2 = gateway.http2().open(&ask("GET", "/sparse.bin"));
        assert_eq!(http2.reply.status, 200);
        // Both read a little now and then; the site could send all of it in the meantime.
        for _ in 0..SIPS {
            assert!(http1.discard(PIECE) > 0);
            assert!(http2.next().is_some_and(|bytes| !bytes.is_empty()));
            std::thread::sleep(PAUSE);
        }
    });
}

#[test]
fn an_upload_of_a_hundred_megabytes_arrives_and_leaves_memory_flat() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let gateway = site.server.gateway();
    let block = noise(BLOCK);
    let expected = sha256(&block);
    let put = format!("PUT /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {UPLOAD}\r\n\r\n");
    let small = gateway.client().fetch(&ask("PUT", "/upload").body("x"));
    assert_eq!(small.json()["bytes"], 1);
    flat(&gateway, || {
        let mut client = gateway.client();
        client.send(&put);
        (0..BLOCKS).for_each(|_| client.send(&block));
        let answer = client.read().json();
        assert_eq!((&answer["bytes"], &answer["sha256"]), (&UPLOAD.into(), &expected.clone().into()));
    });
    // As a browser sends a file in a form.
    let (before, after) = (
        "--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"сурет.bin\"\r\n\r\n",
        "\r\n--b0undary--\r\n",
    );
    flat(&gateway, || {
        let mut client = gateway.client();
        let length = before.len() + UPLOAD + after.len();
        client.send(format!(
            "POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: multipart/form-data; boundary=b0undary\r\n\
             Content-Length: {length}\r\n\r\n{before}"
        ));
        (0..BLOCKS).for_each(|_| client.send(&block));
        client.send(after);
        let answer = client.read().json();
        assert_eq!((&answer["bytes"], &answer["sha256"]), (&UPLOAD.into(), &expected.clone().into()));
        assert_eq!(answer["name"], "сурет.bin");
    });
    flat(&gateway, || {
        let answer = gateway.http2().fetch(&ask("PUT", "/upload").body(block.repeat(BLOCKS))).json();
        assert_eq!((&answer["bytes"], &answer["sha256"]), (&UPLOAD.into(), &expected.clone().into()));
    });
}

#[test]
fn a_site_that_does_not_read_holds_up_the_sender_and_not_memory() {
    let Some(site) = Site::start(Believes::Gateway, Tls::Optional) else { return };
    let gateway = site.server.gateway();
    let block = noise(BLOCK);
    assert_eq!(gateway.client().fetch(&ask("PUT", "/upload").body("x")).json()["bytes"], 1);
    flat(&gateway, || {
        let mut stream = TcpStream::connect(gateway.addresses[0]).expect("connected");
        stream.set_write_timeout(Some(BLOCKED)).expect("a limit");
        write!(stream, "PUT /upload?wait HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {UPLOAD}\r\n\r\n")
            .expect("sent");
        let mut sent = 0;
        let send = |stream: &mut TcpStream, sent: &mut usize| -> std::io::Result<()> {
            while *sent < UPLOAD {
                *sent += stream.write(&block[*sent % BLOCK..])?;
            }
            Ok(())
        };
        send(&mut stream, &mut sent).expect_err("nobody reads");
        assert!(sent < UPLOAD / 2, "{sent} bytes went nowhere");
        assert_eq!(gateway.client().get("/permit").status, 200);
        stream
            .set_write_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .unwrap();
        send(&mut stream, &mut sent).expect("now it reads");
        let mut reader = Reader::new(stream);
        let head = reader.head().expect("an answer").expect("an answer before the end");
        assert!(head.line.starts_with("HTTP/1.1 200 "), "{}", head.line);
        let length = head.fields.one("content-length").and_then(|n| n.parse().ok()).expect("a length");
        let (body, _) = reader.exactly(length).expect("a body");
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&answer["bytes"], &answer["sha256"]), (&UPLOAD.into(), &sha256(&block).into()));
    });
}

/// Reads exactly so many bytes of a body.
fn discard(client: &mut Client, mut left: usize) {
    while left > 0 {
        let n = client.discard(PIECE.min(left));
        assert!(n > 0, "{left} bytes are missing");
        left -= n;
    }
}

/// nginx with a file of a gigabyte that takes no place.
fn sparse(folder: &TempDir) -> Option<Server> {
    let root = folder.path().join("site");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::File::create(root.join("sparse.bin")).unwrap().set_len(SPARSE as u64).unwrap();
    nginx(folder.path())
}

/// What is allocated for the first requests is allocated now; what large bodies need, is not.
fn warm_up(gateway: &Gateway) {
    for _ in 0..4 {
        assert_eq!(gateway.client().get("/").status, 200);
        assert_eq!(gateway.http2().fetch(&ask("GET", "/")).status, 200);
    }
}

/// Does the work while the gateway's resident memory is watched; it may not grow by more than [`GROWTH`].
fn flat(gateway: &Gateway, work: impl FnOnce()) {
    let resident = || gateway.metric("process_resident_memory_bytes", &[]);
    let before = resident();
    let done = AtomicBool::new(false);
    let peak = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = resident();
            while !done.load(SeqCst) {
                peak = peak.max(resident());
                std::thread::sleep(PAUSE);
            }
            peak
        });
        // The watch ends also if the work fails.
        let ending = Ending(&done);
        work();
        drop(ending);
        watch.join().expect("a peak")
    });
    let peak = peak.max(resident());
    eprintln!("resident memory: {:.1} MiB, at most {:.1}", before / MIB, peak / MIB);
    assert!(peak - before <= GROWTH, "from {:.1} MiB to {:.1}", before / MIB, peak / MIB);
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// The hash of the whole upload.
fn sha256(block: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    (0..BLOCKS).for_each(|_| context.update(block));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of the download.
const SPARSE: usize = 1 << 30;

/// Bytes of the part of it that is asked for by TLS.
const PART: usize = 128 << 20;

/// Bytes of one read.
const PIECE: usize = 64 << 10;

/// Bytes of one write.
const BLOCK: usize = 1_000_000;

/// Writes of an upload.
const BLOCKS: usize = 100;

/// Bytes of an upload, just below the default limit of a request body.
const UPLOAD: usize = BLOCK * BLOCKS;

/// Reads of a slow reader.
const SIPS: usize = 200;

/// Between two reads of a slow reader, and between two looks at memory.
const PAUSE: Duration = Duration::from_millis(5);

/// A write that takes so long is held up. If that is wrong, less was sent, and the test asks for less.
const BLOCKED: Duration = Duration::from_secs(1);

/// Bytes by which resident memory may grow: a thirtieth of the download.
const GROWTH: f64 = 32.0 * MIB;

const MIB: f64 = 1_048_576.0;
