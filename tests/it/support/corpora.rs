//! Requests that others collected, read when the tests run; see the corpora's own licences.
//!
//! Nothing of them is kept here. A folder that is not there is skipped, and says so; a reader that finds another number
//! of cases than there are fails.

use std::path::PathBuf;

use super::{HOST, missing};

/// Requests as bytes, each with the test's host where it has none: http-desync-guardian and llhttp.
pub fn requests() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(folder) = folder("http-desync-guardian") {
        let cases: Vec<Vec<u8>> =
            texts(&folder, "yaml").iter().flat_map(|text| desync_guardian(text)).collect();
        assert_eq!(cases.len(), 159, "cases of http-desync-guardian");
        all.extend(cases);
    }
    if let Some(folder) = folder("llhttp") {
        let cases: Vec<Vec<u8>> =
            texts(&folder.join("request"), "md").iter().flat_map(|text| llhttp(text)).collect();
        assert_eq!(cases.len(), 166, "request cases of llhttp");
        all.extend(cases);
    }
    all.iter().map(|bytes| with_host(bytes)).collect()
}

fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KELISIM_CORPORA").map_or_else(|| "../shared/corpora".into(), PathBuf::from);
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: corpus {name} not found");
    if std::env::var_os("KELISIM_CORPORA").is_some() {
        missing(&format!("the corpus {name}"));
    }
    None
}

fn texts(folder: &std::path::Path, extension: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// As much of YAML as these files use: a list of maps with a list of maps inside.
fn desync_guardian(text: &str) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let (mut line, mut fields) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    let mut finish = |line: &mut [Vec<u8>; 3], fields: &mut Vec<u8>| {
        let [method, uri, version] = std::mem::take(line);
        let first = [method, uri, version].join(&b' ');
        out.push([&first[..], b"\r\n", &fields[..], b"\r\n"].concat());
        fields.clear();
    };
    let mut open = false;
    for row in text.lines() {
        let trimmed = row.trim_start();
        let depth = row.len() - trimmed.len();
        let Some((key, value)) = trimmed.trim_start_matches("- ").split_once(':') else { continue };
        let value = scalar(value.trim());
        match (depth, key) {
            (0, "name") => {
                if std::mem::replace(&mut open, true) {
                    finish(&mut line, &mut fields);
                }
            }
            (2, "method") => line[0] = value,
            (2, "uri") => line[1] = value,
            (2, "version") => line[2] = value,
            (3.., "name") if trimmed.starts_with('-') => {
                fields.extend(value);
                fields.extend(b": ");
            }
            (3.., "value") => {
                fields.extend(value);
                fields.extend(b"\r\n");
            }
            _ => {}
        }
    }
    if open {
        finish(&mut line, &mut fields);
    }
    out
}

fn scalar(text: &str) -> Vec<u8> {
    match text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) => unescape(inner),
        None => text.trim_matches('\'').as_bytes().to_vec(),
    }
}

/// Blocks fenced as `http` below a comment that says `request`.
fn llhttp(text: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for part in text.split("```http\n").skip(1) {
        let block = part.split("\n```").next().unwrap_or_default();
        let block = block.strip_suffix('\n').unwrap_or(block).replace("\\\n", "");
        out.push(unescape(&block.replace('\n', "\r\n")));
    }
    out
}

/// `\r`, `\n`, `\t`, `\f`, `\xHH`, octal `\NNN`; any other escaped character is itself.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.chars().peekable();
    let push = |out: &mut Vec<u8>, c: char| match u8::try_from(u32::from(c)) {
        Ok(byte) => out.push(byte),
        Err(_) => out.extend(c.to_string().bytes()),
    };
    while let Some(c) = rest.next() {
        if c != '\\' {
            push(&mut out, c);
            continue;
        }
        match rest.next() {
            Some('r') => out.push(b'\r'),
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('f') => out.push(0x0c),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
            }
            Some(first @ '0'..='7') => {
                let mut number = first.to_digit(8).unwrap();
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(8)).filter(|_| number < 32) {
                    number = number * 8 + digit;
                    rest.next();
                }
                out.push(number.to_le_bytes()[0]);
            }
            Some(other) => push(&mut out, other),
            None => out.push(b'\\'),
        }
    }
    out
}

fn with_host(bytes: &[u8]) -> Vec<u8> {
    let lower = bytes.to_ascii_lowercase();
    if memchr::memmem::find(&lower, b"\nhost").is_some() {
        return bytes.to_vec();
    }
    match memchr::memmem::find(bytes, b"\r\n") {
        Some(end) => {
            [&bytes[..end + 2], format!("Host: {HOST}\r\n").as_bytes(), &bytes[end + 2..]].concat()
        }
        None => bytes.to_vec(),
    }
}
