//! Each format of `top` and `hist`.

use super::*;
use crate::record::event::Type;
use crate::store::query::{Histogram, Limits, Scale, Top, resolve};

const PIPE: Terminal = Terminal { width: None, colour: false };

fn result(by: By, limits: Limits) -> TopResult {
    let mut top = Top::new(Type::Text, by, limits);
    for (path, n) in [("/a", 2000), ("/a", 3000), ("/b\x1b[2J", 10), ("/c,", 5), ("/c,", 1)] {
        top.add(Some(&Value::Text(path.as_bytes())), Some(&Value::U64(n)));
    }
    top.add(None, None);
    top.finish(2, 0)
}

#[test]
fn each_format_of_top() {
    let path = resolve("path").unwrap();
    let all = |by, format| top(&result(by, Limits::default()), path, format, true, PIPE);
    assert_eq!(
        all(By::Hits, Format::Table),
        [
            "     hits      % path\n",
            "        2   33.3 /a\n",
            "        2   33.3 /c,\n",
            "        1   16.7 (1 others)\n",
            "        1   16.7 (absent)\n",
        ]
        .concat()
    );
    assert_eq!(
        all(By::Bytes, Format::Table),
        [
            "     hits      %     bytes path\n",
            "        2   33.3   4.88KiB /a\n",
            "        1   16.7       10B /b\\x1b[2J\n",
            "        2   33.3        6B (1 others)\n",
            "        1   16.7        0B (absent)\n",
        ]
        .concat()
    );
    assert_eq!(
        all(By::Bytes, Format::Json),
        "{\"field\":\"url.path\",\"value\":\"/a\",\"hits\":2,\"bytes\":5000}\n\
         {\"field\":\"url.path\",\"value\":\"/b\\u001b[2J\",\"hits\":1,\"bytes\":10}\n\
         {\"field\":\"url.path\",\"rest\":\"others\",\"keys\":1,\"hits\":2,\"bytes\":6}\n\
         {\"field\":\"url.path\",\"rest\":\"absent\",\"hits\":1}\n"
    );
    assert_eq!(
        all(By::P95, Format::Csv),
        "url.path,hits,p95\r\n/a,2,3007\r\n/b\\x1b[2J,1,10\r\n(1 others),2,\r\n(absent),1,\r\n"
    );
}

#[test]
fn a_limit_that_was_reached_is_shown_unasked() {
    let limits = Limits { keys: 1, ..Limits::default() };
    for format in [Format::Table, Format::Json, Format::Csv] {
        let out = top(&result(By::Hits, limits), resolve("path").unwrap(), format, false, PIPE);
        assert!(out.contains("over the limit"), "{out}");
    }
}

#[test]
fn each_format_of_hist() {
    let mut counts = Histogram::new(Scale::Decades);
    [900, 1500, 1600, 9000].iter().for_each(|n| counts.add(Some(&Value::U64(*n))));
    let duration = resolve("duration").unwrap();
    let result = counts.finish();
    let (half, whole) = ("█".repeat(30), "█".repeat(60));
    assert_eq!(
        histogram(&result, duration, Format::Table, PIPE),
        format!(
            " 500us         1 {half}\n1.00ms         2 {whole}\n2.00ms         0\n5.00ms         1 {half}\n"
        )
    );
    let json = histogram(&result, duration, Format::Json, PIPE);
    assert_eq!(
        json.lines().next(),
        Some("{\"field\":\"event.duration\",\"start\":500,\"end\":1000,\"hits\":1}")
    );
    let csv = histogram(&result, duration, Format::Csv, PIPE);
    assert_eq!(csv, "start,end,hits\r\n500,1000,1\r\n1000,2000,2\r\n2000,5000,0\r\n5000,10000,1\r\n");
}

#[test]
fn times_are_edges_too() {
    let mut counts = Histogram::new(Scale::Linear(60_000_000));
    counts.add(Some(&Value::Time(Timestamp::from_secs(1_795_341_630))));
    let out = histogram(&counts.finish(), resolve("ts").unwrap(), Format::Table, PIPE);
    assert!(out.starts_with("2026-11-22 10:00:00         1 █"), "{out}");
}

#[test]
fn bars_are_in_proportion() {
    let bar = |count| {
        let mut out = String::new();
        push_bar(&mut out, count, 100, 10);
        out
    };
    assert_eq!(bar(100), "██████████");
    assert_eq!(bar(50), "█████");
    assert_eq!(bar(1), "▏");
    assert_eq!(bar(0), "");
}
