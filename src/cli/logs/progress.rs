//! How far a long scan has come, on a terminal.
//!
//! One line on standard error, drawn again at most every [`EVERY`], removed before anything else is printed there and
//! at the end. Nothing in a pipe, and nothing for a scan that takes less than [`FIRST`]. Never delays the scan. Bound:
//! one thread and one line.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;
use crate::store::query::Work;
use crate::store::query::units::short_bytes;

/// The line, which others on the terminal may have to remove.
#[derive(Default)]
pub(super) struct Line(Mutex<bool>);

impl Line {
    /// Removes the line if it is there.
    pub(super) fn clear(&self) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *shown) {
            draw("");
        }
    }

    fn show(&self, text: &str) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = true;
        draw(text);
    }
}

/// Shows the progress until it is dropped.
pub(super) struct Progress(Option<(Arc<AtomicBool>, JoinHandle<()>)>);

impl Progress {
    /// Begins to show it if standard error is a terminal.
    pub(super) fn of(work: Arc<Work>, line: Arc<Line>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let ended = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&ended);
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            let begun = clock::monotonic();
            let mut pause = FIRST;
            while !seen.load(Relaxed) {
                std::thread::park_timeout(pause);
                if begun.elapsed() >= FIRST && !seen.load(Relaxed) {
                    pause = EVERY;
                    let (done, total) = work.progress();
                    line.show(&text(done, total, begun.elapsed()));
                }
            }
            line.clear();
        });
        // Without a thread there is no line, and the scan goes on.
        Self(thread.ok().map(|thread| (ended, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.0.take() {
            ended.store(true, Relaxed);
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Begins the line anew; standard error may be gone, which is no reason to end.
fn draw(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{text}");
    let _ = stderr.flush();
}

/// `scanned 43%, 1.20GiB of 2.79GiB, about 5s left`.
#[allow(clippy::cast_precision_loss, reason = "whole per cents and seconds are shown")]
fn text(done: u64, total: u64, elapsed: Duration) -> String {
    if total == 0 {
        return "scanning".to_owned();
    }
    let part = done as f64 / total as f64;
    let mut line = format!("scanned {:.0}%, {} of {}", part * 100.0, short_bytes(done), short_bytes(total));
    if part > 0.01 {
        let left = elapsed.as_secs_f64() * (1.0 - part) / part;
        line.push_str(&match left {
            ..90.0 => format!(", about {left:.0}s left"),
            _ => format!(", about {:.0}m left", left / 60.0),
        });
    }
    line
}

/// Time before the line is first drawn.
const FIRST: Duration = Duration::from_secs(1);
/// Time between two drawings.
const EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_from_what_is_done() {
        let second = Duration::from_secs(1);
        assert_eq!(text(0, 0, second), "scanning");
        assert_eq!(text(0, 1 << 30, second), "scanned 0%, 0B of 1.00GiB");
        assert_eq!(text(1 << 28, 1 << 30, second), "scanned 25%, 256MiB of 1.00GiB, about 3s left");
        assert_eq!(text(1 << 24, 1 << 30, 10 * second), "scanned 2%, 16.0MiB of 1.00GiB, about 10m left");
    }
}
