//! The response cases of llhttp, played by a hostile endpoint.
//!
//! Where the corpus sees an error the caller gets none of it, or a body that visibly broke, and the connection is not
//! used again; everywhere else the first answer has the same body. Reviewed differences stand in [`REVIEWED`].

use std::path::PathBuf;

use http::Method;
use tokio::io::DuplexStream;

use super::local;
use super::play::{Script, Seen};
use crate::forward::wire::Http1;

/// Cases in the corpus, and how many of them this test plays.
const CASES: usize = 85;
const PLAYED: usize = 65;

/// The case, and why it is seen otherwise here.
const REVIEWED: [(&str, &str); 5] = [
    ("No carriage ret", LF),
    ("Only LFs present", LF),
    ("Only LFs present and no body", LF),
    ("Trailing space on chunked body", "blanks behind a size mean nothing, and endpoints pad with them"),
    ("No extension after semicolon", "an extension without a name is read and forgotten like any other"),
];
const LF: &str = "a bare LF ends a line of a head (RFC 9112 2.2): all of it is written anew";

struct Case {
    name: String,
    kind: String,
    bytes: Vec<u8>,
    log: String,
}

#[test]
fn llhttp_responses() {
    let corpora =
        std::env::var_os("KELISIM_CORPORA").map_or_else(|| PathBuf::from("../shared/corpora"), PathBuf::from);
    let folder = corpora.join("llhttp/response");
    let Ok(files) = std::fs::read_dir(&folder) else {
        assert!(std::env::var_os("KELISIM_REQUIRE").is_none(), "corpus llhttp not found");
        eprintln!("skipped: corpus llhttp not found");
        return;
    };
    let mut cases = Vec::new();
    for file in files {
        cases.extend(read(&std::fs::read_to_string(file.unwrap().path()).unwrap()));
    }
    assert_eq!(cases.len(), CASES);
    let plain = |case: &&Case| case.kind == "response" || case.kind == "response-finish";
    let (mut played, mut differ) = (0, Vec::new());
    for case in cases.iter().filter(plain) {
        played += 1;
        if let Err(why) = case.judge() {
            differ.push((case.name.clone(), why));
        }
    }
    assert_eq!(played, PLAYED);
    let reviewed: Vec<&str> = REVIEWED.iter().map(|(name, _)| *name).collect();
    let unknown: Vec<_> = differ.iter().filter(|(name, _)| !reviewed.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert_eq!(differ.len(), reviewed.len(), "a reviewed difference is none any more");
}

impl Case {
    /// Whether what is seen agrees with the log.
    fn judge(&self) -> Result<(), String> {
        let refused = self.log.contains(" error code=");
        let answers = self.answers().filter(|log| log.contains(" message complete")).count();
        let mut shorts = Vec::new();
        for script in [
            Script::whole(Method::GET, &self.bytes, true),
            Script::whole(Method::GET, &self.bytes, true).cut(&(0..self.bytes.len()).collect::<Vec<_>>()),
            Script::whole(Method::GET, &self.bytes, false),
        ] {
            // Without an end of input an answer that has none would be awaited for ever.
            if !script.ends && (answers == 0 || refused) {
                continue;
            }
            let seen = local(async { script.play::<Box<Http1<DuplexStream>>>().await });
            shorts.push(seen.short());
            match &seen {
                Seen::Whole(whole) => {
                    let first = self.first_body();
                    if refused && answers == 0 {
                        return Err(format!("accepted: {}", seen.short()));
                    }
                    if whole.body.len() != first {
                        return Err(format!("a body of {first} bytes: {}", seen.short()));
                    }
                    if (refused || answers > 1) && whole.again {
                        return Err(format!("used again: {}", seen.short()));
                    }
                }
                _ if refused || answers == 0 => {}
                Seen::Nothing(_) | Seen::Broken(_) => return Err(format!("not accepted: {}", seen.short())),
            }
        }
        if shorts.windows(2).any(|pair| {
            pair[0].trim_end_matches(" again").trim_end_matches(" closed")
                != pair[1].trim_end_matches(" again").trim_end_matches(" closed")
        }) {
            return Err(format!("pieces differ: {shorts:?}"));
        }
        Ok(())
    }

    /// The log of each answer that is not an interim one.
    fn answers(&self) -> impl Iterator<Item = &str> {
        let interim = |log: &&str| !log.contains("headers complete status=1") || log.contains("status=101");
        self.log.split(" message begin").skip(1).filter(interim)
    }

    /// The length of the body of the first answer.
    fn first_body(&self) -> usize {
        self.answers()
            .next()
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains(" span[body]="))
            .filter_map(|line| line.split("len=").nth(1)?.split(' ').next()?.parse::<usize>().ok())
            .sum()
    }
}

/// The cases of one file.
fn read(text: &str) -> Vec<Case> {
    let (mut cases, mut name, mut kind) = (Vec::new(), String::new(), String::new());
    let (mut block, mut input) = (None::<(bool, String)>, None::<String>);
    for line in text.lines() {
        match &mut block {
            None if line.starts_with("```http") => block = Some((true, String::new())),
            None if line.starts_with("```log") => block = Some((false, String::new())),
            None if line.starts_with('#') => name = line.trim_start_matches(['#', ' ']).to_owned(),
            None if line.starts_with("<!-- meta=") => {
                let meta = line.trim_start_matches("<!-- meta=").trim_end_matches("-->").trim();
                let meta: serde_json::Value = serde_json::from_str(meta).unwrap();
                let extra =
                    if meta.get("pause").is_some() || meta.get("skipBody").is_some() { "-pause" } else { "" };
                kind = format!("{}{extra}", meta["type"].as_str().unwrap());
            }
            None => {}
            Some((http, lines)) if line.starts_with("```") => {
                if *http {
                    input = Some(std::mem::take(lines));
                } else if let Some(input) = input.take() {
                    let log = std::mem::take(lines);
                    cases.push(Case { name: name.clone(), kind: kind.clone(), bytes: unescape(&input), log });
                }
                block = None;
            }
            Some((_, lines)) => {
                lines.push_str(line);
                lines.push('\n');
            }
        }
    }
    cases
}

/// The bytes that a block stands for.
fn unescape(block: &str) -> Vec<u8> {
    let text = block.strip_suffix('\n').unwrap_or(block).replace("\\\n", "").replace('\n', "\r\n");
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' || at + 1 == bytes.len() {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let number = |from: usize, length: usize, radix| {
            let digits = text.get(from..from + length)?;
            u8::from_str_radix(digits, radix).ok()
        };
        let (byte, length) = match bytes[at + 1] {
            b'r' => (b'\r', 2),
            b'n' => (b'\n', 2),
            b't' => (b'\t', 2),
            b'f' => (0x0c, 2),
            b'x' => (number(at + 2, 2, 16).unwrap(), 4),
            _ => match number(at + 1, 3, 8) {
                Some(byte) => (byte, 4),
                None => (b'\\', 1),
            },
        };
        out.push(byte);
        at += length;
    }
    out
}
