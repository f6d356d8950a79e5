//! Loss of power at any point: a disk of which only what was synced is sure to be there afterwards.
//!
//! A run is recorded operation by operation. For a point in it, a folder is made that such a disk could leave: of what
//! was not synced, each write is there, or is not, or is there in some of its sectors, in any combination; a file that
//! was being made is there, or is not, or is empty. Then the journal starts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use proptest::prelude::*;

use super::kit::*;
use crate::config::Durability;
use crate::record::Kind;
use crate::store::disk::{Disk, DiskFile, OsDisk};
use crate::store::frame::{Frame, Next};
use crate::store::head::FileHead;
use crate::store::{JournalOptions, Outcome};

/// What was asked of the disk, and what the worker was told, in order.
#[derive(Clone, Debug)]
enum Op {
    CreateBegun {
        file: String,
        bytes: u64,
    },
    Created {
        file: String,
    },
    Write {
        file: String,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        file: String,
        len: u64,
    },
    /// Everything of the file that was asked for before this place of the log is on the disk.
    Synced {
        file: String,
        before: usize,
    },
    Acknowledged {
        path: String,
    },
}

#[derive(Clone, Default)]
struct LoggedDisk(Arc<Mutex<Vec<Op>>>);

impl LoggedDisk {
    fn log(&self, op: Op) {
        self.0.lock().expect("unpoisoned").push(op);
    }

    fn so_far(&self) -> usize {
        self.0.lock().expect("unpoisoned").len()
    }
}

impl Disk for LoggedDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        self.log(Op::CreateBegun { file: name.clone(), bytes });
        let file = OsDisk.create(path, bytes)?;
        self.log(Op::Created { file: name.clone() });
        Ok(Box::new(LoggedFile { file, name, disk: self.clone() }))
    }
}

struct LoggedFile {
    file: Box<dyn DiskFile>,
    name: String,
    disk: LoggedDisk,
}

impl DiskFile for LoggedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.log(Op::Write { file: self.name.clone(), offset, bytes: bytes.to_vec() });
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // What comes while it syncs is not covered.
        let before = self.disk.so_far();
        self.file.sync()?;
        self.disk.log(Op::Synced { file: self.name.clone(), before });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.log(Op::SetLen { file: self.name.clone(), len });
        self.file.set_len(len)
    }
}

/// A run over several files, its log, and its keys.
struct Run {
    ops: Vec<Op>,
    folder: tempfile::TempDir,
    /// The number of the record with each path.
    seqs: BTreeMap<String, u64>,
    /// The place in the log where the stop was asked for: from there on its mark may come to be.
    stopping: usize,
}

impl Run {
    fn of(durability: Durability) -> Self {
        let (folder, disk) = (tempfile::tempdir().expect("a folder"), LoggedDisk::default());
        let options = JournalOptions {
            durability,
            file_bytes: 4 << 10,
            group_commit: std::time::Duration::from_millis(2),
            ..options(folder.path())
        };
        let (journal, handle) = start(Arc::new(disk.clone()), options);
        work(handle, async |recorder| {
            for batch in 0..24 {
                let mut tickets = Vec::new();
                for n in 0..=batch % 3 {
                    let path = format!("/{batch}/{n}/{}", "x".repeat(40 * (batch % 7)));
                    let ticket = recorder.record_or_hold(&access(&path)).await.expect("room");
                    tickets.push((path, ticket));
                }
                for (path, ticket) in tickets {
                    assert_eq!(ticket.await, Outcome::Durable);
                    disk.log(Op::Acknowledged { path });
                }
            }
        });
        let stopping = disk.so_far();
        assert!(journal.stop());
        let rows = read(folder.path()).into_iter().filter(|row| row.kind == Kind::Access);
        let seqs = rows.map(|row| (row.path, row.seq)).collect();
        let ops = disk.0.lock().expect("unpoisoned").clone();
        Self { ops, folder, seqs, stopping }
    }

    /// The paths that must be found after power was lost behind so many operations.
    fn owed(&self, crash: usize, level: Durability) -> BTreeSet<&str> {
        let mut owed = BTreeSet::new();
        let mut written: Vec<(&str, usize, std::ops::Range<u64>)> = Vec::new();
        for (at, op) in self.ops[..crash].iter().enumerate() {
            match op {
                Op::Write { file, offset, bytes } => {
                    let from = if *offset == 0 { FileHead::decode(bytes).expect("a head").1 } else { 0 };
                    let Next::Frame(frame, _) = Frame::decode(&bytes[from..]) else { panic!("no frame") };
                    written.push((file, at, frame.first_seq..frame.first_seq + u64::from(frame.count)));
                }
                Op::Synced { file, before } => {
                    for (_, _, seqs) in written.iter().filter(|(f, at, _)| f == file && at < before) {
                        owed.extend(self.seqs.iter().filter(|(_, s)| seqs.contains(s)).map(|(p, _)| &p[..]));
                    }
                }
                Op::Acknowledged { path } if level == Durability::Fsync => {
                    owed.insert(path);
                }
                _ => {}
            }
        }
        owed
    }

    /// A folder that losing power behind so many operations could leave.
    fn crashed(&self, crash: usize, chance: &mut Chance) -> tempfile::TempDir {
        let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let mut unsynced: Vec<(usize, &Op)> = Vec::new();
        let mut begun = None;
        for (at, op) in self.ops[..crash].iter().enumerate() {
            match op {
                Op::CreateBegun { .. } => begun = Some(op),
                Op::Created { file } => {
                    if let Some(Op::CreateBegun { bytes, .. }) = begun.take() {
                        files.insert(file, vec![0; *bytes as usize]);
                    }
                }
                Op::Synced { file, before } => {
                    let covered = |(at, op): &(usize, &Op)| at < before && name(op) == file;
                    for (_, op) in unsynced.iter().filter(|op| covered(op)) {
                        apply(op, files.get_mut(&file[..]).expect("made before"), &mut Chance::certain());
                    }
                    unsynced.retain(|op| !covered(op));
                }
                Op::Acknowledged { .. } => {}
                Op::Write { .. } | Op::SetLen { .. } => unsynced.push((at, op)),
            }
        }
        for (_, op) in unsynced {
            apply(op, files.get_mut(name(op)).expect("made before"), chance);
        }
        if let Some(Op::CreateBegun { file, bytes }) = begun {
            match chance.below(3) {
                0 => {}
                1 => drop(files.insert(file, Vec::new())),
                _ => drop(files.insert(file, vec![0; *bytes as usize])),
            }
        }
        let copy = snapshot(self.folder.path());
        let journal = copy.path().join("journal");
        std::fs::remove_dir_all(&journal).expect("removed");
        std::fs::create_dir(&journal).expect("a folder");
        // Made and synced before the first file.
        std::fs::write(journal.join("instance.lock"), "0000000001\n").expect("written");
        std::fs::write(journal.join("000001.live"), "").expect("written");
        for (name, bytes) in files {
            std::fs::write(journal.join(name), bytes).expect("written");
        }
        copy
    }
}

fn name(op: &Op) -> &str {
    match op {
        Op::CreateBegun { file, .. }
        | Op::Created { file }
        | Op::Write { file, .. }
        | Op::SetLen { file, .. }
        | Op::Synced { file, .. } => file,
        Op::Acknowledged { .. } => "",
    }
}

/// Does to the bytes what of an operation comes to be.
fn apply(op: &Op, content: &mut Vec<u8>, chance: &mut Chance) {
    match op {
        Op::Write { offset, bytes, .. } => {
            let all = chance.below(3);
            let offset = *offset as usize;
            content.resize(content.len().max(offset + bytes.len()), 0);
            for (at, byte) in bytes.iter().enumerate() {
                let sector_begins = at == 0 || (offset + at).is_multiple_of(SECTOR);
                if all == 1 && sector_begins {
                    chance.toss();
                }
                if all == 0 || (all == 1 && chance.last) {
                    content[offset + at] = *byte;
                }
            }
        }
        Op::SetLen { len, .. } if chance.below(2) == 0 => content.resize(*len as usize, 0),
        _ => {}
    }
}

/// A stream of choices from a seed (SplitMix64).
struct Chance {
    state: Option<u64>,
    last: bool,
}

impl Chance {
    fn new(seed: u64) -> Self {
        Self { state: Some(seed), last: false }
    }

    /// Everything comes to be.
    fn certain() -> Self {
        Self { state: None, last: true }
    }

    fn below(&mut self, n: u64) -> u64 {
        let Some(state) = &mut self.state else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }

    fn toss(&mut self) {
        self.last = self.below(2) == 0;
    }
}

/// Loses power behind so many operations, starts again, and checks the promises.
fn lose_power(run: &Run, level: Durability, crash: usize, seed: u64) -> Result<(), TestCaseError> {
    let folder = run.crashed(crash, &mut Chance::new(seed));
    let (journal, handle) = start(Arc::new(OsDisk), options(folder.path()));
    work(handle, async |recorder| {
        let ticket = recorder.record_or_hold(&access("/after")).await.expect("room");
        assert_eq!(ticket.await, Outcome::Durable);
    });
    prop_assert!(journal.stop());
    let rows = read(folder.path());
    let found: Vec<&str> = rows.iter().filter(|r| r.kind == Kind::Access).map(|r| &r.path[..]).collect();
    let unique: BTreeSet<&str> = found.iter().copied().collect();
    prop_assert_eq!(unique.len(), found.len(), "a row came twice");
    let lost: Vec<_> = run.owed(crash, level).into_iter().filter(|path| !unique.contains(path)).collect();
    prop_assert!(lost.is_empty(), "lost: {lost:?}");
    for row in rows.iter().filter(|row| row.kind == Kind::Access && row.path != "/after") {
        prop_assert_eq!(run.seqs.get(&row.path), Some(&row.seq), "a made-up row");
    }
    prop_assert!(unique.contains("/after"));
    prop_assert!(crash > run.stopping || rows.iter().any(|row| row.gap == "unclean_stop"));
    Ok(())
}

fn run_at(level: Durability) -> &'static Run {
    static RUNS: [OnceLock<Run>; 2] = [OnceLock::new(), OnceLock::new()];
    RUNS[usize::from(level == Durability::Fsync)].get_or_init(|| Run::of(level))
}

#[test]
fn the_model_knows_several_files_and_owes_everything_at_the_end() {
    for level in [Durability::Group, Durability::Fsync] {
        let run = run_at(level);
        let files = run.ops.iter().filter(|op| matches!(op, Op::Created { .. })).count();
        assert!(files >= 3, "{files} files");
        assert_eq!(run.owed(run.ops.len(), level).len(), 48);
        assert_eq!(run.seqs.len(), 48);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn promise_2_what_was_synced_survives_loss_of_power_at_any_point(at: prop::sample::Index, seed: u64) {
        let run = run_at(Durability::Group);
        lose_power(run, Durability::Group, at.index(run.ops.len() + 1), seed)?;
    }

    #[test]
    fn promise_3_what_was_acknowledged_at_level_fsync_survives_loss_of_power_at_any_point(at: prop::sample::Index, seed: u64) {
        let run = run_at(Durability::Fsync);
        lose_power(run, Durability::Fsync, at.index(run.ops.len() + 1), seed)?;
    }
}

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;
