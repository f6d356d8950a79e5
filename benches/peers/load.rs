//! The load: `wrk` on the origin's core, with a script that sends the workload's requests in turn.
//!
//! A closed loop: each connection sends its next request when the answer is there, so the peer is always busy. Latency
//! is therefore not worth publishing. Bound: the seconds asked for, and then [`GRACE`].

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::child::{Child, LOAD_CORE};
use crate::{Fallible, workload};

/// How long `wrk` may need beyond the time of load.
const GRACE: Duration = Duration::from_secs(10);

/// What `wrk` counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Answers.
    pub(crate) requests: u64,
    /// Time of load.
    pub(crate) time: Duration,
    /// Connections and answers that failed, and statuses from 400.
    pub(crate) errors: u64,
}

/// Writes the script. `cookies`: the visitor cookie of each visitor, or none.
pub(crate) fn script(folder: &Path, cookies: &[String]) -> Fallible<PathBuf> {
    let mut text = "local requests = {\n".to_owned();
    for visitor in 0..workload::VISITORS {
        let cookie = cookies.get(visitor as usize).map(String::as_str);
        // Writing to a string cannot fail.
        let request = workload::request("/", visitor, cookie).replace('\\', "\\\\").replace('"', "\\\"");
        let _ = writeln!(text, "\"{}\",", request.replace('\r', "\\r").replace('\n', "\\n"));
    }
    text.push_str(SCRIPT);
    let path = folder.join("load.lua");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Puts load on a peer.
pub(crate) fn run(address: SocketAddr, script: &Path, connections: u32, seconds: u32) -> Fallible<Counted> {
    let said = script.with_extension("said");
    let arguments = [
        "--threads".into(),
        "1".into(),
        "--connections".into(),
        connections.to_string(),
        "--duration".into(),
        format!("{seconds}s"),
        "--timeout".into(),
        "5s".into(),
        "--script".into(),
        script.display().to_string(),
        format!("http://{address}/"),
    ];
    let mut wrk = Child::start(LOAD_CORE, "wrk", arguments.map(OsString::from), &said)?;
    let status = wrk.await_end(Duration::from_secs(seconds.into()) + GRACE)?;
    let text = std::fs::read_to_string(&said)?;
    if !status.success() {
        return Err(format!("wrk ended with {status}: {}", wrk.last_words()).into());
    }
    parse(&text).ok_or_else(|| "wrk told no figures".into())
}

fn parse(text: &str) -> Option<Counted> {
    let line = text.lines().find_map(|line| line.strip_prefix("counted "))?;
    let mut figures = line.split(' ').map(str::parse::<u64>);
    let mut next = || figures.next()?.ok();
    Some(Counted { requests: next()?, time: Duration::from_micros(next()?), errors: next()? })
}

const SCRIPT: &str = r#"}
local next = 0
function request()
    next = next + 1
    if next > #requests then next = 1 end
    return requests[next]
end
function done(summary)
    local e = summary.errors
    local errors = e.connect + e.read + e.write + e.status + e.timeout
    print(string.format("counted %d %d %d", summary.requests, summary.duration, errors))
end
"#;
