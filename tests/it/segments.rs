//! Closed journal files become segments that other tools read as far as they have keys.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Gateway, Origin, ask, cli, missing, program, wait_for};

/// The segments of a gateway whose earlier run ended, once they are there.
fn segments(gateway: &Gateway) -> Vec<PathBuf> {
    let folder = records(gateway).join("segments");
    wait_for("a segment", || {
        let manifest = std::fs::read_to_string(folder.join("MANIFEST")).unwrap_or_default();
        let lines = manifest.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let files: Vec<_> = lines.filter_map(|l| Some(folder.join(l["file"].as_str()?))).collect();
        (!files.is_empty()).then_some(files)
    })
}

fn records(gateway: &Gateway) -> PathBuf {
    let data = gateway.data();
    [data.join("records"), data].into_iter().find(|d| d.join("journal").is_dir()).expect("a journal")
}

/// A gateway whose first run's records are in segments.
fn with_segments() -> Gateway {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for n in 0..20 {
        let question = ask("GET", &format!("/interop/{n}")).header("user-agent", "SecretAgent/9 (unique)");
        client.fetch(&question);
    }
    gateway.record_count("/interop/19", 1);
    gateway.end_and_restart()
}

#[test]
fn records_are_the_same_when_they_have_become_segments() {
    let gateway = with_segments();
    let before = gateway.records();
    let files = segments(&gateway);
    assert_eq!(gateway.records(), before);
    assert_eq!(gateway.record("/interop/7")["url.path"], "/interop/7");
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        assert!(bytes.windows(9).any(|w| w == b"/interop/"));
        assert!(!bytes.windows(11).any(|w| w == b"SecretAgent"));
    }
    wait_for("the figures", || {
        let figure = |name| gateway.metric(name, &[]);
        (figure("kelisim_segments") >= 1.0 && figure("kelisim_segments_records_total") >= 20.0).then_some(())
    });
}

#[test]
fn other_tools_read_what_their_keys_open_and_nothing_else() {
    let Some(python) = program("python3", &[]) else { return };
    let packages = "import pyarrow, duckdb, polars, cryptography";
    if !Command::new(&python).args(["-c", packages]).output().unwrap().status.success() {
        return missing("pyarrow, duckdb, polars or cryptography");
    }
    let gateway = with_segments();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = segments(&gateway).remove(0);
    let script = root.join("tests/interop/segments.py");
    let arguments = [script, root.join("deploy"), records(&gateway), file];
    let output = Command::new(python).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("all readers agree"), "{out}\n{err}");
}

#[test]
fn verify_says_whether_the_segments_are_what_was_written() {
    let gateway = with_segments();
    let file = segments(&gateway).remove(0);
    let data = records(&gateway);
    let arguments = ["logs", "verify", "--data", data.to_str().unwrap()];
    let good = cli::kelisim(&arguments);
    assert_eq!(good.code, 0, "{good:?}");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let bad = cli::kelisim(&[&arguments[..], &["--format", "json"]].concat());
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.contains("\"changed\""), "{bad:?}");
}
