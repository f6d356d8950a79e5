//! The duckdb program: found, shut in, asked.
//!
//! Before the first word of a statement DuckDB has the rows as the view `records` and nothing else: other files, the
//! network, extensions, the environment, the shell and its own settings are closed to it, and a session that does not
//! confirm that is not asked. Its home is the private folder, so nothing is left of what was typed. Bound:
//! [`TOLD_BYTES`] of its messages.

use std::fs::OpenOptions;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::answer::Answer;
use crate::cli::logs::Format;
use crate::cli::logs::escape::push_text;
use crate::cli::logs::interrupt::Interrupt;
use crate::cli::logs::read::{Failure, Output};
use crate::store::query::where_clause::MACROS;

/// Where duckdb is.
pub(super) struct Program(PathBuf);

impl Program {
    /// The program that was named, or the one on the `PATH`.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, Failure> {
        let found = match named {
            Some(path) => path.is_file().then(|| path.to_owned()),
            None => {
                let folders = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&folders)
                    .map(|folder| folder.join("duckdb"))
                    .find(|path| path.is_file())
            }
        };
        let found = found.ok_or_else(|| {
            let missing = named.map_or("the duckdb program is not on the PATH".to_owned(), |path| {
                format!("{} is not there", path.display())
            });
            Failure::Usage(format!(
                "{missing}\n  hint: `pip install duckdb-cli` brings it, or see duckdb.org; name another place with --duckdb PATH"
            ))
        })?;
        Ok(Self(behind_script(&found).unwrap_or(found)))
    }
}

/// The program that the script of the Python package starts: it passes settings on that a shut-in session refuses.
fn behind_script(path: &Path) -> Option<PathBuf> {
    let mut head = [0; 256];
    let len = std::fs::File::open(path).ok()?.read(&mut head).ok()?;
    let interpreter = std::str::from_utf8(&head[..len]).ok()?.strip_prefix("#!")?.lines().next()?.trim();
    let code = "import duckdb_cli, os; print(os.path.join(os.path.dirname(duckdb_cli.__file__), 'duckdb'))";
    let said = Command::new(interpreter).args(["-c", code]).stderr(Stdio::null()).output().ok()?;
    let found = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
    found.is_file().then_some(found)
}

/// What a session is opened with.
pub(super) struct Session<'s> {
    pub(super) folder: &'s Path,
    pub(super) files: &'s [PathBuf],
    /// Most bytes that DuckDB may put aside.
    pub(super) disk: u64,
    /// Most bytes of memory.
    pub(super) memory: u64,
    pub(super) interrupt: &'s Interrupt,
}

impl Session<'_> {
    /// Prints the answer to a statement; how many rows it has.
    pub(super) fn answer(
        &self,
        program: &Program,
        sql: &str,
        format: Format,
        out: &mut Output<'_>,
    ) -> Result<u64, Failure> {
        let mode: &[&str] = match format {
            Format::Json => &["-jsonlines"],
            Format::Csv => &["-csv", "-nullvalue", ""],
            Format::Table | Format::Clf => &["-box", "-nullvalue", "-"],
        };
        let mut command = self.command(program);
        command.args(["-batch", "-bail"]).args(mode);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Failure::Read)?;
        self.interrupt.child(Some((child.id(), false)));
        let result = self.converse(&mut child, sql, format, out);
        if result.is_err() {
            // The output is closed: nobody waits for the rest.
            let _ = child.kill();
        }
        let status = child.wait().map_err(Failure::Read);
        self.interrupt.child(None);
        let (rows, told) = result?;
        self.ended(status?, &told)?;
        Ok(rows)
    }

    /// Gives the terminal to DuckDB's shell until it is left.
    pub(super) fn shell(&self, program: &Program) -> Result<(), Failure> {
        let pipe = self.folder.join("open.sql");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .map_err(|e| Failure::Read(e.into()))?;
        let mut child = self.command(program).arg("-init").arg(&pipe).spawn().map_err(Failure::Read)?;
        self.interrupt.child(Some((child.id(), true)));
        let opened = self.open_by(&pipe, &mut child);
        let status = child.wait().map_err(Failure::Read);
        self.interrupt.child(None);
        opened.map_err(Failure::Read)?;
        // Whatever its last statement came to, DuckDB has said it.
        if self.interrupt.came() { Err(Failure::Interrupted) } else { status.map(drop) }
    }

    fn command(&self, program: &Program) -> Command {
        let mut command = Command::new(&program.0);
        command.env("HOME", self.folder).env_remove("DUCKDB_HISTORY");
        command
    }

    /// Writes the opening into the pipe as soon as it is read.
    fn open_by(&self, pipe: &Path, child: &mut Child) -> io::Result<()> {
        let no_wait = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        loop {
            match OpenOptions::new().write(true).custom_flags(no_wait).open(pipe) {
                Ok(mut file) => return file.write_all(self.opening(true).as_bytes()),
                // Nobody reads it yet.
                Err(cause) if cause.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {}
                Err(cause) => return Err(cause),
            }
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Sends the statement, prints what comes back; how many rows, and what DuckDB said on its standard error.
    fn converse(
        &self,
        child: &mut Child,
        sql: &str,
        format: Format,
        out: &mut Output<'_>,
    ) -> Result<(u64, String), Failure> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let script = format!("{}\n{}\n;\n", self.opening(false), sql.trim().trim_end_matches(';'));
        std::thread::scope(|scope| {
            // One that ended early has said why.
            let sending = scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(script.as_bytes())));
            let telling = scope.spawn(move || stderr.map(told).unwrap_or_default());
            let printed = stdout.map_or(Ok(0), |stdout| Answer::new(format).print(stdout, out));
            if printed.is_err() {
                let _ = child.kill();
            }
            let _ = sending.join();
            let told = telling.join().unwrap_or_default();
            printed.map(|rows| (rows, told))
        })
    }

    fn ended(&self, status: ExitStatus, told: &str) -> Result<(), Failure> {
        if self.interrupt.came() {
            return Err(Failure::Interrupted);
        }
        match status.code() {
            Some(0) => Ok(()),
            Some(_) => Err(Failure::Usage(format!("DuckDB refused: {}", told.trim()))),
            None => {
                Err(Failure::Read(io::Error::other(format!("duckdb was ended by a signal {}", told.trim()))))
            }
        }
    }

    /// What a session begins with: limits, the rows, then the lock, and the proof that it holds.
    /// `goes_on`: whether the session outlives a wrong statement.
    fn opening(&self, goes_on: bool) -> String {
        let files: Vec<String> = self.files.iter().map(|path| quoted(path)).collect();
        let (files, kept) = (files.join(", "), quoted(&self.folder.join("aside")));
        let (disk, memory) = (self.disk >> 10, self.memory >> 10);
        let bail = if goes_on { "off" } else { "on" };
        format!(
            ".bail on\n\
             SET temp_directory = {kept};\n\
             SET max_temp_directory_size = '{disk}KiB';\n\
             SET temp_file_encryption = true;\n\
             SET memory_limit = '{memory}KiB';\n\
             SET TimeZone = 'UTC';\n\
             SET autoinstall_known_extensions = false;\n\
             SET autoload_known_extensions = false;\n\
             SET allow_community_extensions = false;\n\
             {MACROS}\n\
             CREATE VIEW records AS SELECT * FROM read_parquet([{files}]);\n\
             SET allowed_paths = [{files}];\n\
             .safe_mode\n\
             SET VARIABLE shut_in = CASE WHEN current_setting('enable_external_access') \
             OR NOT current_setting('lock_configuration') THEN error('this duckdb cannot be shut in') END;\n\
             .bail {bail}\n"
        )
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}

/// What the program says, harmless for a terminal; the rest is dropped.
fn told(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = Read::by_ref(&mut from).take(TOLD_BYTES).read_to_end(&mut bytes);
    let _ = io::copy(&mut from, &mut io::sink());
    let mut text = String::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        push_text(&mut text, line);
        text.push('\n');
    }
    text
}

/// Most bytes of messages that are shown.
const TOLD_BYTES: u64 = 16 << 10;
/// Time between two looks whether the shell has begun.
const LOOK: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_the_way_to_it() {
        let Err(Failure::Usage(message)) = Program::find(Some(Path::new("/nowhere/duckdb"))) else {
            panic!("found nowhere")
        };
        assert!(message.contains("pip install duckdb-cli") && message.contains("--duckdb"), "{message}");
    }

    #[test]
    fn messages_cannot_act_on_the_terminal() {
        assert_eq!(told(&b"a\x1b[31m\nb"[..]), "a\\x1b[31m\nb\n");
        assert!(told(&vec![b'x'; 1 << 20][..]).len() as u64 <= TOLD_BYTES + 1);
    }
}
