//! A proxy that is measured, whatever it is made of.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::child::{Child, Workplace};
use crate::kelisim::{self, Shape};
use crate::mode::Mode;
use crate::tls::Certificate;
use crate::{Fallible, caddy, copy, haproxy, nginx};

/// How much a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Copies bytes.
    Copy,
    /// Speaks HTTP and forwards.
    Forward,
    /// Strips cookies, locates, gives ids, records.
    Full,
    /// The same, but lets every cookie through.
    Unstripped,
}

impl Job {
    /// Whether ids are given and a record is written.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Full | Self::Unstripped)
    }
}

/// What a peer is started for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    /// The gateway's program.
    pub(crate) kelisim: &'a Path,
    /// The site's server.
    pub(crate) origin: SocketAddr,
    /// An empty folder.
    pub(crate) folder: &'a Path,
    /// How it will be spoken to.
    pub(crate) mode: Mode,
    /// What to show if the mode has TLS.
    pub(crate) certificate: Option<&'a Certificate>,
}

/// Where a peer's records can be looked up.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// It has none.
    None,
    /// A file of JSON lines.
    Lines(PathBuf),
    /// Kelisim's journal, read with its own program.
    Journal(kelisim::Journal),
}

/// A running peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Name for `--only`.
    pub(crate) name: &'static str,
    /// Version, or what it is.
    pub(crate) version: String,
    /// How much it does.
    pub(crate) job: Job,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Name of the cookie that it gives to visitors.
    pub(crate) visitor_cookie: Option<&'static str>,
    /// Sites that it serves.
    pub(crate) sites: u32,
    /// Connections of the load, if not those of the plan.
    pub(crate) connections: Option<u32>,
    /// Its records.
    pub(crate) evidence: Evidence,
    /// Its process.
    pub(crate) child: Child,
}

/// Peers that run, and those that do not with the reason.
#[derive(Debug, Default)]
pub(crate) struct Field {
    /// Running.
    pub(crate) peers: Vec<Peer>,
    /// Name and reason.
    pub(crate) absent: Vec<(&'static str, String)>,
}

impl Field {
    /// Starts every one of these that is installed.
    pub(crate) fn start(
        starters: &[Starter],
        setting: &Setting<'_>,
        workplace: &mut Workplace,
    ) -> Fallible<Self> {
        let mut field = Self::default();
        for Starter(name, start) in starters {
            let setting = Setting { folder: &workplace.folder(name)?, ..*setting };
            let started = match start {
                Start::Other(start) => start(&setting)?,
                Start::Kelisim(shape) => kelisim::start(name, &setting, shape)?,
            };
            match started {
                Started::Running(peer) => field.peers.push(*peer),
                Started::Absent(why) => {
                    eprintln!("left out: {name}: {why}");
                    field.absent.push((name, why));
                }
            }
        }
        Ok(field)
    }
}

impl Peer {
    /// Waits until a record of a path is there.
    pub(crate) fn await_record(&self, path: &str) -> Fallible<()> {
        let begun = Instant::now();
        // JSON may write a slash as `\/`.
        let page = path.rsplit('/').next().unwrap_or(path);
        while begun.elapsed() < RECORDED_WITHIN {
            let found = match &self.evidence {
                Evidence::None => true,
                Evidence::Lines(file) => fs::read_to_string(file)?.contains(page),
                Evidence::Journal(journal) => journal.has(path)?,
            };
            if found {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("no record of {path}").into())
    }

    /// Empties its log, if it is a file of ours: rounds do not fill the disk.
    pub(crate) fn trim(&self) -> Fallible<()> {
        if let Evidence::Lines(file) = &self.evidence {
            File::options().write(true).open(file)?.set_len(0)?;
        }
        Ok(())
    }

    /// Records that it lost or refused to write, if it counts them.
    pub(crate) fn lost_records(&self) -> Fallible<u64> {
        match &self.evidence {
            Evidence::Journal(journal) => journal.lost(),
            Evidence::None | Evidence::Lines(_) => Ok(0),
        }
    }
}

/// What starting a peer comes to.
#[derive(Debug)]
pub(crate) enum Started {
    /// It listens.
    Running(Box<Peer>),
    /// It is not installed.
    Absent(String),
}

/// A peer's name for `--only`, and how it is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starter(pub(crate) &'static str, pub(crate) Start);

/// What is started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// Another proxy.
    Other(fn(&Setting<'_>) -> Fallible<Started>),
    /// The gateway in one of its shapes.
    Kelisim(Shape),
}

/// All kinds of proxies.
pub(crate) const PEERS: [Starter; 7] = [
    Starter("copy", Start::Other(copy::start)),
    Starter("nginx", Start::Other(nginx::plain)),
    Starter("nginx-equal", Start::Other(nginx::equal)),
    Starter("haproxy", Start::Other(haproxy::plain)),
    Starter("haproxy-equal", Start::Other(haproxy::equal)),
    Starter("caddy", Start::Other(caddy::start)),
    Starter("kelisim", Start::Kelisim(Shape::WHOLE)),
];

/// A log is flushed each second at the latest.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);
