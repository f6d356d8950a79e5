//! Followers, handed rows and counts over segments: the same as over rows.

use super::*;

#[test]
fn a_follower_that_slept_over_a_compaction_is_told_what_to_look_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, handle) = start(dir.path());
    write(handle, 100, 50);
    let followed = scan(dir.path(), Purpose::Support, "");
    let mut follower = Follower::from_end(dir.path(), followed.keyring().clone()).expect("a journal");
    assert!(journal.stop());
    // Several files are begun, closed and compacted while nobody looks; then the process ends, and its last file too.
    let (journal, handle) = start(dir.path());
    let mut seen = Vec::new();
    write(handle, 3000, 100);
    assert!(journal.stop());
    assert!(compact(dir.path()) > 0);
    assert_eq!(journal_files(dir.path()), 0);
    let mut look = |follower: &mut Follower| {
        let came = |came: Came<'_, '_>| {
            match came {
                Came::Row(row) => seen.push(row.seq),
                Came::Hole { first, last } => {
                    let found = followed.between(first, last, |row| seen.push(row.seq)).expect("readable");
                    assert_eq!(found.in_segments, last - first + 1);
                }
            }
            ControlFlow::Continue(())
        };
        follower.poll_all(came).expect("readable");
        std::mem::take(&mut seen)
    };
    let all: Vec<u64> = folded(dir.path()).into_keys().collect();
    assert_eq!(look(&mut follower), all[100..], "what came after the follower began");
    assert_eq!(look(&mut follower), [0; 0]);
}

#[test]
fn handed_rows_are_all_there_and_keep_their_limit() {
    let dir = filled(3000);
    compact(dir.path());
    let columns: Vec<_> = COLUMNS.iter().filter(|c| Purpose::Security.opens(c.class)).collect();
    let folder = PrivateFolder::make(&dir.path().join(lent::FOLDER)).expect("a folder");
    let hand = |scan: &Scan, limit| lend(scan, &columns, Shape::Sql, &folder, limit);
    let scan = || scan(dir.path(), Purpose::Security, "status>=500").showing(&columns);
    let too_large = hand(&scan(), 100);
    assert!(matches!(too_large, Err(LendError::TooLarge(100))), "{too_large:?}");
    let handed = hand(&scan(), 1 << 20).expect("handed over");
    assert_eq!(handed.rows, 300);
    let names =
        || std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name());
    assert_eq!(names().collect::<Vec<_>>(), ["lock"], "the files have no name");
    let sizes =
        handed.paths().into_iter().map(|path| std::fs::read(path).expect("found by its process").len());
    assert!(sizes.sum::<usize>() > 1000);
    let stopped = scan();
    stopped.work().stop();
    assert!(matches!(hand(&stopped, 1 << 20), Err(LendError::Stopped)));
}

/// A key as a segment has it: its text is UTF-8.
fn shown(key: &OwnedValue) -> String {
    match key.as_value() {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::U64(n) => n.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn counts_over_columns_are_those_over_rows() {
    let dir = filled(3000);
    let filters = [
        "",
        "status>=500",
        "-path=/page/7",
        "gpc:*",
        "path:/PAGE/1 bytes>100",
        "cookie=sid",
        "since:1h",
        "kind:*",
    ];
    let fields = [
        "url.path",
        "http.response.status_code",
        "cookie.names",
        "gpc",
        "record.kind",
        "error.type",
        "request.id",
    ];
    let size = Column::by_name("http.response.body.size");
    let count = || {
        let mut all = Vec::new();
        for filter in filters {
            for field in fields.map(|name| Column::by_name(name).expect("a column")) {
                for (by, measure) in [(By::Hits, None), (By::Bytes, size), (By::P95, size)] {
                    let mut total = Top::new(field.ty, by, Limits::default());
                    let columns: Vec<_> = [field].into_iter().chain(measure).collect();
                    let scan = scan(dir.path(), Purpose::Support, filter).showing(&columns);
                    let (parts, seen) =
                        scan.gather(|| TopOf::new(total.sibling(), field, measure)).expect("readable");
                    parts.into_iter().for_each(|part| total.merge(part.into_top()));
                    let result = total.finish(usize::MAX, 0);
                    let mut rows: Vec<_> =
                        result.rows.iter().map(|row| (shown(&row.key), row.hits, row.measure)).collect();
                    rows.sort_unstable();
                    let counted = (rows, (result.records, result.absent), (seen.scanned, seen.matched));
                    all.push((filter, field.name, Some(counted), None));
                }
            }
            for (name, width) in
                [("ts", 1000), ("start_ts", 1000), ("seq", 7), ("http.response.body.size", 100)]
            {
                let field = Column::by_name(name).expect("a column");
                let mut total = Histogram::new(Scale::Linear(width));
                let scan = scan(dir.path(), Purpose::Support, filter).showing(&[field]);
                let (parts, _) = scan.gather(|| HistogramOf::new(total.clone(), field)).expect("readable");
                parts.into_iter().for_each(|part| total.merge(part.into_histogram()));
                all.push((filter, name, None, Some(total.finish())));
            }
        }
        all
    };
    let before = count();
    assert!(before.iter().any(|(.., top, _)| top.as_ref().is_some_and(|top| top.2.1 == 300)), "some match");
    compact(dir.path());
    for (row, column) in before.iter().zip(count()) {
        assert_eq!(*row, column);
    }
}
