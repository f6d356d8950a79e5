//! A proxy that is measured, whatever it is made of.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::child::{Child, PEER_CORE};
use crate::{Args, Fallible, haproxy, kelisim, nginx};

use crate::child::Workplace;

/// How much a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Copies bytes.
    Copy,
    /// Speaks HTTP and forwards.
    Forward,
    /// Strips cookies, locates, gives ids, records.
    Full,
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
    /// Starts every peer that is asked for and installed.
    pub(crate) fn start(args: &Args, origin: SocketAddr, workplace: &mut Workplace) -> Fallible<Self> {
        let mut field = Self::default();
        for (name, start) in STARTERS {
            if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
                continue;
            }
            match start(args, origin, &workplace.folder(name)?)? {
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

type Start = fn(&Args, SocketAddr, &Path) -> Fallible<Started>;

const STARTERS: [(&str, Start); 5] = [
    ("copy", copy),
    ("nginx", nginx::plain),
    ("nginx-equal", nginx::equal),
    ("haproxy", haproxy::start),
    ("kelisim", kelisim::start),
];

/// A log is flushed each second at the latest.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

fn copy(_: &Args, origin: SocketAddr, _: &Path) -> Fallible<Started> {
    let (child, address) = Child::role(PEER_CORE, &format!("copy {origin}"))?;
    Ok(Started::Running(Box::new(Peer {
        name: "copy",
        version: "raw TCP byte copy".to_owned(),
        job: Job::Copy,
        address,
        visitor_cookie: None,
        evidence: Evidence::None,
        child,
    })))
}
