//! The commands over journals that the gateway's own writer makes, stopped and while they grow.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use clap::Parser as _;

use super::{LogsArgs, run_to, shield_negations};
use crate::clock::{self, Timestamp};
use crate::config::Durability;
use crate::record::Event;
use crate::store::{Journal, JournalOptions, Recorder, RecorderHandle};

/// What a command prints, and its exit code.
pub(super) fn logs(dir: &Path, words: &str) -> (String, u8) {
    let mut out = Vec::new();
    let code = logs_to(dir, words, &mut out);
    (String::from_utf8(out).unwrap(), code)
}

/// `words` as a shell would split them, without quotes.
fn logs_to(dir: &Path, words: &str, out: &mut dyn Write) -> u8 {
    let all = format!("kelisim logs {words} --data {}", dir.display());
    let args = shield_negations(all.split(' ').map(Into::into));
    let args = LogsArgs::try_parse_from(&args[1..]).expect(words);
    run_to(&args, clock::now(), out)
}

pub(super) fn start(dir: &Path) -> (Journal, RecorderHandle) {
    let options = JournalOptions {
        dir: dir.to_owned(),
        keys_dir: dir.join("keys"),
        durability: Durability::Group,
        group_commit: Duration::from_millis(20),
        // Small, so that there are several files.
        file_bytes: 1 << 16,
        ring_bytes: 1 << 20,
        max_bytes: 1 << 30,
        terms: crate::store::Terms::days(90),
        rotate_after: Duration::from_secs(900),
        hold: Duration::from_millis(5),
        node: "node-1".into(),
        workers: 1,
    };
    let (journal, mut handles) = Journal::start(options, clock::now).expect("a journal");
    (journal, handles.remove(0))
}

/// Runs a worker until `work` ends.
pub(super) fn work(handle: RecorderHandle, work: impl AsyncFnOnce(Recorder)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let recorder = handle.attach();
        tokio::task::spawn_local(recorder.run());
        work(recorder).await;
    });
}

/// Request number `n`: every tenth fails, every third is for `/a`, and so on.
async fn record(recorder: &Recorder, n: u64, start: Timestamp) {
    let path = format!("/{}", ["a", "b", "c"][n as usize % 3]);
    let id = format!("id-{n}");
    let event = Event {
        start_ts: Some(start),
        method: Some(b"GET"),
        domain: Some(b"kz.example"),
        path: Some(path.as_bytes()),
        status: Some(if n.is_multiple_of(10) { 503 } else { 200 }),
        response_bytes: Some(n),
        duration: Some(1_000 * (n % 100 + 1)),
        request_id: Some(id.as_bytes()),
        client_address: Some(IpAddr::from([10, 0, 0, (n % 200) as u8])),
        visitor_tag: Some([b"x", b"y"][n as usize % 2]),
        ..Event::default()
    };
    recorder.record(&event).expect("room in the ring").await;
}

/// A stopped journal of `count` requests.
pub(super) fn filled(count: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    work(handle, async |recorder| {
        for n in 0..count {
            record(&recorder, n, clock::now()).await;
        }
    });
    journal.stop();
    dir
}

fn ids(out: &str) -> Vec<u64> {
    out.lines().filter_map(|l| l.split("id-").nth(1)?.trim_end_matches(['"', '}']).parse().ok()).collect()
}

#[test]
fn a_query_gives_the_newest_first_from_all_files() {
    let dir = filled(1_500);
    assert!(std::fs::read_dir(dir.path().join("journal")).unwrap().count() > 3, "several files");
    let (out, code) = logs(dir.path(), "query --fields id status>=500");
    let wanted: Vec<u64> = (0..1_500).rev().filter(|n| n % 10 == 0).collect();
    assert_eq!((ids(&out), code), (wanted, 0));
    let (out, _) = logs(dir.path(), "query --format json --fields id -n 3 path=/a -status=503");
    assert_eq!(ids(&out), [1_497, 1_494, 1_491]);
    assert_eq!(ids(&logs(dir.path(), "query --fields id -n 0").0), [0; 0]);
    let (out, _) = logs(dir.path(), "query --fields id id=id-777 since:1h until:2100-01-01");
    assert_eq!(ids(&out), [777]);
}

#[test]
fn counts_are_exact_over_all_files_and_threads() {
    let dir = filled(1_500);
    let (out, _) = logs(dir.path(), "top path --format csv --by bytes");
    let sum = |rest: u64| (0..1_500).filter(|n| n % 3 == rest).sum::<u64>();
    let wanted =
        format!("url.path,hits,bytes\r\n/c,500,{}\r\n/b,500,{}\r\n/a,500,{}\r\n", sum(2), sum(1), sum(0));
    assert_eq!(out, wanted);
    let (out, _) = logs(dir.path(), "top path --format csv --by visitors --purpose security --reason r -n 1");
    assert_eq!(out.lines().nth(1), Some("/a,500,2"));
    let (out, _) = logs(dir.path(), "hist status --format csv");
    assert_eq!(out, "start,end,hits\r\n200,300,1350\r\n300,400,0\r\n400,500,0\r\n500,600,150\r\n");
    let (out, _) = logs(dir.path(), "hist duration --bucket 50ms --format csv");
    assert_eq!(out, "start,end,hits\r\n0,50000,735\r\n50000,100000,750\r\n100000,150000,15\r\n");
}

#[test]
fn exit_codes() {
    let dir = filled(3);
    assert_eq!(logs(dir.path(), "query status=404").1, 0);
    assert_eq!(logs(dir.path(), "query status=404 --fail").1, 1);
    assert_eq!(logs(dir.path(), "top path status=404 --fail").1, 1);
    assert_eq!(logs(dir.path(), "hist ts status=404 --fail").1, 1);
    assert_eq!(logs(dir.path(), "query statsu=404").1, 2);
    assert_eq!(logs(dir.path(), "top ts").1, 2);
    assert_eq!(logs(dir.path(), "hist path").1, 2);
    assert_eq!(logs(dir.path(), "hist ts --bucket 5").1, 2);
    assert_eq!(logs(dir.path(), "top path --format clf").1, 2);
    assert_eq!(logs(dir.path(), "query --format clf --fields id").1, 2);
    assert_eq!(logs(&dir.path().join("nowhere"), "query").1, 2);
}

#[test]
fn a_sealed_column_is_refused_before_any_file_is_opened() {
    // Files are not even looked for: a folder that does not exist makes no difference to the answer.
    let nowhere = Path::new("/nonexistent/kelisim");
    for words in
        ["query ip:10.0.0.0/8", "query --fields ip", "top ip", "top path --by visitors", "hist risk.score"]
    {
        let all = format!("kelisim logs {words} --data {}", nowhere.display());
        let args = LogsArgs::try_parse_from(all.split(' ').skip(1)).expect(words);
        let refused = match &args.command {
            super::LogsCommand::Query(a) => super::read::request(
                "logs",
                &a.read,
                &a.filter,
                a.fields.as_deref().unwrap_or_default(),
                clock::now(),
            )
            .err(),
            super::LogsCommand::Top(a) => {
                let mut columns = vec![a.field];
                columns.extend(a.by.measured().1);
                super::read::request("logs", &a.read, &a.filter, &columns, clock::now()).err()
            }
            super::LogsCommand::Hist(a) => {
                super::read::request("logs", &a.read, &a.filter, &[a.field], clock::now()).err()
            }
            _ => None,
        };
        let Some(super::Failure::Usage(message)) = refused else { panic!("{words} was not refused") };
        assert!(message.contains("it is opened by --purpose"), "{words}: {message}");
    }
    let dir = filled(3);
    assert_eq!(logs(dir.path(), "query ip:10.0.0.0/8 --purpose security").1, 2, "no reason");
    let (out, code) = logs(dir.path(), "query --fields ip,id ip=10.0.0.1 --purpose security --reason r");
    assert_eq!((ids(&out), code, out.contains("10.0.0.1")), (vec![1], 0, true));
    assert!(!logs(dir.path(), "query --format json").0.contains("10.0.0."));
}

#[test]
fn bounds_in_time_are_those_of_arrival() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    work(handle, async |recorder| {
        for n in 0..20 {
            // Recorded now, arrived n minutes ago.
            record(&recorder, n, clock::now().minus(Duration::from_secs(60 * n + 30))).await;
        }
    });
    journal.stop();
    let mut found = ids(&logs(dir.path(), "query --fields id since:6m until:3m").0);
    found.sort_unstable();
    assert_eq!(found, [3, 4, 5]);
}

#[test]
fn a_gap_is_shown_when_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    work(handle, async |recorder| record(&recorder, 0, clock::now()).await);
    // Not stopped: the next start finds an unclean end.
    drop(journal);
    let (journal, handle) = start(dir.path());
    work(handle, async |recorder| record(&recorder, 1, clock::now()).await);
    journal.stop();
    let (out, _) = logs(dir.path(), "query --fields id");
    assert_eq!(ids(&out), [1, 0]);
    let (out, _) = logs(dir.path(), "query kind=gap");
    assert!(out.contains("unclean_stop"), "{out}");
    let (out, _) = logs(dir.path(), "top kind --format csv");
    assert_eq!(out, "record.kind,hits\r\naccess,2\r\ngap,1\r\n");
}

#[test]
fn tail_begins_with_the_newest_and_can_go_on_from_a_number() {
    let dir = filled(300);
    let (out, _) = logs(dir.path(), "tail -n 3 --fields seq,id");
    assert_eq!(ids(&out), [297, 298, 299]);
    assert_eq!(ids(&logs(dir.path(), "tail -n 0 --fields id").0), [0; 0]);
    assert_eq!(ids(&logs(dir.path(), "tail -n 1 --fields id path=/a").0), [297]);
    let seq: u64 = out.lines().last().unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let (out, _) = logs(dir.path(), &format!("tail --fields id --since-seq {}", seq - 1));
    assert_eq!(ids(&out), [298, 299]);
}

#[test]
fn in_an_upgrade_the_newest_is_the_newest_of_both_and_each_is_resumed_where_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, of_old) = start(dir.path());
    let (new, of_new) = start(dir.path());
    let numbers = |words: &str| -> Vec<u64> {
        let (out, _) = logs(dir.path(), words);
        out.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    };
    work(of_new, async |recorder| record(&recorder, 1, clock::now()).await);
    let mut shown = Vec::new();
    work(of_old, async |recorder| {
        record(&recorder, 2, clock::now()).await;
        shown = numbers("tail --fields seq");
        record(&recorder, 3, clock::now()).await;
    });
    assert_eq!(ids(&logs(dir.path(), "tail -n 1 --fields id").0), [3]);
    assert_eq!(ids(&logs(dir.path(), "tail -n 2 --fields id").0), [2, 3]);
    assert_eq!(ids(&logs(dir.path(), "tail --fields id").0), [1, 2, 3]);
    let [of_new, of_old] = shown[..] else { panic!("{shown:?}") };
    let resumed =
        |numbers: &str| ids(&logs(dir.path(), &format!("tail --fields id --since-seq {numbers}")).0);
    assert_eq!(resumed(&(of_new + 1).to_string()), [0; 0], "one number knows nothing of the other process");
    assert_eq!(resumed(&format!("{},{}", of_new + 1, of_old + 1)), [3]);
    assert!(new.stop() && old.stop());
    assert_eq!(ids(&logs(dir.path(), "tail -n 2 --fields id").0), [2, 3]);
}

/// Sends what is written to another thread; breaks like a closed pipe when nobody listens any more.
struct Pipe(mpsc::Sender<String>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        sent.map(|()| bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn tail_follows_a_growing_journal_over_files_and_ends_with_its_pipe() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    let (sender, lines) = mpsc::channel();
    let folder = dir.path().to_owned();
    let mut tail = None;
    work(handle, async |recorder| {
        for n in 0..5 {
            record(&recorder, n, clock::now()).await;
        }
        tail =
            Some(std::thread::spawn(move || logs_to(&folder, "tail -f -n 2 --fields id", &mut Pipe(sender))));
        // The header and the newest two: the tail is running.
        assert_eq!(ids(&lines.recv().expect("the first lines")), [3, 4]);
        for n in 5..1_005 {
            record(&recorder, n, clock::now()).await;
        }
        let mut followed = Vec::new();
        while followed.len() < 1_000 {
            followed.extend(ids(&lines.recv().expect("more lines")));
        }
        assert!(followed.into_iter().eq(5..1_005), "each record once, in order");
        drop(lines);
        record(&recorder, 1_005, clock::now()).await;
    });
    assert_eq!(tail.expect("started").join().expect("no panic"), 0, "a closed pipe is a quiet end");
    journal.stop();
}
