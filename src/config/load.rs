//! From a file, a text or a URL to a [`Config`], or to all that is wrong with it.
//!
//! The steps are the same for every way in: TOML → environment → values → checks → `Config`. Bound: [`MAX_TEXT`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use super::build::build;
use super::check::{Texts, check};
use super::environment::overrides;
use super::files::{Disk, Files, MAX_TEXT, Pretend};
use super::problem::{Fault, Mistakes, Place, Problems};
use super::rest::Rest;
use super::value::Reader;
use super::walk::{Values, walk};
use super::{Config, Endpoint, print, syntax};

/// Reads and checks a configuration file; `env` are name and value of environment variables ([`super::environment`]).
///
/// # Errors
/// Every mistake in the file, in the files that it names and in the environment.
pub fn read(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Config, Problems> {
    let text = text_of(path)?;
    parse(&text, &path.display().to_string(), folder_of(path), env)
}

/// As [`read`], and has what the keys name opened by `open`: what cannot be used is told at its key. With mistakes
/// elsewhere only what is named beside them is opened.
///
/// # Errors
/// Every mistake in the file, in the files that it names and in the environment, and what cannot be used.
pub fn read_and_open(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    open: impl FnOnce(&Config) -> Vec<Unusable>,
) -> Result<Config, Problems> {
    let text = text_of(path)?;
    let file = path.display().to_string();
    let mut read = match read_text(&text, folder_of(path), env, &Disk) {
        Ok(read) => read,
        Err(mistakes) => return Err(mistakes.finish(&file, &text)),
    };
    if read.mistakes.is_empty() {
        let (config, values) = finish(read, &file, &text)?;
        let mut mistakes = Mistakes::default();
        for unusable in open(&config) {
            unusable.tell(&values, &mut mistakes);
        }
        return if mistakes.is_empty() { Ok(config) } else { Err(mistakes.finish(&file, &text)) };
    }
    let texts = std::mem::take(&mut read.texts);
    if !read.mistakes.overflows()
        && let Some(rest) = Rest::of(&read.values, &read.mistakes, texts)
    {
        for mut unusable in open(&rest.config) {
            unusable.key = rest.in_the_file(&unusable.key);
            unusable.tell(&read.values, &mut read.mistakes);
        }
    }
    Err(read.mistakes.finish(&file, &text))
}

/// What a key names and cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The key, such as `listen[0].tls.key`.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Unusable {
    fn tell(self, values: &Values, mistakes: &mut Mistakes) {
        let fault = Fault::new(self.why);
        let fault = match self.hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        };
        mistakes.add(values.place(&self.key), self.key, fault);
    }
}

/// Checks a configuration text. `file` stands in messages; relative paths start at `base_dir`.
///
/// # Errors
/// Every mistake in the text, in the files that it names and in the environment.
pub fn parse(
    text: &str,
    file: &str,
    base_dir: &Path,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, Problems> {
    load(text, file, base_dir, env, &Disk).map(|(config, _)| config)
}

/// Checks any bytes without touching the disk: every file that they name counts as there and empty.
///
/// # Errors
/// Every mistake in the bytes.
pub fn parse_pure(bytes: &[u8]) -> Result<Config, Problems> {
    let file = "kelisim.toml";
    let text = decode(bytes, file)?;
    load(text, file, Path::new(""), std::iter::empty(), &Pretend).map(|(config, _)| config)
}

/// The effective configuration as TOML: every key that has a value, with a comment where it is not from the file.
///
/// # Errors
/// As [`read`].
pub fn effective(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<String, Problems> {
    let text = text_of(path)?;
    let file = path.display().to_string();
    // What is printed may be saved elsewhere.
    let base = std::path::absolute(folder_of(path)).or_else(|_| std::env::current_dir());
    let base = base.unwrap_or_else(|_| folder_of(path).to_owned());
    load(&text, &file, &base, env, &Disk).map(|(_, values)| print::render(&values))
}

/// A gateway without a file: the host of `url` and the loopback names are served, on `listen` (default
/// [`DEFAULT_LISTEN`]: who is not on this machine must be let in on purpose), with data in `data` (default
/// `./kelisim-data`).
///
/// # Errors
/// Every mistake, with `--upstream` or `--listen` as its key.
pub fn for_upstream(
    url: &str,
    listen: Option<&str>,
    data: Option<PathBuf>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, Problems> {
    let mut hosts: Vec<String> = LOOPBACK_HOSTS.map(str::to_owned).to_vec();
    let own = match syntax::upstream(url) {
        Ok(Endpoint::Host { host, .. }) => syntax::host(&host).ok(),
        _ => None,
    };
    hosts.extend(own.filter(|own| !LOOPBACK_HOSTS.contains(&own.as_str())));
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let text = document(listen.unwrap_or(DEFAULT_LISTEN), &hosts, url);
    let loaded = load(&text, "command line", Path::new(""), env, &Disk);
    let (mut config, _) = loaded.map_err(|problems| {
        problems.without_place("command line", |key| match key {
            key if key.starts_with("site[0]") => Some("--upstream"),
            key if key.starts_with("listen[0]") => Some("--listen"),
            _ => None,
        })
    })?;
    config.records.dir = data.unwrap_or_else(|| DEFAULT_DATA.into());
    Ok(config)
}

impl Config {
    /// All defaults around one listener and one site, without environment; the caller changes what it needs.
    ///
    /// # Errors
    /// A host that is not one, or an upstream that is the listener itself.
    pub fn default_for(
        listen: SocketAddr,
        hosts: &[&str],
        upstream: SocketAddr,
        data: &Path,
    ) -> Result<Self, Problems> {
        let text = document(&listen.to_string(), hosts, &format!("http://{upstream}"));
        let (mut config, _) = load(&text, "defaults", Path::new(""), std::iter::empty(), &Disk)?;
        data.clone_into(&mut config.records.dir);
        Ok(config)
    }
}

/// A text that was read and checked; good if there are no mistakes.
struct Read {
    values: Values,
    texts: Texts,
    mistakes: Mistakes,
}

fn load(
    text: &str,
    file: &str,
    base: &Path,
    env: impl Iterator<Item = (String, String)>,
    files: &dyn Files,
) -> Result<(Config, Values), Problems> {
    let read = read_text(text, base, env, files).map_err(|mistakes| mistakes.finish(file, text))?;
    finish(read, file, text)
}

/// The values, and every mistake among them.
///
/// # Errors
/// The text is not TOML.
fn read_text(
    text: &str,
    base: &Path,
    env: impl Iterator<Item = (String, String)>,
    files: &dyn Files,
) -> Result<Read, Mistakes> {
    let mut mistakes = Mistakes::default();
    let root = match syntax_of(text) {
        Ok(root) => root,
        Err((place, fault)) => {
            mistakes.add(&place, "", fault);
            return Err(mistakes);
        }
    };
    let mut values = Values::default();
    let mut reader = Reader { base, mistakes: &mut mistakes };
    overrides(env, &mut values, &mut reader);
    walk(&root, &mut values, &mut reader);
    let texts = check(&values, files, &mut mistakes);
    Ok(Read { values, texts, mistakes })
}

fn finish(read: Read, file: &str, text: &str) -> Result<(Config, Values), Problems> {
    let Read { values, mut texts, mut mistakes } = read;
    if !mistakes.is_empty() {
        return Err(mistakes.finish(file, text));
    }
    build(&values, &mut texts).map(|config| (config, values)).map_err(|missing| {
        let fault = Fault::new("this program forgot a default").hint("please report this bug");
        mistakes.add(&Place::Nowhere, missing.0, fault);
        mistakes.finish(file, text)
    })
}

/// The parts of a text that is TOML.
#[cfg(test)]
pub(super) fn read_values(text: &str, files: &dyn Files) -> (Values, Mistakes, Texts) {
    let read = read_text(text, Path::new(""), std::iter::empty(), files);
    let Read { values, texts, mistakes } = read.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    (values, mistakes, texts)
}

fn syntax_of(text: &str) -> Result<Spanned<DeTable<'_>>, (Place, Fault)> {
    if text.len() > MAX_TEXT {
        return Err((Place::Nowhere, Fault::new("a configuration is at most 1 MiB")));
    }
    DeTable::parse(text).map_err(|error| {
        let place = error.span().map_or(Place::Nowhere, Place::Span);
        (place, Fault::new(error.message().lines().collect::<Vec<_>>().join("; ")))
    })
}

fn text_of(path: &Path) -> Result<String, Problems> {
    // The hint of a missing file is about those that the configuration names.
    Disk.text(path).map_err(|fault| alone(fault.without_hint(), &path.display().to_string()))
}

fn decode<'b>(bytes: &'b [u8], file: &str) -> Result<&'b str, Problems> {
    std::str::from_utf8(bytes)
        .map_err(|error| alone(Fault::new(format!("not UTF-8 at byte {}", error.valid_up_to())), file))
}

fn alone(fault: Fault, file: &str) -> Problems {
    let mut mistakes = Mistakes::default();
    mistakes.add(&Place::Nowhere, "", fault);
    mistakes.finish(file, "")
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// A minimal configuration. Quoting is left to the TOML writer.
fn document(listen: &str, hosts: &[&str], upstream: &str) -> String {
    let hosts = toml::Value::Array(hosts.iter().map(|h| toml::Value::from(*h)).collect());
    let (listen, upstream) = (toml::Value::from(listen), toml::Value::from(upstream));
    format!("[[listen]]\naddress = {listen}\n[[site]]\nhosts = {hosts}\nupstream = [{upstream}]\n")
}

/// Where `kelisim run --upstream` listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Data folder of `kelisim run --upstream` unless told otherwise.
pub const DEFAULT_DATA: &str = "./kelisim-data";
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
