//! `kelisim cookies explain NAME`: which rule decides about a cookie, and why; the rules for `cookies report`.
//!
//! Prints the class, the deciding rule, and the rules that match and lost. Reads the operator's rule file; with a
//! configuration it compiles the rules that a gateway with it has, consent cookies included. Never judges consent: it
//! says what the name means. Bound: a rule file of 1 MiB, or those of the configuration.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::check::is_coloured;
use crate::config::{self, Problems};
use crate::cookies::catalogue::{Catalogue, Explanation, Rule, RuleProblem};
use crate::cookies::parse::known_as;

/// Arguments of `kelisim cookies explain`.
#[derive(clap::Args, Debug)]
pub struct ExplainArgs {
    /// The cookie's name, exactly as the browser sends it
    #[arg(value_name = "NAME")]
    pub name: OsString,
    /// Take the rules and consent cookies of this configuration
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    pub config: Option<PathBuf>,
    /// Take this rule file
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How an explanation is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// Prints the explanation on standard output, mistakes on standard error. Exit code 0, or 1 if a file cannot be used.
///
/// # Errors
/// When standard output cannot be written.
pub fn explain(args: &ExplainArgs) -> io::Result<ExitCode> {
    match run(args, &mut io::stdout().lock()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Failure::Write(error)) => Err(error),
        Err(failure) => {
            // Standard error gone means that nobody listens: the exit code still tells.
            let _ = write!(io::stderr(), "{failure}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Prints the report of [`super::logs`] with the operator's rules. Exit code as there, or 1 if a file cannot be used.
#[must_use]
pub fn report(args: &super::logs::ReportArgs) -> ExitCode {
    match catalogue(args.rules.as_deref()) {
        Ok(catalogue) => ExitCode::from(super::logs::report(args, &catalogue)),
        Err(failure) => {
            let _ = write!(io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing could be explained.
#[derive(Debug)]
enum Failure {
    Read(PathBuf, io::Error),
    TooLarge(PathBuf),
    Config(Box<Problems>),
    Rules(PathBuf, Vec<RuleProblem>),
    Write(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => writeln!(f, "{}: {error}", path.display()),
            Self::TooLarge(path) => writeln!(f, "{}: larger than {MAX_FILE} bytes", path.display()),
            Self::Config(problems) => f.write_str(&problems.render(is_coloured(io::stderr().is_terminal()))),
            Self::Rules(path, problems) => problems.iter().try_for_each(|problem| {
                let RuleProblem { line, column, message, hint } = problem;
                writeln!(f, "{}:{line}:{column}: {message}\n  hint: {hint}", path.display())
            }),
            Self::Write(error) => writeln!(f, "cannot print: {error}"),
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    name: String,
    /// The name that was looked up, where the filters take it for another.
    known_as: Option<String>,
    category: &'static str,
    protected: bool,
    rule: Option<RuleReport<'a>>,
    why: &'static str,
    losers: Vec<LoserReport<'a>>,
}

#[derive(Serialize)]
struct RuleReport<'a> {
    #[serde(rename = "match")]
    pattern: &'a str,
    category: &'static str,
    owner: &'a str,
    source: &'static str,
    from: &'static str,
    line: Option<usize>,
    purpose: Option<&'a str>,
}

#[derive(Serialize)]
struct LoserReport<'a> {
    #[serde(flatten)]
    rule: RuleReport<'a>,
    why: &'static str,
}

fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<(), Failure> {
    let catalogue = match &args.config {
        Some(config) => catalogue_of(config)?,
        None => catalogue(args.rules.as_deref())?,
    };
    let known = known_as(args.name.as_bytes(), &catalogue);
    let report = Report::new(args.name.as_bytes(), known, &catalogue.explain(known));
    match args.format {
        Format::Table => report.table(out),
        Format::Json => serde_json::to_writer_pretty(&mut *out, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    }
    .map_err(Failure::Write)
}

/// The built-in rules, with those of a file before them.
fn catalogue(rules: Option<&Path>) -> Result<Catalogue, Failure> {
    match rules {
        Some(path) => Catalogue::with_operator(&read(path)?)
            .map_err(|problems| Failure::Rules(path.to_owned(), problems)),
        None => Ok(Catalogue::builtin()),
    }
}

/// The rules of a gateway with this configuration.
fn catalogue_of(file: &Path) -> Result<Catalogue, Failure> {
    let config = config::read(file, config::environment()).map_err(|p| Failure::Config(Box::new(p)))?;
    let rules = config.cookies.rules.as_ref();
    let text = rules.map_or("", |rules| rules.text.as_str());
    Catalogue::with_consent_cookies(text, &config.consent.patterns()).map_err(|problems| {
        Failure::Rules(rules.map_or_else(|| file.to_owned(), |rules| rules.path.clone()), problems)
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::Read(path.to_owned(), error);
    let mut text = String::new();
    let length = File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(failed)?;
    if length as u64 > MAX_FILE { Err(Failure::TooLarge(path.to_owned())) } else { Ok(text) }
}

impl<'a> Report<'a> {
    fn new(name: &[u8], known: &[u8], explained: &Explanation<'a>) -> Self {
        let text = |name| String::from_utf8_lossy(name).into_owned();
        let losers =
            explained.losers.iter().map(|loser| LoserReport { rule: loser.rule.into(), why: loser.why });
        Self {
            name: text(name),
            known_as: (known != name).then(|| text(known)),
            category: explained.class.category.label(),
            protected: explained.class.protected,
            rule: explained.rule.map(Into::into),
            why: explained.why,
            losers: losers.collect(),
        }
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        // Escaped: a name given on a command line may hold what a terminal obeys.
        writeln!(out, "name      {}", self.name.escape_debug())?;
        if let Some(known) = &self.known_as {
            writeln!(out, "known as  {}", known.escape_debug())?;
        }
        writeln!(out, "category  {}", self.category)?;
        writeln!(out, "why       {}", self.why)?;
        let Some(rule) = &self.rule else { return Ok(()) };
        writeln!(out, "rule      {}", rule.pattern)?;
        writeln!(out, "owner     {}", rule.owner)?;
        writeln!(out, "source    {}", rule.source)?;
        writeln!(out, "from      {}", rule.place())?;
        if let Some(purpose) = rule.purpose {
            writeln!(out, "purpose   {purpose}")?;
        }
        for LoserReport { rule, why } in &self.losers {
            writeln!(out, "also      {} ({}, {}): {why}", rule.pattern, rule.category, rule.place())?;
        }
        Ok(())
    }
}

impl RuleReport<'_> {
    fn place(&self) -> String {
        self.line.map_or_else(|| self.from.to_owned(), |line| format!("{}, line {line}", self.from))
    }
}

impl<'a> From<&'a Rule> for RuleReport<'a> {
    fn from(rule: &'a Rule) -> Self {
        Self {
            pattern: &rule.pattern,
            category: rule.category.label(),
            owner: &rule.owner,
            source: rule.source.label(),
            from: rule.tier.label(),
            // A line of a file that is inside the binary helps nobody.
            line: rule.tier.is_operator().then_some(rule.line),
            purpose: rule.purpose.as_deref(),
        }
    }
}

/// Bytes of a configuration or rule file.
const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: &str, format: Format) -> ExplainArgs {
        ExplainArgs { name: name.into(), config: None, rules: None, format }
    }

    /// A configuration file with these tables.
    fn configuration(folder: &Path, tables: &str) -> PathBuf {
        let path = folder.join("kelisim.toml");
        let site = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"kz.example\"]\nupstream = [\"http://127.0.0.1:3000\"]\n";
        std::fs::write(&path, format!("{tables}{site}")).expect("written");
        path
    }

    fn printed(args: &ExplainArgs) -> String {
        let mut out = Vec::new();
        run(args, &mut out).expect("explained");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_arguments_are_sound() {
        let command = <ExplainArgs as clap::Args>::augment_args(clap::Command::new("explain"));
        command.clone().debug_assert();
        let told_twice = ["explain", "_fbp", "--config", "a", "--rules", "b"];
        assert!(command.clone().try_get_matches_from(told_twice).is_err());
        assert!(command.try_get_matches_from(["explain", "_fbp", "--format", "json"]).is_ok());
    }

    #[test]
    fn a_built_in_rule_is_told_with_owner_and_source() {
        insta::assert_snapshot!(printed(&args("_fbp", Format::Table)), @r"
        name      _fbp
        category  advertising
        why       a built-in rule for exactly this name
        rule      =_fbp
        owner     Meta
        source    ocd
        from      built-in
        ");
    }

    #[test]
    fn a_name_is_looked_up_as_the_filters_do() {
        use std::os::unix::ffi::OsStringExt as _;
        for name in [&b"=_fbp"[..], b"_fbp ", b"\t_fbp", b"_fbp\xA0"] {
            let name = OsString::from_vec(name.to_vec());
            let said = printed(&ExplainArgs { name, ..args("", Format::Json) });
            let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
            assert_eq!(
                (&said["known_as"], &said["category"]),
                (&"_fbp".into(), &"advertising".into()),
                "{said}"
            );
        }
        let name = OsString::from_vec(b"a\xFF".to_vec());
        let told = printed(&ExplainArgs { name, ..args("", Format::Table) });
        assert!(told.starts_with("name      a\u{fffd}\ncategory  unknown\n"), "{told}");
    }

    #[test]
    fn an_unknown_name_is_told_to_pass() {
        insta::assert_snapshot!(printed(&args("a\u{1b}b", Format::Table)), @r"
        name      a\u{1b}b
        category  unknown
        why       no rule knows this name: it passes and is counted
        ");
    }

    #[test]
    fn the_operators_rule_wins_and_the_loser_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = configuration(folder.path(), "[cookies]\nrules = \"rules.toml\"\n");
        let rules =
            "rules = [\n{ match = \"^_f\", category = \"functional\", owner = \"Us\", purpose = \"p\" }]";
        std::fs::write(folder.path().join("rules.toml"), rules).expect("written");
        let with_config = ExplainArgs { config: Some(config), ..args("_fbp", Format::Json) };
        let report: serde_json::Value = serde_json::from_str(&printed(&with_config)).expect("JSON");
        assert_eq!((&report["category"], &report["rule"]["line"]), (&"functional".into(), &2.into()));
        assert_eq!(report["losers"][0]["match"], "=_fbp");
        let with_rules =
            ExplainArgs { rules: Some(folder.path().join("rules.toml")), ..args("_fbp", Format::Table) };
        assert!(printed(&with_rules).contains("also      =_fbp (advertising, built-in): "));
    }

    #[test]
    fn what_the_configuration_reads_as_consent_is_never_stripped_and_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = configuration(
            folder.path(),
            "[consent]\nsources = [\"own\", \"cookieconsent\", \"onetrust\"]\n\
             [[consent.preset]]\nsource = \"cookieconsent\"\nname = \"shop_choice\"\nadvertising = [\"ads\"]\n\
             [[consent.cookie]]\nname = \"site_consent\"\npath = \"ads\"\ngrants = [\"true\"]\n\
             also = [{ cookie = \"banner_seen\", equals = \"1\" }]\n\
             [[consent.cookie]]\nprefix = \"site_tc_\"\nformat = \"tcf\"\n",
        );
        for (name, built_in) in [
            ("site_consent", false),
            ("banner_seen", false),
            ("site_tc_7", false),
            ("shop_choice", false),
            ("OptanonConsent", true),
        ] {
            let said = |config| {
                let json = printed(&ExplainArgs { config, ..args(name, Format::Json) });
                serde_json::from_str::<serde_json::Value>(&json).expect("JSON")
            };
            let (with, without) = (said(Some(config.clone())), said(None));
            assert_eq!(
                (&with["protected"], &with["category"]),
                (&true.into(), &"necessary".into()),
                "{name}"
            );
            assert_eq!(without["protected"], built_in, "{name}");
            let why = with["why"].as_str().expect("a reason");
            assert!(why.contains(if built_in { "never-strip" } else { "the configuration reads" }), "{why}");
        }
        let config = Some(config);
        insta::assert_snapshot!(printed(&ExplainArgs { config, ..args("site_consent", Format::Table) }));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rules.toml");
        std::fs::write(&path, "rules = [\n{ match = \"x\", category = \"functional\" }]").expect("written");
        let args = ExplainArgs { rules: Some(path.clone()), ..args("x", Format::Table) };
        let failure = run(&args, &mut Vec::new()).expect_err("a mistake");
        assert!(failure.to_string().contains("rules.toml:2:11: a pattern begins with = or ^"), "{failure}");
        std::fs::write(&path, vec![b'#'; MAX_FILE as usize + 1]).expect("written");
        assert!(matches!(run(&args, &mut Vec::new()), Err(Failure::TooLarge(_))));
        let config = configuration(folder.path(), "[consent]\nmax_age = \"yesterday\"\n");
        let failure = run(&ExplainArgs { config: Some(config), rules: None, ..args }, &mut Vec::new())
            .expect_err("a mistake");
        assert!(failure.to_string().contains("consent.max_age"), "{failure}");
    }
}
