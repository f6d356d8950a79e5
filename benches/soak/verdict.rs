//! What the samples say: each demand with its figures, and whether it holds.

use crate::sample::Sample;

/// Prints every demand and tells whether all hold.
pub(crate) fn judge(samples: &[Sample], smoke: bool, log: &str) -> bool {
    let load: Vec<&Sample> = samples.iter().filter(|sample| sample.phase == "load").collect();
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return false };
    let third = load.len() / 3;
    let (middle, end) = (&load[third..third * 2], &load[third * 2..]);
    let (mean_middle, mean_end) = (mean(middle), mean(end));
    let growth = mean_end - mean_middle;
    let allowed = f64::max(mean_middle * 0.03, 2048.0);
    let memory = format!(
        "middle third {:.1} MiB ({:+.1} KiB/min), last third {:.1} MiB ({:+.1} KiB/min)",
        mean_middle / 1024.0,
        slope(middle),
        mean_end / 1024.0,
        slope(end)
    );
    let panics = log.matches("panicked").count();
    let demands = [
        ("memory reached a plateau", memory, smoke || growth <= allowed),
        (
            "descriptors came back",
            format!("{} at the start, {} at the end", first.descriptors, last.descriptors),
            last.descriptors <= first.descriptors,
        ),
        ("threads stayed", format!("{} and {}", first.threads, last.threads), last.threads <= first.threads),
        (
            "no answer from 500 on",
            format!("{} at clients, {} counted", last.server_errors.0, last.server_errors.1),
            last.server_errors.0 == 0 && last.server_errors.1 == 0.0,
        ),
        (
            "no client failed that did nothing wrong",
            format!("{} {}", last.failures, last.last_failure),
            last.failures == 0,
        ),
        (
            "no fault of our own",
            format!("{}, {panics} panics", last.internal),
            last.internal == 0.0 && panics == 0,
        ),
        ("no record lost", last.lost.to_string(), last.lost == 0.0),
        (
            "traffic and reloads happened",
            format!("{} answers, {} reloads", last.answers, last.reloads),
            last.answers > 100 && last.reloads > 0.0,
        ),
    ];
    for (what, figures, holds) in &demands {
        println!("{} {what}: {figures}", if *holds { "ok  " } else { "FAIL" });
    }
    demands.iter().all(|(_, _, holds)| *holds)
}

fn mean(samples: &[&Sample]) -> f64 {
    samples.iter().map(|sample| sample.rss as f64).sum::<f64>() / samples.len().max(1) as f64
}

/// The line of best fit through resident memory, in KiB per minute.
fn slope(samples: &[&Sample]) -> f64 {
    let n = samples.len().max(1) as f64;
    let time = samples.iter().map(|s| s.second as f64).sum::<f64>() / n;
    let memory = mean(samples);
    let above: f64 = samples.iter().map(|s| (s.second as f64 - time) * (s.rss as f64 - memory)).sum();
    let below: f64 = samples.iter().map(|s| (s.second as f64 - time).powi(2)).sum();
    if below == 0.0 { 0.0 } else { above / below * 60.0 }
}
