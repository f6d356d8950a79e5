//! Who runs the command: asked of the operating system, not of the environment, which anybody can set.
//!
//! Never fails: what cannot be found out is absent. Bound: three small files.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde::{Deserialize, Serialize};

/// The user of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Name of the user in the local user table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Number of the user.
    pub uid: u32,
    /// Number of the user who logged in, which `sudo` does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// Name of the machine.
    pub host: String,
    /// Number of the process.
    pub pid: u32,
}

impl Who {
    /// The user of this process.
    pub(super) fn of_this_process() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let first_line = |path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        let login_uid = first_line("/proc/self/loginuid").ok().and_then(|text| text.parse().ok());
        Self {
            user: name_of(uid),
            uid,
            login_uid: login_uid.filter(|uid| *uid != NOBODY_LOGGED_IN),
            host: first_line("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned()),
            pid: std::process::id(),
        }
    }
}

/// The user's name in the local table.
fn name_of(uid: u32) -> Option<String> {
    let table = BufReader::new(File::open("/etc/passwd").ok()?);
    table.lines().map_while(Result::ok).find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// What the kernel says of a process that nobody's login started.
const NOBODY_LOGGED_IN: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_superuser_has_a_name() {
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(3_999_999_999), None);
        assert_eq!(Who::of_this_process().pid, std::process::id());
    }
}
