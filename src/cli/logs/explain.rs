//! `--explain-access`: what a purpose opens, and how long it is kept.
//!
//! Reads no record and writes no audit entry. Bound: the column table.

use std::fmt::Write as _;

use super::read::{Failure, Output};
use super::rows::{fit, pad};
use crate::record::{COLUMNS, Class, Purpose};

/// Prints one line per class, then the sealed columns that the purpose opens.
pub(super) fn run(purpose: Purpose, out: &mut Output<'_>) -> Result<u64, Failure> {
    let mut text = format!("purpose {purpose}: {}\n\n", needs(purpose));
    for class in Class::ALL {
        let columns = COLUMNS.iter().filter(|c| c.class == class).count();
        let state = if purpose.opens(class) { "open" } else { "sealed" };
        let _ = writeln!(
            text,
            "{:<6} {state:<7} {columns:>3} columns, kept {} days by default",
            class.label(),
            class.default_days()
        );
    }
    out.write(&text)?;
    let mut shown = 0;
    for column in COLUMNS.iter().filter(|c| c.class != Class::Clear && purpose.opens(c.class)) {
        if shown == 0 {
            out.write("\nsealed columns that it opens:\n")?;
        }
        let mut line = String::new();
        pad(&mut line, column.name, 30, false, false);
        pad(&mut line, column.class.label(), 6, false, false);
        let _ = write!(line, "{} ({})", column.doc.trim(), column.clause);
        fit(&mut line, out.terminal());
        line.push('\n');
        out.write(&line)?;
        shown += 1;
    }
    if shown == 0 {
        out.write("\nno sealed column; `kelisim logs fields` tells which purpose opens which\n")?;
    }
    out.flush()?;
    Ok(shown)
}

const fn needs(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Support => "needs no reason; every read is in the audit log",
        _ => "needs --reason; every read is in the audit log",
    }
}
