//! `kelisim test-request`: what would be done with one request, and why, without sending it anywhere.
//!
//! The head goes through the code that serves real requests: the scan and hyper read it from memory, the steps of
//! [`crate::gateway`] judge it, the client of [`crate::forward`] writes what the site would get. Nothing here decides
//! about a request. It never opens a socket, never writes into the data folder, and knows no earlier request. Bound:
//! one request of `input::MOST_BYTES`.
//!
//! | file | job |
//! |---|---|
//! | `input` | the head as typed, and the options |
//! | `door` | the scan and hyper read the head |
//! | `steps` | the way of a request, as far as forwarding |
//! | `facts` | what each step noted, for the report |
//! | `head` | what came, what the site would get, and the difference |
//! | `mask` | what is shown of values |
//! | `why` | reasons as sentences |
//! | `report` | the shape of the JSON |
//! | `table` | the same for people |

mod door;
mod facts;
mod head;
mod input;
mod mask;
mod report;
mod steps;
mod table;
mod why;

use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use super::logs::terminal::Terminal;
use super::{BAD_CONFIGURATION, OWN_FAULT};
use crate::clock::{self, Timestamp};
use crate::config::{self, Config};
use crate::error::chain;
use crate::listen::connection::{Connection, TlsFacts};
use crate::server::rehearsal::Rehearsal;
use crate::server::start::StartError;
use report::Report;

/// Arguments of `kelisim test-request`.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// Configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// The other end of the connection: ADDRESS or ADDRESS:PORT
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", value_parser = input::peer)]
    peer: SocketAddr,
    /// The request comes by TLS, to the first listener that has a certificate
    #[arg(long)]
    tls: bool,
    /// The request comes by HTTP/2
    #[arg(long)]
    http2: bool,
    /// Which [[listen]] of the file it comes to, from 1
    #[arg(long, value_name = "N")]
    listener: Option<usize>,
    /// When it comes (2026-11-22T10:00:00Z); otherwise now
    #[arg(long, value_name = "TIME", value_parser = input::time)]
    at: Option<Timestamp>,
    /// Take the bytes as they are: without it LF and CRLF both end a line, and the empty line may be missing
    #[arg(long, conflicts_with = "http2")]
    raw: bool,
    /// Show values of cookies and credentials, tags and whole addresses
    #[arg(long)]
    show_values: bool,
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// How a report is printed. JSON is stable, the text is for people.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Reads a head from standard input and prints the report. Exit code 0 if the request would be forwarded or answered,
/// 1 if it would be refused, 2 for wrong usage, 64 for a bad configuration.
///
/// # Errors
/// Standard input or output cannot be used.
pub fn run(args: &Args) -> io::Result<ExitCode> {
    let config = match config::read(&args.config, config::environment()) {
        Ok(config) => config,
        Err(problems) => {
            eprint!("{}", problems.render(io::stderr().is_terminal()));
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
    };
    let (listener, bytes) = match listener(args, &config).and_then(|n| Ok((n, request(args)?))) {
        Ok(both) => both,
        Err(message) => {
            eprintln!("error: {message}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let now = args.at.unwrap_or_else(clock::now);
    let rehearsal = match Rehearsal::new(&config, now) {
        Ok(rehearsal) => rehearsal,
        Err(error) => {
            eprintln!("kelisim: {}", chain(&error));
            let ours = matches!(error, StartError::Thread(_) | StartError::Journal(_));
            return Ok(ExitCode::from(if ours { OWN_FAULT } else { BAD_CONFIGURATION }));
        }
    };
    let report = rehearse(args, &rehearsal, listener, now, &bytes);
    rehearsal.end();
    let report = report?;
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => out.write_all(table::render(&report, Terminal::of_stdout()).as_bytes())?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    Ok(if report.verdict == report::Verdict::Refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Sends the request through the steps, on a thread that has nothing else to do.
fn rehearse(
    args: &Args,
    rehearsal: &Rehearsal,
    listener: usize,
    now: Timestamp,
    bytes: &[u8],
) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let tls = rehearsal.certificates.get(listener).and_then(Option::as_ref);
    let facts =
        tls.map(|store| TlsFacts { version: "1.3", cipher: None, alpn: None, certificate: store.current() });
    let connection = Arc::new(Connection::new(listener, args.peer, facts, clock::monotonic()));
    let stage = steps::Stage {
        worker: Rc::clone(&rehearsal.worker),
        connection,
        now,
        mask: mask::Mask { show: args.show_values },
        missing: rehearsal.missing.clone(),
    };
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::task::spawn_local(rehearsal.worker.recorder.run());
        let read = if args.http2 {
            door::by_http2(&stage, bytes).await
        } else {
            door::by_http1(&stage, bytes, |request| steps::walk(&stage, request)).await
        };
        read.map(|done| done.unwrap_or_else(|unread| steps::unread(&stage, &unread)))
    })
}

/// The listener that the options mean, from 0.
fn listener(args: &Args, config: &Config) -> Result<usize, String> {
    let listeners = &config.listeners;
    let Some(number) = args.listener else {
        let found = listeners.iter().position(|listener| listener.tls.is_some() == args.tls);
        return match found {
            Some(index) => Ok(index),
            None if args.tls => Err("--tls: no [[listen]] of the configuration has a certificate".to_owned()),
            None => Ok(0),
        };
    };
    match number.checked_sub(1).and_then(|index| Some((index, listeners.get(index)?))) {
        None => Err(format!("--listener {number}: there are {} in the configuration", listeners.len())),
        Some((_, listener)) if args.tls && listener.tls.is_none() => {
            Err(format!("--listener {number} --tls: {} has no certificate", listener.address))
        }
        Some((index, _)) => Ok(index),
    }
}

/// Standard input as hyper is to read it.
fn request(args: &Args) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let stdin = io::stdin();
    if stdin.is_terminal() {
        eprintln!("Type a request head; Ctrl-D ends it.");
    }
    let limit = input::MOST_BYTES as u64 + 1;
    stdin.lock().take(limit).read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
    if bytes.len() > input::MOST_BYTES {
        return Err(format!("standard input: more than {} bytes", input::MOST_BYTES));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) && !args.raw {
        return Err("standard input: no request head".to_owned());
    }
    Ok(if args.raw { bytes } else { input::with_crlf(&bytes) })
}

const HELP: &str = "\
Example: printf 'GET / HTTP/1.1\\nHost: kz.example\\nCookie: _fbp=1; session=2\\n' |
           kelisim test-request --config kelisim.toml

Nothing is sent, and the data folder is read for its keys only. Signals of risk that need earlier requests see none.
What the site would answer is not known here: cookies owed are those of an answer with a page.

Exit codes: 0 forwarded or answered by the gateway, 1 refused, 2 wrong usage, 64 bad configuration.";

/// The arguments or the input are wrong.
const USAGE: u8 = 2;
