//! The same questions to this program's commands and to others, each as a whole process.
//!
//! Prints seconds of the wall clock, the median of [`ROUNDS`] rounds in turn ([`TEXT_ROUNDS`] for text), and the processor time of the round that
//! was it. The records are made in parts, each turned into segments before the next, so that the journal never takes
//! more than one part of the disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds of each question.
const ROUNDS: usize = 5;
/// Rounds of the programs that read text: one takes as long as all the others together.
const TEXT_ROUNDS: usize = 1;
/// Records up to which all columns of all rows are handed to DuckDB, which takes as long as making the segments.
const ALL_COLUMNS: u64 = 20_000_000;
/// Records of one part.
const PART: u64 = 5_000_000;

pub(crate) fn run(dir: &Path, count: u64) {
    if !dir.join("segments").exists() {
        make(dir, count);
    }
    assert_eq!(super::held(dir), count, "every record is there");
    let data = dir.display().to_string();
    let kelisim = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kelisim"));
        command.arg("logs").args(words).args(["--data", &data]);
        command
    };
    let files = format!("{data}/segments/dt=*/*.parquet");
    let top = "SELECT url_path, count(*) n FROM {} GROUP BY 1 ORDER BY n DESC LIMIT 20";
    let of = |question: &str, table: &str| question.replace("{}", table);
    let duckdb = program("duckdb", &["target/ci-venv/lib/python3.11/site-packages/duckdb_cli/duckdb"]);
    let direct = |sql: &str| {
        let mut command = Command::new(duckdb.as_deref()?);
        command.args(["-csv", "-c"]).arg(of(sql, &format!("read_parquet('{files}')")));
        Some(command)
    };
    let ours = |sql: &str, more: &[&str]| {
        let mut command = kelisim(&[&["sql", &of(sql, "records")], more].concat());
        command.arg("--duckdb").arg(duckdb.as_deref()?);
        Some(command)
    };
    let all = if count > ALL_COLUMNS { None } else { ours(top, &[]) };
    let minutes = "SELECT date_trunc('minute', ts) m, count(*) FROM {} GROUP BY 1 ORDER BY 1";
    let failed = "SELECT start_ts, url_path, event_duration FROM {} WHERE http_response_status_code >= 500 AND \
                  event_duration > 90000 ORDER BY seq DESC";
    let plan: Vec<(&str, Option<Command>)> = vec![
        ("top url.path", Some(kelisim(&["top", "url.path"]))),
        ("top url.path, DuckDB on the segments", direct(top)),
        ("sql, the same question, one column", ours(top, &["--fields", "path"])),
        ("sql, the same question, all columns", all),
        ("top url.path by p95", Some(kelisim(&["top", "url.path", "--by", "p95"]))),
        ("hist ts --bucket 1m", Some(kelisim(&["hist", "ts", "--bucket", "1m"]))),
        ("hist ts, DuckDB on the segments", direct(minutes)),
        (
            "query status>=500 duration>90ms",
            Some(kelisim(&["query", "--fields", "time,path,duration", "status>=500 duration>90ms"])),
        ),
        ("query, DuckDB on the segments", direct(failed)),
        ("query id=…", Some(kelisim(&["query", "id=01936f2e-7c1b-7d3a-9f3e-000000000000"]))),
    ];
    measure(plan, ROUNDS);
    if std::env::var_os("KELISIM_BENCH_TEXT").is_some() {
        text(dir, &kelisim);
    }
}

/// Writes the records and makes segments of them.
fn make(dir: &Path, count: u64) {
    let (mut written, mut compacted, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
    for part in 0..count.div_ceil(PART) {
        let begun = Instant::now();
        super::fill(dir, PART.min(count - part * PART));
        written += begun.elapsed();
        let begun = Instant::now();
        bytes = super::compact(dir);
        compacted += begun.elapsed();
    }
    println!(
        "{count} records: written in {written:.1?}, made into segments in {compacted:.1?}, {:.1} bytes per record there",
        bytes as f64 / count as f64
    );
}

/// The same requests as text, for programs that read text.
fn text(dir: &Path, kelisim: &dyn Fn(&[&str]) -> Command) {
    let (json, clf) = (dir.join("requests.json"), dir.join("requests.log"));
    // With addresses: goaccess reads no line without one.
    let export =
        ["export", "--purpose", "security", "--reason", "bench", "--basis", "law", "--recipient", "bench"];
    let export = [&export[..], &["--addresses", "full", "--format"]].concat();
    for (format, file) in [("json", &json), ("clf", &clf)] {
        let begun = Instant::now();
        let mut command = kelisim(&[&export[..], &[format]].concat());
        assert!(command.arg("-o").arg(file).status().is_ok_and(|status| status.success()));
        let bytes = file.metadata().map_or(0, |about| about.len());
        println!("export as {format}: {:.1?}, {} MB", begun.elapsed(), bytes / 1_000_000);
    }
    let jq = program("jq", &[]).map(|jq| {
        // Counting in jq itself takes hours: each step copies what was counted so far.
        let question = "\"$0\" -r '.\"url.path\"' \"$1\" | LC_ALL=C sort | uniq -c | sort -rn | head -20";
        let mut command = Command::new("sh");
        command.args(["-c", question]).arg(jq).arg(&json);
        command
    });
    let goaccess = program("goaccess", &[]).map(|goaccess| {
        let mut command = Command::new(goaccess);
        command
            .arg(&clf)
            .args(["--log-format=COMBINED", "--no-global-config", "-o"])
            .arg(dir.join("report.json"));
        command
    });
    measure(
        vec![("top url.path, jq and sort on NDJSON", jq), ("all panels, goaccess on CLF", goaccess)],
        TEXT_ROUNDS,
    );
}

/// Runs every question in turn, and prints the medians.
fn measure(mut plan: Vec<(&str, Option<Command>)>, rounds: usize) {
    let mut times: Vec<Vec<(Duration, Duration)>> = plan.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((name, command), times) in plan.iter_mut().zip(&mut times) {
            if let Some(command) = command {
                times.push(once(name, command));
            }
        }
    }
    for ((name, _), mut times) in plan.into_iter().zip(times) {
        times.sort_unstable();
        match times.get(times.len() / 2) {
            Some((wall, cpu)) => {
                println!("{name:<40} {:>8.3} s {:>8.3} s CPU", wall.as_secs_f64(), cpu.as_secs_f64());
            }
            None => println!("{name:<40} not measured: not installed, or too many records"),
        }
    }
}

/// One run, its output thrown away: wall clock and processor time.
fn once(name: &str, command: &mut Command) -> (Duration, Duration) {
    let (before, begun) = (children(), Instant::now());
    let null = || File::create("/dev/null").map_or_else(|_| Stdio::null(), Stdio::from);
    let status = command.stdin(Stdio::null()).stdout(null()).stderr(null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{name} failed");
    (begun.elapsed(), children() - before)
}

/// Processor time of the children that have ended.
fn children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields behind the name in brackets; 16 and 17 count from 1 before it.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let ticks: u64 = fields.get(13..15).unwrap_or_default().iter().sum();
    Duration::from_millis(ticks * 10)
}

fn program(name: &str, more: &[&str]) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&folders).map(|folder| folder.join(name));
    let own = more.iter().map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    own.chain(on_path).find(|path| path.is_file())
}
