//! Collections of requests that others have gathered, against the real gateway.
//!
//! The invariant: the site sees exactly the requests that it should, each with one framing and no forbidden byte (its
//! harness reads strictly and suspects every field); a refused one it never sees, and what follows one neither. Where we
//! decide otherwise than a collection does the case stands in a table here, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use saphyr::{LoadableYamlNode as _, Yaml};

use crate::support::client::Client;
use crate::support::wire::End;
use crate::support::{Answer, Gateway, Origin, missing};

/// A folder of the collections, or `None` with a line that says what is skipped.
pub fn corpus(name: &str) -> Option<PathBuf> {
    let root =
        std::env::var_os("KELISIM_CORPORA").map_or_else(|| PathBuf::from("../shared/corpora"), PathBuf::from);
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: corpus {name} not found");
    if std::env::var_os("KELISIM_CORPORA").is_some() {
        missing(name);
    }
    None
}

/// Every request of the collections that are there as bytes, for tests that ask other servers about them.
pub fn requests() -> Vec<Vec<u8>> {
    let texts = |name: &str, extension: &str| {
        let files = corpus(name).into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|e| e == extension));
        files.sort();
        files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for text in texts("http-desync-guardian", "yaml") {
        let document = Yaml::load_from_str(&text).unwrap();
        all.extend(document.iter().filter_map(Yaml::as_sequence).flatten().map(|case| request(case).0));
    }
    assert!([0, 159].contains(&all.len()), "{} cases of http-desync-guardian", all.len());
    let before = all.len();
    for text in texts("llhttp/request", "md") {
        all.extend(cases(&text).iter().map(|case| with_host(&case.input)));
    }
    assert!([0, 166].contains(&(all.len() - before)), "{} cases of llhttp", all.len() - before);
    all
}

/// What a connection came to.
#[derive(Debug, Default)]
struct Outcome {
    /// Final statuses, in order.
    statuses: Vec<u16>,
    /// Method, target and body of what the site saw on its account.
    seen: Vec<(String, String, Vec<u8>)>,
}

/// A gateway with a site that names each request after the test case.
struct Bench {
    gateway: Gateway,
    origin: Origin,
    before: usize,
}

impl Bench {
    fn new() -> Self {
        let origin = Origin::start(|_| Answer::text("seen"));
        // What is not complete ends soon, and is never a request.
        let gateway = Gateway::build(&[&origin])
            .key("workers", "1")
            .key("timeouts.request_head", "\"200ms\"")
            .key("timeouts.request_body", "\"200ms\"")
            .key("timeouts.keep_alive", "\"200ms\"")
            .start();
        Self { gateway, origin, before: 0 }
    }

    /// Sends bytes and the end of them, reads all answers, and collects what the site saw.
    fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.tolerate_names(bytes);
        let mut client = self.gateway.client();
        client.try_send(bytes);
        let mut outcome = Outcome { statuses: statuses(&mut client), seen: Vec::new() };
        let seen = self.origin.seen();
        for seen in seen[self.before..].iter().filter(|seen| seen.end == End::Whole) {
            outcome.seen.push((seen.method.clone(), seen.target.clone(), seen.body.clone()));
        }
        self.before = seen.len();
        outcome
    }
}

impl Bench {
    /// Fields of any name may arrive, but none that belongs to a connection.
    fn tolerate_names(&self, bytes: &[u8]) {
        for line in bytes.split(|&b| b == b'\n') {
            let name = line.split(|&b| b == b':').next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            if !OF_THE_CONNECTION.contains(&name.as_str()) && !name.contains('_') {
                self.origin.tolerate(&name);
            }
        }
    }
}

const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The final statuses of everything that comes until the gateway closes.
fn statuses(client: &mut Client) -> Vec<u16> {
    let text = client.read_to_end();
    let text = String::from_utf8_lossy(&text);
    let lines = text.split("HTTP/1.").skip(1);
    lines.filter_map(|line| line.get(2..5)?.parse().ok()).filter(|&status| status >= 200).collect()
}

/// What is done with the first request of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The site sees it, unchanged in method and target, and then the second.
    Served,
    /// It is refused, and the second is never a request.
    Refused,
}
use Verdict::{Refused, Served};

#[test]
fn http_desync_guardian() {
    let Some(folder) = corpus("http-desync-guardian") else { return };
    let mut bench = Bench::new();
    let (mut count, mut tiers, mut wrong) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    let mut used = BTreeSet::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")) {
        let text = std::fs::read_to_string(path).unwrap();
        let document = Yaml::load_from_str(&text).unwrap();
        for case in document.iter().filter_map(Yaml::as_sequence).flatten() {
            count += 1;
            let name = case["name"].as_str().unwrap();
            let tier = case["expected"]["tier"].as_str().unwrap();
            *tiers.entry(tier.to_owned()).or_default() += 1;
            let difference = DESYNC.iter().find(|(case, ..)| *case == name);
            let expected =
                difference.map_or(if tier == "Compliant" { Served } else { Refused }, |found| found.1);
            used.extend(difference.map(|found| found.0));
            let (bytes, method, target) = request(case);
            let outcome = bench.send(&[&bytes[..], SECOND].concat());
            if let Some(what) = judge(&outcome, expected, &method, &target) {
                wrong.push(format!("{tier} {name:?}: {what}: {outcome:?}"));
            }
        }
    }
    assert_eq!(count, 159);
    assert_eq!(
        (tiers["Compliant"], tiers["Acceptable"], tiers["Ambiguous"], tiers["Severe"]),
        (28, 15, 58, 58)
    );
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    let unused: Vec<_> = DESYNC.iter().filter(|(case, ..)| !used.contains(case)).collect();
    assert!(unused.is_empty(), "no such case: {unused:?}");
}

const SECOND: &[u8] = b"GET /the-second HTTP/1.1\r\nHost: kz.example\r\nConnection: close\r\n\r\n";

/// A case as bytes, with the body that its framing asks for.
fn request(case: &Yaml<'_>) -> (Vec<u8>, String, String) {
    let text = |node: &Yaml<'_>| match node {
        Yaml::Value(value) => {
            value.as_str().map_or_else(|| value.as_integer().unwrap_or_default().to_string(), str::to_owned)
        }
        _ => String::new(),
    };
    let (method, target, version) = (text(&case["method"]), text(&case["uri"]), text(&case["version"]));
    let mut out = bytes(&method);
    out.push(b' ');
    out.extend(bytes(&target));
    if !version.is_empty() {
        out.push(b' ');
        out.extend(bytes(&version));
    }
    out.extend(b"\r\n");
    let empty = Vec::new();
    let headers = case["headers"].as_sequence().unwrap_or(&empty);
    let (mut chunked, mut length) = (false, 0);
    let mut has_host = false;
    for header in headers {
        let (name, value) = (text(&header["name"]), text(&header["value"]));
        chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        has_host |= name.eq_ignore_ascii_case("host");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(length);
        }
        // The site of these tests is another than theirs.
        let value = if name.eq_ignore_ascii_case("host") { "kz.example".to_owned() } else { value };
        out.extend(bytes(&name));
        out.extend(b": ");
        out.extend(bytes(&value));
        out.extend(b"\r\n");
    }
    if !has_host {
        out.extend(b"Host: kz.example\r\n");
    }
    out.extend(b"\r\n");
    if chunked {
        out.extend(b"3\r\nabc\r\n0\r\n\r\n");
    } else {
        out.extend(std::iter::repeat_n(b'x', length));
    }
    (out, method, target)
}

/// One byte for each character up to U+00FF, else UTF-8.
fn bytes(text: &str) -> Vec<u8> {
    if text.chars().all(|c| u32::from(c) < 256) {
        text.chars().map(|c| u32::from(c) as u8).collect()
    } else {
        text.as_bytes().to_vec()
    }
}

/// What is wrong with an outcome.
fn judge(outcome: &Outcome, expected: Verdict, method: &str, target: &str) -> Option<String> {
    let second = ("GET".to_owned(), "/the-second".to_owned(), Vec::new());
    let seen = &outcome.seen[..];
    let statuses = &outcome.statuses[..];
    let good = match expected {
        Served => {
            matches!(seen, [first, last] if first.0 == method && same(&first.1, target) && *last == second)
                && statuses == [200, 200]
        }
        Refused => seen.is_empty() && matches!(statuses, [400..=599]),
    };
    (!good).then(|| format!("not {expected:?}"))
}

/// The site's harness reads a target byte by byte.
fn same(seen: &str, target: &str) -> bool {
    seen == target || seen.chars().map(|c| u32::from(c) as u8).eq(target.bytes())
}

/// Cases on which we decide otherwise than their tier says (Compliant is served, everything else refused), and why.
const DESYNC: &[(&str, Verdict, &str)] = &[
    ("Get with a body and Content-Length:0", Served, "one framing, and it says that there is no body"),
    ("Get with a body and Content-Length", Served, "one framing; a body means nothing to GET, but it is one"),
    ("Get with a body and Transfer-Encoding", Served, "one framing, written anew"),
    ("Head with a body and Content-Length", Served, "one framing"),
    ("Head with a body and Transfer-Encoding", Served, "one framing, written anew"),
    ("Has a CL in GET", Served, "one framing"),
    ("Has a TE in GET", Served, "one framing, written anew"),
    ("Transfer_Encoding with underscore.", Served, "another name; removed by ingress.underscores"),
    ("Content_Length with underscore.", Served, "another name; removed by ingress.underscores"),
    ("Transfer-Encoding with multiple delimiters", Served, "another name; removed by ingress.underscores"),
    ("Transfer-Encoding with multiple hyphens", Served, "another name, which frames nothing"),
    ("Correct TE OK", Refused, "a coding beside chunked is not decoded here"),
    ("Transfer-Encoding: identity and chunked OK", Refused, "codings beside chunked are not decoded here"),
    ("Multiple transfer encoding headers in a single request OK", Refused, "one field, one coding"),
    ("TE with custom parameters OK", Refused, "chunked has no parameters (RFC 9112, section 7.1)"),
    ("Different Transfer-Encoding headers", Refused, "one field, one coding"),
    ("Different Transfer-Encoding headers combined", Refused, "codings beside chunked are not decoded here"),
    ("Transfer-Encoding with a param: chunked;custom_param", Refused, "chunked has no parameters"),
    ("Compliant URL", Refused, "a request target has no fragment (RFC 9112, section 3.2)"),
    ("Empty URI", Refused, "a request target is not empty (RFC 9112, section 3.2)"),
];

#[test]
fn llhttp_requests() {
    let Some(folder) = corpus("llhttp/request") else { return };
    let mut bench = Bench::new();
    let (mut count, mut skipped, mut wrong) = (0, 0, Vec::new());
    let mut used = BTreeSet::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in &files {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for case in cases(&std::fs::read_to_string(path).unwrap()) {
            count += 1;
            if case.paused {
                skipped += 1;
                continue;
            }
            let key = format!("{file}: {}", case.name);
            let difference = LLHTTP.iter().find(|(case, ..)| *case == key);
            used.extend(difference.map(|found| found.0));
            let outcome = bench.send(&with_host(&case.input));
            let expected = difference.map_or(if case.lenient { 0 } else { case.complete }, |found| found.1);
            let ends_well = outcome.statuses.iter().filter(|&&status| status == 200).count() == expected;
            let refused = case.error || case.lenient;
            let last_refused = outcome.statuses.last().is_some_and(|&status| status >= 400);
            if outcome.seen.len() != expected
                || !ends_well
                || (difference.is_none() && refused && !last_refused)
            {
                wrong.push(format!("{key:?} {} of {}: {outcome:?}", outcome.seen.len(), expected));
                continue;
            }
            // What the parser makes of a case that we decide otherwise is no measure.
            let said = if difference.is_some() { &[][..] } else { &case.requests };
            for (seen, said) in outcome.seen.iter().zip(said) {
                if seen.0 != said.0 || !same(&seen.1, &said.1) || seen.2.len() != said.2 {
                    wrong.push(format!("{key:?}: {seen:?} instead of {said:?}"));
                }
            }
        }
    }
    assert_eq!((count, skipped), (166, 14));
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    let unused: Vec<_> = LLHTTP.iter().filter(|(case, ..)| !used.contains(case)).collect();
    assert!(unused.is_empty(), "no such case: {unused:?}");
}

/// One case of the parser's tests.
#[derive(Debug, Default)]
struct Case {
    name: String,
    input: Vec<u8>,
    lenient: bool,
    paused: bool,
    error: bool,
    /// Messages that were read to their end.
    complete: usize,
    /// Method, target and length of the body of each.
    requests: Vec<(String, String, usize)>,
}

/// Reads the headings, inputs and expected events of a file.
fn cases(text: &str) -> Vec<Case> {
    let mut out = Vec::new();
    let mut case = Case::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix('#') {
            case.name = name.trim_start_matches('#').trim().to_owned();
        } else if line.starts_with("<!-- meta=") {
            case.lenient = line.contains("lenient");
            case.paused = line.contains("pause") || line.contains("skipBody");
        } else if line == "```http" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            case.input = unescape(&block.join("\n"));
        } else if line == "```log" {
            for event in lines.by_ref().take_while(|line| *line != "```") {
                case.error |= event.contains(" error code=");
                case.complete += usize::from(event.contains(" message complete"));
                note(&mut case.requests, event);
            }
            let name = case.name.clone();
            out.push(std::mem::replace(&mut case, Case { name, ..Case::default() }));
        }
    }
    out
}

fn note(requests: &mut Vec<(String, String, usize)>, event: &str) {
    let span = |kind: &str| Some(event.split_once(kind)?.1.strip_suffix('"')?.to_owned());
    if event.contains(" message begin") {
        requests.push(Default::default());
    } else if let Some(last) = requests.last_mut() {
        last.0.push_str(&span(" span[method]=\"").unwrap_or_default());
        last.1.push_str(&span(" span[url]=\"").unwrap_or_default());
        if event.contains(" span[body]=") {
            let length = event.split("len=").nth(1).and_then(|rest| rest.split(' ').next());
            last.2 += length.and_then(|n| n.parse::<usize>().ok()).unwrap_or_default();
        }
    }
}

/// The bytes of an input block.
fn unescape(block: &str) -> Vec<u8> {
    let text = block.replace("\\\n", "").replace('\n', "\r\n");
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let octal = rest.iter().skip(1).take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        let (byte, n) = match rest {
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b't', ..] => (b'\t', 2),
            [b'\\', b'f', ..] => (b'\x0c', 2),
            [b'\\', b'x', high, low, ..] => {
                let digit = |b: &u8| char::from(*b).to_digit(16).expect("a hexadecimal digit") as u8;
                (digit(high) << 4 | digit(low), 4)
            }
            [b'\\', ..] if octal > 0 => {
                (rest[1..=octal].iter().fold(0u8, |n, b| n.wrapping_mul(8).wrapping_add(b - b'0')), octal + 1)
            }
            [byte, ..] => (*byte, 1),
            [] => break,
        };
        out.push(byte);
        at += n;
    }
    out
}

/// Gives each head the site's `Host` instead of its own or none: the cases are about parsers, and know no sites.
fn with_host(input: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = input.split_inclusive(|&b| b == b'\n').collect();
    let is_host = |line: &&[u8]| line.len() > 5 && line[..5].eq_ignore_ascii_case(b"host:");
    let mut out = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if is_host(line) {
            out.extend(b"Host: kz.example\r\n");
            continue;
        }
        out.extend(*line);
        let words = line.split(|&b| b == b' ').count();
        let is_first = words > 2 && line.windows(6).any(|w| w == b" HTTP/") && line.ends_with(b"\r\n");
        if is_first && !lines[at + 1..].iter().take_while(|line| line.len() > 2).any(is_host) {
            out.extend(b"Host: kz.example\r\n");
        }
    }
    out
}

/// Cases in which the site sees another number of requests than the parser reads to their end, and why.
const LLHTTP: &[(&str, usize, &str)] = &[
    (
        "connection: No restart when keep-alive is off (1.0)",
        1,
        "closed after it; what follows is not looked at",
    ),
    (
        "connection: Resetting flags when keep-alive is off (1.0, lenient)",
        1,
        "closed after the first, as the strict case",
    ),
    (
        "connection: CRLF between requests, explicit `close`",
        1,
        "closed after it; what follows is not looked at",
    ),
    ("connection: CRLF between requests, explicit `close` followed by tab", 1, "closed after it"),
    (
        "connection: CRLF between requests, explicit `close` (lenient)",
        1,
        "closed after the first, as the strict case",
    ),
    (
        "connection: Setting a flag and pausing",
        1,
        "the pause for an upgrade is no error: there is none, and it is served",
    ),
    ("invalid: HTTP protocol and ANNOUNCE method", 1, "methods are tokens; the site knows its own"),
    ("invalid: Invalid method", 1, "methods are tokens; the site knows its own"),
    ("lenient-headers: Second request header value (lenient)", 1, "the first is good, the second refused"),
    ("method: CONNECT request", 0, "CONNECT is not served"),
    ("method: CONNECT request with CAPS", 0, "CONNECT is not served"),
    ("method: CONNECT with body", 0, "CONNECT is not served"),
    ("method: M-SEARCH request", 0, "`*` is for OPTIONS alone"),
    ("method: SOURCE request with ICE", 0, "another protocol"),
    ("method: OPTIONS request with RTSP", 0, "another protocol"),
    ("method: ANNOUNCE request with RTSP", 0, "another protocol"),
    ("sample: No HTTP version", 0, "HTTP/0.9"),
    (
        "transfer-encoding: POST with `chunked` as last transfer-encoding",
        0,
        "codings beside chunked are not decoded",
    ),
    (
        "transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)",
        0,
        "one field, one coding",
    ),
    ("uri: Quotes in URI", 0, "not a byte of a target (RFC 3986, appendix A)"),
    ("uri: Host terminated by a query string", 0, "an absolute target must agree with Host"),
    ("uri: `host:port` terminated by a query string", 0, "an absolute target must agree with Host"),
    ("uri: `host:port` terminated by a space", 0, "an absolute target must agree with Host"),
    ("uri: Fragment in URI", 0, "a request target has no fragment (RFC 9112, section 3.2)"),
    ("uri: Underscore in hostname", 0, "CONNECT is not served"),
    ("uri: `host:port` and basic auth", 0, "an absolute target must agree with Host, and has no userinfo"),
];
