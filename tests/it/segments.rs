//! Closed journal files become segments that other tools read as far as they have keys.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::gateway::{go_on, stop};
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
    let Some(python) = python() else { return };
    let gateway = with_segments();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = segments(&gateway).remove(0);
    let script = root.join("tests/interop/segments.py");
    let arguments = [script, root.join("deploy"), records(&gateway), file];
    let output = Command::new(python).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("all readers agree"), "{out}\n{err}");
}

/// Python with the readers of tables; `None` with a line that says what is missing.
fn python() -> Option<PathBuf> {
    let python = program("python3", &[])?;
    let packages = "import pyarrow, duckdb, polars, cryptography";
    if Command::new(&python).args(["-c", packages]).output().unwrap().status.success() {
        return Some(python);
    }
    missing("pyarrow, duckdb, polars or cryptography");
    None
}

/// Runs a script of `tests/interop` in a folder; what it printed.
fn interop(python: &Path, folder: &Path, script: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
    let mut command = Command::new(python);
    command.arg(script).args(arguments).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_export_is_read_by_other_tools_and_shows_no_more_than_its_level() {
    let Some(python) = python() else { return };
    let gateway = with_segments();
    // Some in segments, some in the journal.
    segments(&gateway);
    gateway.client().get("/interop/live");
    gateway.record_count("/interop/live", 1);
    let data = gateway.data().display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let export = ["logs", "export", "--data", &data, "--basis", "law", "--recipient", "the court"];
    let entries = || std::fs::read_to_string(gateway.data().join("audit/audit.log")).unwrap_or_default();
    let before = entries();
    for (path, told) in
        [("/dev/null", "/dev/null is there already"), ("/nowhere/x", "/nowhere/x cannot be made")]
    {
        let said = cli::kelisim(&[&export[..], &["--purpose", "support", "-o", path]].concat());
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(told), "{said:?}");
        assert_eq!(entries(), before, "what was not given is not in the register");
    }
    let security = [&export[..], &["--purpose", "security", "--reason", "order 12"]].concat();
    let said = cli::kelisim(&security);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "the level must be said");
    assert!(said.err.contains("--addresses"), "{said:?}");
    for level in ["full", "network", "none"] {
        let file = |format: &str| folder.path().join(format!("{level}.{format}")).display().to_string();
        for format in ["parquet", "arrow", "json", "csv", "clf"] {
            let arguments = ["--addresses", level, "--format", format, "-o", &file(format)];
            let said = cli::kelisim(&[&security[..], &arguments].concat());
            assert_eq!(said.code, 0, "{said:?}");
            let bytes = std::fs::read(file(format)).unwrap();
            if format == "clf" {
                let whole = bytes.windows(9).any(|w| w == b"127.0.0.1");
                assert_eq!(whole, level == "full", "{level}");
            }
            if format == "json" {
                let first: Value =
                    serde_json::from_slice(bytes.split(|b| *b == b'\n').next().unwrap()).unwrap();
                let shown = match level {
                    "full" => Value::from("127.0.0.1"),
                    "network" => Value::from("127.0.0.0"),
                    _ => Value::Null,
                };
                assert_eq!(first["client.address"], shown);
                assert_eq!(first["subject_tag"].is_null(), level != "full", "a tag stands for one address");
            }
        }
        let said = interop(&python, folder.path(), "exports.py", &[&file("parquet"), &file("arrow"), level]);
        assert!(said.contains("all readers agree"), "{level}: {said}");
    }
    let log = std::fs::read_to_string(records(&gateway).join("audit/audit.log")).unwrap();
    assert!(log.contains("\"addresses\":\"network\"") && log.contains("\"recipient\":\"the court\""));
    // To standard output, in a pipe.
    let pipe = [&export[..], &["--purpose", "support", "--format", "parquet"]].concat();
    let output = cli::command().args(pipe).output().unwrap();
    assert!(output.stdout.starts_with(b"PAR1") && output.stdout.ends_with(b"PAR1"));
    assert!(!output.stdout.windows(14).any(|w| w == b"client_address"));
}

#[test]
fn ready_views_make_the_clear_columns_one_table() {
    let Some(python) = python() else { return };
    let gateway = with_segments();
    segments(&gateway);
    let folder = tempfile::tempdir().unwrap();
    let files = ["duckdb", "polars", "pyarrow"].map(|program| {
        let said = cli::kelisim(&["logs", "fields", "--as", program]);
        assert_eq!(said.code, 0, "{said:?}");
        let file = folder.path().join(program);
        std::fs::write(&file, said.out).unwrap();
        file.display().to_string()
    });
    let arguments = [&files[0], &files[1], &files[2], "20"];
    let said = interop(&python, &records(&gateway), "views.py", &arguments);
    assert!(said.contains("all views agree"), "{said}");
}

#[test]
fn a_tail_that_stood_still_over_a_compaction_shows_what_it_missed() {
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    gateway.client().get("/before");
    gateway.record_count("/before", 1);
    let mut command = cli::command();
    command.args(["logs", "tail", "-f", "--fields", "path", "--format", "csv", "--data"]).arg(gateway.data());
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(tail.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("UTF-8");
    assert_eq!((next().as_str(), next().as_str()), ("url.path", "/before"));
    stop(&tail);
    let mut client = gateway.client();
    let wanted: Vec<String> = (0..30).map(|n| format!("/meanwhile/{n}")).collect();
    wanted.iter().for_each(|path| drop(client.get(path)));
    gateway.record_count("/meanwhile/29", 1);
    let journal = std::fs::read_dir(records(&gateway).join("journal")).unwrap().flatten();
    let journal = journal.map(|file| file.path());
    let first_run: Vec<PathBuf> =
        journal.filter(|path| path.extension().is_some_and(|e| e == "kjl")).collect();
    let gateway = gateway.end_and_restart();
    segments(&gateway);
    wait_for("the journal of the first run to be gone", || {
        first_run.iter().all(|file| !file.exists()).then_some(())
    });
    gateway.client().get("/after");
    gateway.record_count("/after", 1);
    go_on(&tail);
    let shown: Vec<String> = (0..31).map(|_| next()).collect();
    assert_eq!(shown[..30], wanted);
    assert_eq!(shown[30], "/after");
    tail.kill().expect("killed");
    let mut said = String::new();
    tail.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    tail.wait().expect("ended");
    assert!(!said.contains("removed"), "{said}");
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
