//! The load: `wrk` or, for HTTP/2, `h2load`, on the origin's core.
//!
//! `wrk` has a script that sends the workload's requests in turn. A closed loop: each connection sends its next request
//! when the answer is there, so the peer is always busy. Latency is therefore not worth publishing. Bound: the seconds
//! asked for, and then [`GRACE`].

mod h2load;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Fallible;
use crate::child::{Child, LOAD_CORE};
use crate::mode::Mode;
use crate::workload::Request;

/// How long the generator may need beyond the time of load.
const GRACE: Duration = Duration::from_secs(10);

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Answers.
    pub(crate) requests: u64,
    /// Time of load.
    pub(crate) time: Duration,
    /// Connections and answers that failed, and statuses from 400.
    pub(crate) errors: u64,
}

/// Load that can be put on one peer.
#[derive(Debug)]
pub(crate) struct Load {
    program: &'static str,
    arguments: Vec<String>,
    said: PathBuf,
}

impl Load {
    /// Of these requests in turn; HTTP/2 has the first one only.
    pub(crate) fn prepare(
        mode: Mode,
        address: SocketAddr,
        requests: &[Request<'_>],
        connections: u32,
        folder: &Path,
    ) -> Fallible<Self> {
        let said = folder.join("said");
        if mode == Mode::Http2 {
            let request = requests.first().ok_or("no request")?;
            return Ok(Self {
                program: "h2load",
                arguments: h2load::arguments(address, request, connections),
                said,
            });
        }
        let script = folder.join("load.lua");
        std::fs::write(&script, lua(requests))?;
        let arguments = [
            "--threads",
            "1",
            "--connections",
            &connections.to_string(),
            "--timeout",
            "5s",
            "--script",
            &script.display().to_string(),
            &format!("{}://{address}/", mode.scheme()),
        ];
        Ok(Self { program: "wrk", arguments: arguments.map(str::to_owned).into(), said })
    }

    /// Puts it on the peer for so many seconds.
    pub(crate) fn run(&self, seconds: u32) -> Fallible<Counted> {
        let time = ["--duration".to_owned(), seconds.to_string()];
        let arguments = time.iter().chain(&self.arguments).map(OsString::from);
        let mut generator = Child::start(LOAD_CORE, self.program, arguments, &self.said)?;
        let status = generator.await_end(Duration::from_secs(seconds.into()) + GRACE)?;
        let text = std::fs::read_to_string(&self.said)?;
        if !status.success() {
            let (program, words) = (self.program, generator.last_words());
            return Err(format!("{program} ended with {status}: {words}").into());
        }
        let counted = if self.program == "wrk" { parse(&text) } else { h2load::parse(&text) };
        counted.ok_or_else(|| format!("{} told no figures: {}", self.program, generator.last_words()).into())
    }
}

fn lua(requests: &[Request<'_>]) -> String {
    let mut text = "local requests = {\n".to_owned();
    for request in requests {
        let request = request.text().replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\"{}\",", request.replace('\r', "\\r").replace('\n', "\\n"));
    }
    text + SCRIPT
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
