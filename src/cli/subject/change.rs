//! `subject block`, `unblock` and `erase`.
//!
//! Each is in the audit log before it begins, and its end after it. `erase` counts first and does nothing without
//! `--yes`. Bound: those of [`crate::store::subjects`].

use std::io::Write;

use super::Failure;
use super::args::{ChangeArgs, EraseArgs};
use super::certificate::{Facts, certificate};
use super::find::{Found, counted, counts_table, total};
use super::receipts::kept;
use super::who::{Subject, ended, tell_unlinked};
use crate::cli::logs::tell_damage;
use crate::cli::new_file::new_file;
use crate::clock;
use crate::store::holds::Holds;
use crate::store::subjects::{self, Erased, How};

/// `subject block`.
pub(super) fn block(args: &ChangeArgs, out: &mut dyn Write) -> Result<bool, Failure> {
    let subject = Subject::to_change(&args.who)?;
    let grant = subject.grant("subject block", &args.who.reason)?;
    let done = subjects::block(&subject.folder, &subject.keys, &subject.person, clock::now, &|_| Ok(()));
    let records = done.as_ref().map_or(0, |done| done.records);
    let done = done.map_err(Failure::from).and_then(|done| Ok((done, subject.unlinked()?)));
    let (done, unlinked) = ended(grant, records, done)?;
    let again = if done.before { " (it was blocked before)" } else { "" };
    let text = format!(
        "blocked{again}: {} records are hidden from every read, and those that come\n{}\n",
        done.records, subject.tags
    );
    out.write_all(text.as_bytes()).map_err(Failure::Output)?;
    tell_unlinked(unlinked);
    Ok(unlinked == 0)
}

/// `subject unblock`; whether anybody was blocked.
pub(super) fn unblock(args: &ChangeArgs, out: &mut dyn Write) -> Result<bool, Failure> {
    let subject = Subject::to_change(&args.who)?;
    let grant = subject.grant("subject unblock", &args.who.reason)?;
    let lifted = subjects::unblock(&subject.folder, &subject.keys, &subject.person, clock::now());
    let records = lifted.as_ref().map_or(0, |lifted| lifted.iter().map(|(_, records)| records).sum());
    let lifted = ended(grant, records, lifted.map_err(Failure::from))?;
    let text = if lifted.is_empty() {
        "nobody with such a tag is blocked\n".to_owned()
    } else {
        format!("lifted: {records} records can be read again\n")
    };
    out.write_all(text.as_bytes()).map_err(Failure::Output)?;
    Ok(!lifted.is_empty())
}

/// `subject erase`; whether there is anything.
pub(super) fn erase(args: &EraseArgs, out: &mut dyn Write) -> Result<bool, Failure> {
    if !args.yes {
        return rehearse(args, &Subject::of(&args.who)?, out);
    }
    let subject = Subject::to_change(&args.who)?;
    // Before anything is done: afterwards there would be nothing left to certify again.
    let mut file = match &args.certificate {
        Some(path) => Some(new_file(path).map_err(Failure::Usage)?),
        None => None,
    };
    let why = match args.despite_hold.as_deref().map(str::trim) {
        Some("") => return Err(Failure::Usage("--despite-hold must say why".to_owned())),
        why => why,
    };
    let reason = args.who.reason.trim();
    let entered = why.map_or_else(|| reason.to_owned(), |why| format!("{reason}; despite a hold: {why}"));
    let grant = subject.grant("subject erase", &entered)?;
    let audit = grant.number();
    // Before: records lead to receipts.
    let done = counted(&subject, &grant).and_then(|found| {
        tell_damage(&found.damaged);
        let erased = subjects::erase(
            (subject.folder.as_path(), &subject.keys),
            (&subject.person, How { rotate: args.rotate_day, despite_holds: why.is_some() }),
            clock::now,
            &|_| Ok(()),
            &mut |progress| eprintln!("{progress}"),
        )?;
        Ok((erased, kept(&found.receipts), found.unlinked))
    });
    if let (Err(_), Some(path)) = (&done, &args.certificate) {
        // Nothing to certify: the name is free for the next try.
        std::fs::remove_file(path).map_err(Failure::Output)?;
    }
    let records = done.as_ref().map_or(0, |(erased, ..)| total(&erased.done.days).records);
    let (Erased { id, ordered, finished, done }, kept, unlinked) = ended(grant, records, done)?;
    let text = certificate(&Facts {
        id,
        whose: &subject.tags,
        reason,
        despite: why,
        ordered,
        finished,
        audit,
        folder: &subject.folder.display().to_string(),
        rotated: args.rotate_day,
        done: &done,
        kept: &kept,
        unlinked,
    });
    match &mut file {
        Some(file) => file.write_all(text.as_bytes()).and_then(|()| file.sync_all()),
        None => out.write_all(text.as_bytes()),
    }
    .map_err(Failure::Output)?;
    tell_unlinked(unlinked);
    Ok(records > 0 && unlinked == 0)
}

/// Tells what would be erased.
fn rehearse(args: &EraseArgs, subject: &Subject, out: &mut dyn Write) -> Result<bool, Failure> {
    let grant = subject.grant("subject erase (dry run)", &args.who.reason)?;
    let found = counted(subject, &grant);
    let records = found.as_ref().map_or(0, |found| total(&found.days).records);
    let Found { days, receipts, damaged, unlinked } = ended(grant, records, found)?;
    tell_damage(&damaged);
    tell_unlinked(unlinked);
    let holds = Holds::read(&subject.folder).map_err(subjects::SubjectError::from)?;
    let mut text = format!("{}\n{}", subject.tags, counts_table(&days));
    for (i, line) in kept(&receipts).iter().enumerate() {
        text.push_str(if i == 0 { "kept: " } else { "      " });
        text.push_str(line);
        text.push('\n');
    }
    for day in subjects::held_days(&holds, days.keys(), clock::now()) {
        text.push_str(&format!("{day}: --despite-hold must say why it goes all the same\n"));
    }
    text.push_str("nothing was erased; repeat with --yes to erase these records for good\n");
    out.write_all(text.as_bytes()).map_err(Failure::Output)?;
    Ok(records > 0 && unlinked == 0)
}
