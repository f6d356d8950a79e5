//! When the time of a class is over, its columns are unreadable everywhere, and other tools read the rest again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kelisim::clock::{self, Timestamp};
use kelisim::seal::LocalKeys;
use kelisim::store::segments::{Compactor, CompactorOptions, Manifest};
use kelisim::store::{Stats, Terms};

use crate::support::{Gateway, Origin, ask, cli, missing, program, wait_for};

const AGENT: &str = "SecretAgent/9 (unique)";

/// The segments in force, once there are some.
fn segments(data: &Path) -> Vec<PathBuf> {
    wait_for("a segment", || {
        let folder = data.join("segments");
        let manifest = Manifest::read(&folder).ok()?;
        let files: Vec<_> = manifest.entries().iter().map(|e| folder.join(&e.file)).collect();
        (!files.is_empty()).then_some(files)
    })
}

/// Forty days from now.
fn later() -> Timestamp {
    clock::now().plus(Duration::from_secs(40 * 86_400))
}

/// Lets the thread that a gateway runs for it work on the folder, forty days from now.
fn forty_days_later(data: &Path) {
    let options = CompactorOptions {
        dir: data.to_owned(),
        terms: Terms::new([90, 30, 30, 7, 30], [0; 5], Vec::new()),
        max_bytes: u64::MAX,
        segments: true,
    };
    let keys = Arc::new(LocalKeys::prepare(&data.join("keys")).unwrap());
    let compactor = Compactor::start(options, keys, Arc::<Stats>::default(), later, None).unwrap();
    wait_for("the columns to go", || {
        let manifest = std::fs::read_to_string(data.join("segments/MANIFEST")).unwrap();
        manifest.contains("\"reason\":\"expired\"").then_some(())
    });
    compactor.stop();
}

/// Everything of some segments with DuckDB; what it says when it cannot.
fn select_all(python: &Path, files: &[PathBuf]) -> Result<usize, String> {
    let script = "import duckdb, sys\n\
        duckdb.execute(\"COPY (SELECT * FROM read_parquet(?, union_by_name=true)) TO '/dev/stdout' (HEADER false)\", [sys.argv[1:]])";
    let output = Command::new(python).args(["-c", script]).args(files).output().unwrap();
    let text = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
    if output.status.success() { Ok(text.lines().count()) } else { Err(text.into_owned()) }
}

#[test]
fn when_sealed_columns_are_over_every_tool_reads_all_that_is_left() {
    let duckdb = program("python3", &[]).filter(|python| {
        Command::new(python).args(["-c", "import duckdb"]).output().is_ok_and(|said| said.status.success())
    });
    let origin = Origin::pages();
    let gateway = Gateway::of(&origin);
    let mut client = gateway.client();
    for n in 0..20 {
        client.fetch(&ask("GET", &format!("/kept/{n}")).header("user-agent", AGENT));
    }
    gateway.record_count("/kept/19", 1);
    let gateway = gateway.end_and_restart();
    let data = gateway.data();
    let files = segments(&data);
    let agents = |purpose| {
        let rows = cli::records_for(&data, purpose);
        let kept = rows.iter().filter(|r| r["url.path"].as_str().is_some_and(|p| p.starts_with("/kept/")));
        kept.map(|r| {
            (
                r["user_agent.original"].is_string(),
                r["client.address"].is_string(),
                r["visit_tag"].is_string(),
            )
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(agents("diagnostics"), [(true, false, true); 20]);
    assert_eq!(agents("security"), [(false, true, true); 20]);
    if let Some(python) = &duckdb {
        let wrong = select_all(python, &files).unwrap_err();
        assert!(wrong.contains("ncrypt"), "sealed columns are refused: {wrong}");
    }
    let gateway = gateway.crash_and_edit(|| forty_days_later(&data));
    for purpose in ["diagnostics", "security", "support"] {
        assert_eq!(agents(purpose), [(false, false, true); 20], "{purpose}");
    }
    assert!(files.iter().all(|file| !file.exists()), "the old files are gone");
    let verified = cli::kelisim(&["logs", "verify", "--data", data.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let audited = cli::kelisim(&["logs", "audit", "--data", data.to_str().unwrap()]);
    assert!(audited.out.contains(" destroys sec of "), "{audited:?}");
    let Some(python) = duckdb else { return missing("duckdb for python3") };
    assert!(select_all(&python, &segments(&data)).unwrap() >= 20);
    gateway.finish();
}
