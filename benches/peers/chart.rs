//! The chart: one bar per peer, CPU per request of the first table.
//!
//! Plain SVG without scripts or fonts of its own; text takes the reader's colour scheme. Bound: the table.

use std::fmt::Write as _;

use crate::report::{Spread, title};
use crate::rounds::Results;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 210.0;
const ROW: f64 = 34.0;
const TOP: f64 = 44.0;

/// Draws the first table; empty if there is none.
pub(crate) fn svg(all: &[Results]) -> String {
    let Some(results) = all.first() else { return String::new() };
    let spread = |i: usize| Spread::of(results.peers[i].samples.iter().map(|s| s.micros));
    let mut bars: Vec<(&str, Spread)> =
        (0..results.peers.len()).filter_map(|i| Some((results.peers[i].name, spread(i)?))).collect();
    bars.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let largest = bars.iter().map(|(_, s)| s.max).fold(1.0, f64::max);
    let height = TOP + ROW * bars.len() as f64 + 12.0;
    let mut text = head(height, results.plan.body);
    for (i, (name, spread)) in bars.iter().enumerate() {
        bar(&mut text, TOP + ROW * i as f64, name, *spread, (WIDTH - LABELS - 70.0) / largest);
    }
    text.push_str("</svg>\n");
    text
}

fn head(height: f64, body: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"CPU per request of several proxies\">\n\
         <style>text{{font:14px sans-serif;fill:#24292f}}.bar{{fill:#8c959f}}.own{{fill:#0a7d5a}}\
         .range{{stroke:#24292f}}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.bar{{fill:#6e7681}}\
         .own{{fill:#2ea47c}}.range{{stroke:#e6edf3}}}}</style>\n\
         <text x=\"0\" y=\"20\" font-weight=\"bold\">CPU per request in µs, body of {} KiB; less is better</text>\n",
        body / 1024
    )
}

fn bar(text: &mut String, y: f64, name: &str, spread: Spread, scale: f64) {
    let label = title(name).trim_matches('*');
    let class = if name.starts_with("kelisim") { "own" } else { "bar" };
    let Spread { median, min, max } = spread;
    let middle = y + 12.0;
    let at = |figure: f64| LABELS + figure * scale;
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{label}</text>\
         <rect class=\"{class}\" x=\"{LABELS}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"24\"/>\
         <line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\"/>\
         <text x=\"{:.1}\" y=\"{:.0}\">{median:.1}</text>",
        LABELS - 10.0,
        y + 17.0,
        median * scale,
        at(min),
        at(max),
        at(max) + 8.0,
        y + 17.0,
    );
}
