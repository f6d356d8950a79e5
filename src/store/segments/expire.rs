//! Destroys what is over: the keys of a class and day, then whole days, and says so in the audit log before and after.
//!
//! ```text
//! entry `destruction` ──► a class: its keys destroyed ─────────────────────────► entry `end`
//!                     └─► a day: manifest line ──► files removed ──► all its keys ─┘
//! ```
//!
//! A destruction that a crash interrupted is finished at the next start, under the entry that began it. What is held is
//! told once. Without a written intention nothing is destroyed. Never decides what is over: [`Terms`] does. Bound: one
//! pass over keys, manifest and journal files; of holds, one entry per class and day.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use super::SegmentError;
use super::compact::Work;
use super::manifest::{Entry, Manifest, Removed};
use super::orphans::listed;
use super::rewrite;
use super::step::Step;
use crate::audit::{self, AuditLog, Destruction, Kind, Method, Outcome};
use crate::clock::Timestamp;
use crate::record::Class;
use crate::regular_file;
use crate::seal::{Day, KeyClass, KeyId};
use crate::store::disk::sync_folder;
use crate::store::files::{self, Begin};
use crate::store::journal::FOLDER as JOURNAL;
use crate::store::stats::Stats;
use crate::store::terms::{Fate, HeldBy, Terms};
use crate::store::visit;

/// What one process knows of the retention of a folder.
pub(super) struct Expiry {
    pub(super) terms: Terms,
    /// Read from the audit log at the first run.
    told: Option<Told>,
    /// When everything was as the terms say.
    done: Option<Timestamp>,
}

/// What the audit log says.
#[derive(Default)]
struct Told {
    /// Destructions without an end, by the number of their entry.
    begun: BTreeMap<u64, Task>,
    /// Class, day and what holds them.
    held: BTreeSet<(String, String, String)>,
}

/// One destruction.
#[derive(Clone, Debug)]
struct Task {
    class: KeyClass,
    day: Day,
    method: Method,
    files: u64,
    rows: u64,
    keys: u64,
    reason: String,
}

/// A journal file and what it holds.
struct Journaled {
    path: PathBuf,
    day: Day,
    rows: u64,
}

/// One run.
struct Run<'r> {
    work: &'r Work,
    terms: &'r Terms,
    told: &'r mut Told,
    manifest: &'r mut Manifest,
    journal: &'r Stats,
    now: Timestamp,
    today: Day,
    log: Option<AuditLog>,
}

impl Expiry {
    pub(super) const fn new(terms: Terms) -> Self {
        Self { terms, told: None, done: None }
    }

    /// Days change at midnight; in between, keys may have come from another process.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.done.is_none_or(|done| done.day() != now.day() || now.since(done) >= LOOK_AGAIN || now < done)
    }
}

impl Work {
    /// Destroys what is over at `now`. After an error it must be called again; then it looks at everything anew.
    pub(super) fn expire(
        &self,
        expiry: &mut Expiry,
        manifest: &mut Manifest,
        now: Timestamp,
        journal: &Stats,
    ) -> Result<(), SegmentError> {
        if !expiry.is_due(now) {
            return Ok(());
        }
        expiry.done = None;
        let told = match &mut expiry.told {
            Some(told) => told,
            none => none.insert(Told::read(&self.dir)?),
        };
        let terms = &expiry.terms;
        let mut run = Run { work: self, terms, told, manifest, journal, now, today: Day::of(now), log: None };
        run.finish_begun()?;
        for task in run.due()? {
            run.carry_out(&task)?;
        }
        run.forget_keys()?;
        journal.count_keys(&*self.keys);
        self.stats.retention_runs.fetch_add(1, Relaxed);
        self.stats.retention_is_done(now);
        expiry.done = Some(now);
        Ok(())
    }
}

impl Told {
    /// Reads the whole log; one that is not there says nothing.
    fn read(records: &std::path::Path) -> Result<Self, SegmentError> {
        let mut told = Self::default();
        let read = audit::verify(records, |entry, _| told.take(entry));
        match read {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause.into()),
            _ => Ok(told),
        }
    }

    fn take(&mut self, entry: &audit::Entry) {
        match entry.kind {
            Kind::Destruction => {
                // What a newer version began is its own to finish.
                if let Some(task) = Task::of(entry) {
                    self.begun.insert(entry.n, task);
                }
            }
            Kind::End => {
                entry.of.and_then(|n| self.begun.remove(&n));
            }
            Kind::Hold => {
                let text = |of: &Option<String>| of.clone().unwrap_or_default();
                self.held.insert((text(&entry.class), text(&entry.day), text(&entry.reason)));
            }
            Kind::Read | Kind::Disclosure | Kind::KeyChange | Kind::Interrupted => {}
        }
    }
}

impl Task {
    fn of(entry: &audit::Entry) -> Option<Self> {
        Some(Self {
            class: KeyClass::from_label(entry.class.as_deref()?)?,
            day: entry.day.as_deref()?.parse().ok()?,
            method: entry.method?,
            files: entry.files.unwrap_or_default(),
            rows: entry.rows.unwrap_or_default(),
            keys: entry.keys.unwrap_or_default(),
            reason: entry.reason.clone().unwrap_or_default(),
        })
    }

    fn concerns(&self, key: &KeyId) -> bool {
        key.day == self.day && (self.method == Method::Files || key.class == self.class)
    }
}

impl Run<'_> {
    /// Finishes what a crash interrupted, unless something holds it by now.
    fn finish_begun(&mut self) -> Result<(), SegmentError> {
        while let Some((n, task)) = self.told.begun.first_key_value().map(|(n, task)| (*n, task.clone())) {
            let over = self.terms.fate_of_key(task.class, task.day, self.today) == Fate::Over;
            if over {
                self.destroy(&task)?;
            }
            self.end(n, &task, if over { Outcome::Complete } else { Outcome::Broken })?;
            self.told.begun.remove(&n);
        }
        Ok(())
    }

    /// What is over; tells what is held.
    fn due(&mut self) -> Result<Vec<Task>, SegmentError> {
        let (keys, journaled) = (self.work.keys.list()?, self.journaled()?);
        let mut days: BTreeSet<Day> = keys.iter().map(|key| key.day).collect();
        days.extend(self.manifest.entries().iter().filter_map(|entry| rewrite::day(&entry.file)));
        days.extend(journaled.iter().map(|file| file.day));
        let (mut tasks, mut held) = (Vec::new(), [0; Class::ALL.len()]);
        for day in days {
            if self.terms.fate(Class::Clear, day, self.today) == Fate::Over {
                tasks.push(self.task(KeyClass::Clear, day, Method::Files, (&keys, &journaled)));
                continue;
            }
            for class in KeyClass::ALL {
                let alive = keys.iter().any(|key| (key.class, key.day) == (class, day));
                match self.terms.fate_of_key(class, day, self.today) {
                    Fate::Over if alive => {
                        tasks.push(self.task(class, day, Method::Keys, (&keys, &journaled)));
                    }
                    Fate::Held(by) if alive => {
                        self.tell_held(class, day, by)?;
                        if let Some(class) = class.class() {
                            held[class as usize] += 1;
                        }
                    }
                    _ => {}
                }
            }
        }
        self.work.stats.held(&held, self.terms.holds().len() as u64);
        Ok(tasks)
    }

    fn task(
        &self,
        class: KeyClass,
        day: Day,
        method: Method,
        (keys, journaled): (&[KeyId], &[Journaled]),
    ) -> Task {
        let reason = self.terms.reason(class);
        let mut task = Task { class, day, method, files: 0, rows: 0, keys: 0, reason };
        task.keys = keys.iter().filter(|key| task.concerns(key)).count() as u64;
        let prefix = format!("{}/", class.label());
        let holds = |e: &&Entry| method == Method::Files || e.keys.iter().any(|key| key.starts_with(&prefix));
        let segments = self.manifest.entries().iter().filter(|e| rewrite::day(&e.file) == Some(day));
        let rows = segments.filter(holds).map(|e| e.rows);
        let journaled = journaled.iter().filter(|file| file.day == day).map(|file| file.rows);
        for rows in rows.chain(journaled) {
            task.files += 1;
            task.rows += rows;
        }
        task
    }

    /// One destruction with both its entries.
    fn carry_out(&mut self, task: &Task) -> Result<(), SegmentError> {
        let now = self.now;
        let n = task.with(|what| self.log()?.intend(what, now).map_err(SegmentError::from))?;
        self.told.begun.insert(n, task.clone());
        self.work.faults.at(Step::Intended)?;
        self.destroy(task)?;
        self.end(n, task, Outcome::Complete)?;
        self.told.begun.remove(&n);
        tracing::info!(
            class = task.class.label(),
            day = %task.day,
            records = task.rows,
            keys = task.keys,
            "destroyed: {}",
            task.reason
        );
        Ok(())
    }

    /// What is left of a destruction; doing it again does no harm.
    fn destroy(&mut self, task: &Task) -> Result<(), SegmentError> {
        if task.method == Method::Files {
            self.remove_segments(task.day)?;
            self.remove_journal(task.day)?;
        }
        for key in self.work.keys.list()?.iter().filter(|key| task.concerns(key)) {
            self.work.keys.destroy(key)?;
            self.work.faults.at(Step::KeyDestroyed)?;
        }
        if task.class == KeyClass::Visit || task.method == Method::Files {
            visit::remove(&self.work.dir, task.day)?;
        }
        Ok(())
    }

    /// Forgets the names of keys whose days are over for so long that nothing of them can be there, nor come back.
    fn forget_keys(&self) -> Result<(), SegmentError> {
        let old =
            |day: Day| self.today.number() - day.number() > i64::from(self.terms.longest()) + REMEMBERED;
        let gone: Vec<KeyId> = self.work.keys.destroyed()?.into_iter().filter(|key| old(key.day)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // What a hold kept, or another process could not remove.
        let mut needed: BTreeSet<Day> = self.journaled()?.iter().map(|file| file.day).collect();
        needed.extend(self.manifest.entries().iter().filter_map(|entry| rewrite::day(&entry.file)));
        needed.extend(self.work.keys.list()?.iter().map(|key| key.day));
        for key in gone.iter().filter(|key| !needed.contains(&key.day)) {
            self.work.keys.forget(key)?;
        }
        Ok(())
    }

    fn remove_segments(&mut self, day: Day) -> Result<(), SegmentError> {
        let of_day = |e: &&Entry| rewrite::day(&e.file) == Some(day);
        let files: Vec<_> = self.manifest.entries().iter().filter(of_day).map(|e| e.file.clone()).collect();
        for file in files {
            self.work.forget(self.manifest, &file, Removed::Age, self.now)?;
            self.work.stats.removed_age.fetch_add(1, Relaxed);
        }
        let folder = self.work.folder()?;
        let of_day = format!("dt={day}");
        // What a crash left in it is swept before; the rest is segments without a line, whose time is over as well.
        for file in
            listed(&folder)?.iter().filter(|file| file.split_once('/').is_some_and(|(d, _)| d == of_day))
        {
            remove(&folder.join(file))?;
        }
        let _ = std::fs::remove_dir(folder.join(of_day));
        Ok(())
    }

    fn remove_journal(&self, day: Day) -> Result<(), SegmentError> {
        for file in self.journaled()?.iter().filter(|file| file.day == day) {
            remove(&file.path)?;
            self.journal.files_expired.fetch_add(1, Relaxed);
            self.work.faults.at(Step::Unlinked)?;
        }
        Ok(())
    }

    /// The journal files that have been begun. The writer leaves a file at midnight, so one of a day that is over is
    /// written by nobody.
    fn journaled(&self) -> io::Result<Vec<Journaled>> {
        let mut found = Vec::new();
        for name in files::list(&self.work.dir.join(JOURNAL))? {
            let file = match regular_file::open(&name.path) {
                Ok(file) => file,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(cause),
            };
            let end = files::end(&file)?;
            let (day, rows) = match (files::begin(&file)?, end) {
                (Begin::Head(head, _), end) => {
                    (head.created, end.map_or(0, |end| end.next_seq.saturating_sub(head.first_seq)))
                }
                // A damaged head takes no file out of its term.
                (Begin::Damaged, Some(end)) => (end.ts, 0),
                (Begin::Damaged | Begin::Unbegun, _) => continue,
            };
            found.push(Journaled { path: name.path, day: Day::of(day), rows });
        }
        Ok(found)
    }

    fn tell_held(&mut self, class: KeyClass, day: Day, by: HeldBy<'_>) -> Result<(), SegmentError> {
        let told = (class.label().to_owned(), day.to_string(), by.to_string());
        if !self.told.held.contains(&told) {
            let now = self.now;
            self.log()?.held(&told.0, &told.1, &told.2, now)?;
            self.told.held.insert(told);
        }
        Ok(())
    }

    fn end(&mut self, n: u64, task: &Task, outcome: Outcome) -> Result<(), SegmentError> {
        let now = self.now;
        task.with(|what| self.log()?.destroyed(n, what, outcome, now).map_err(SegmentError::from))?;
        self.work.faults.at(Step::Ended)?;
        Ok(())
    }

    /// The log, made when there is something to tell.
    fn log(&mut self) -> Result<&AuditLog, SegmentError> {
        match &mut self.log {
            Some(log) => Ok(log),
            none => Ok(none.insert(AuditLog::open(&self.work.dir)?)),
        }
    }
}

impl Task {
    /// As the audit log takes it.
    fn with<T>(&self, each: impl FnOnce(&Destruction<'_>) -> T) -> T {
        each(&Destruction {
            class: self.class.label(),
            day: &self.day.to_string(),
            method: self.method,
            files: self.files,
            rows: self.rows,
            keys: self.keys,
            reason: &self.reason,
        })
    }
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => sync_folder(path),
    }
}

/// Days after the last term for which the name of a destroyed key is remembered: a backup that is read meanwhile says that
/// the key was destroyed, not that it is missing.
const REMEMBERED: i64 = 400;
/// How often keys and files are looked at although the day is the same.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(3600);
