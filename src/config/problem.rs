//! Mistakes in a configuration, told all at once, for people and for scripts.
//!
//! While reading, a [`Mistake`] knows only where in the text it lies; [`Mistakes::finish`] sorts them and turns them
//! into [`Problems`] with line, column and the line itself. Never decides what a mistake is. Bounds: [`MAX_PROBLEMS`]
//! kept (the rest is counted), [`MAX_EXCERPT`] characters of a line shown.

use std::error::Error;
use std::fmt::{self, Write};
use std::ops::Range;

use serde::Serialize;

/// One mistake, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named by the caller, or `environment`, or `command line`.
    pub file: String,
    /// Line, counted from 1; `None` when the mistake has no place in a text.
    pub line: Option<usize>,
    /// Column in characters, counted from 1.
    pub column: Option<usize>,
    /// The key, such as `listen[0].tls.certificate` (indexes from 0); empty for the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// Everything that is wrong with a configuration; never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    more: usize,
}

/// The line a mistake lies on, without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    before: usize,
    width: usize,
}

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Bytes of the file.
    Span(Range<usize>),
    /// An environment variable of that name.
    Environment(String),
    /// Nobody said it: a default, or something that is missing from the file as a whole.
    Nowhere,
}

/// What is wrong with a value, without its place.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    hint: Option<String>,
    /// Whether the source line may be shown; not when it may hold a password.
    quote: bool,
}

/// A fault, its key and its place.
#[derive(Debug)]
pub(super) struct Mistake {
    place: Place,
    key: String,
    fault: Fault,
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    list: Vec<Mistake>,
    more: usize,
}

impl Problems {
    /// The problems kept, in the order of the file; those without a place come last.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// How many problems were found beyond those kept.
    #[must_use]
    pub const fn more(&self) -> usize {
        self.more
    }

    /// All problems as a JSON array of objects with `file`, `line`, `column`, `key`, `message`, `hint`.
    ///
    /// # Errors
    /// None that is known: every field is a string or a number.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&self.list)
    }

    /// All problems for a person, each with its source line and a caret below; with ANSI colours if `colour`.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for problem in &self.list {
            // Writing to a String cannot fail.
            let _ = problem.write(&mut out, colour);
        }
        if self.more > 0 {
            let _ = writeln!(out, "and {} more", self.more);
        }
        out
    }

    /// The same problems for a caller who named no file: no place, and keys replaced by `rename`.
    pub(super) fn without_place(
        mut self,
        source: &str,
        rename: impl Fn(&str) -> Option<&'static str>,
    ) -> Self {
        for problem in &mut self.list {
            if problem.line.take().is_some() {
                source.clone_into(&mut problem.file);
            }
            problem.column = None;
            problem.excerpt = None;
            if let Some(name) = rename(&problem.key) {
                name.clone_into(&mut problem.key);
            }
        }
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl Error for Problems {}

impl Problem {
    fn write(&self, out: &mut String, colour: bool) -> fmt::Result {
        let paint = |code: &'static str| if colour { code } else { "" };
        let (bold, red, cyan, plain) =
            (paint("\x1b[1m"), paint("\x1b[1;31m"), paint("\x1b[36m"), paint("\x1b[0m"));
        write!(out, "{bold}{}", shown(&self.file))?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(out, ":{line}:{column}")?;
        }
        write!(out, ": ")?;
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        writeln!(out, "{plain}{}", self.message)?;
        if let (Some(excerpt), Some(line)) = (&self.excerpt, self.line) {
            let gutter = line.to_string().len();
            writeln!(out, "   {line} | {}", excerpt.text)?;
            let (before, width) = (excerpt.before, excerpt.width);
            writeln!(out, "   {:gutter$} | {:before$}{red}{:^<width$}{plain}", "", "", "")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(out, "   {cyan}hint:{plain} {hint}")?;
        }
        Ok(())
    }
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, quote: true }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The hint does not fit where the fault is told.
    pub(super) fn without_hint(mut self) -> Self {
        self.hint = None;
        self
    }

    /// The source line is not shown.
    pub(super) const fn unquoted(mut self) -> Self {
        self.quote = false;
        self
    }
}

impl Mistakes {
    /// Notes a mistake; beyond [`MAX_PROBLEMS`] it is only counted.
    pub(super) fn add(&mut self, place: &Place, key: impl Into<String>, fault: Fault) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Mistake { place: place.clone(), key: key.into(), fault });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// The keys that have one.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|mistake| mistake.key.as_str())
    }

    /// Whether some were only counted.
    pub(super) const fn overflows(&self) -> bool {
        self.more > 0
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Sorts by place and adds line, column and the line itself.
    pub(super) fn finish(mut self, file: &str, text: &str) -> Problems {
        self.list.sort_by_key(|m| match &m.place {
            Place::Span(span) => (0, span.start),
            Place::Nowhere => (1, 0),
            Place::Environment(_) => (2, 0),
        });
        let starts: Vec<usize> =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        let list = self.list.into_iter().map(|m| locate(m, file, text, &starts)).collect();
        Problems { list, more: self.more }
    }
}

/// Text from a file, fit for a message: at most 64 characters, none of them a control character.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).map(visible).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        short.push('…');
    }
    short
}

fn locate(mistake: Mistake, file: &str, text: &str, starts: &[usize]) -> Problem {
    let Mistake { place, key, fault } = mistake;
    let (file, at) = match place {
        Place::Span(span) => (file.to_owned(), Some(span)),
        Place::Environment(name) => (format!("environment: {name}"), None),
        Place::Nowhere => (file.to_owned(), None),
    };
    let mut problem = Problem {
        file,
        line: None,
        column: None,
        key,
        message: fault.message,
        hint: fault.hint,
        excerpt: None,
    };
    let Some(span) = at else { return problem };
    // A span may end in the middle of a character when the text is broken there; look only at whole ones.
    let start = floor(text, span.start);
    let line = starts.partition_point(|&s| s <= start).max(1);
    let from = starts[line - 1];
    let to = memchr::memchr(b'\n', &text.as_bytes()[from..]).map_or(text.len(), |at| from + at);
    let start = start.min(to);
    let before = text[from..start].chars().count();
    problem.line = Some(line);
    problem.column = Some(before + 1);
    if fault.quote {
        let marked = text[start..floor(text, span.end.min(to)).max(start)].chars().count();
        problem.excerpt = Some(cut(text[from..to].trim_end_matches('\r'), before, marked));
    }
    problem
}

/// The part of a line around the mark.
fn cut(line: &str, before: usize, marked: usize) -> Excerpt {
    let skip = if before > MAX_EXCERPT / 2 { before - MAX_EXCERPT / 4 } else { 0 };
    let text: String = line.chars().skip(skip).take(MAX_EXCERPT).map(visible).collect();
    let before = before - skip;
    let width = marked.clamp(1, MAX_EXCERPT - before);
    Excerpt { text, before, width }
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A tab becomes one blank, so that the caret stays in line; other control characters cannot act on a terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Problems kept; more are counted.
pub const MAX_PROBLEMS: usize = 100;
/// Characters of a source line shown.
const MAX_EXCERPT: usize = 120;
/// Characters of a name or value shown in a message.
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, span: Range<usize>) -> Problem {
        let mut mistakes = Mistakes::default();
        mistakes.add(&Place::Span(span), "a.b", Fault::new("wrong").hint("do it right"));
        mistakes.finish("f.toml", text).list[0].clone()
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "a = 1\nқой = 2\nb = 3";
        let at = text.find("= 2").unwrap();
        let problem = one(text, at..at + 1);
        assert_eq!((problem.line, problem.column), (Some(2), Some(5)));
        let end = one(text, text.len()..text.len());
        assert_eq!((end.line, end.column), (Some(3), Some(6)));
        let inside = one(text, text.find('қ').unwrap() + 1..text.len());
        assert_eq!((inside.line, inside.column), (Some(2), Some(1)));
    }

    #[test]
    fn the_caret_stands_below_the_mark() {
        let problem = one("[x]\n\thead = 1\r\n", 5..9);
        let problems = Problems { list: vec![problem], more: 2 };
        let expected =
            "f.toml:2:2: a.b: wrong\n   2 |  head = 1\n     |  ^^^^\n   hint: do it right\nand 2 more";
        assert_eq!(problems.to_string(), expected);
        assert!(problems.render(true).contains("\x1b[1;31m^^^^\x1b[0m"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark_and_controls_are_harmless() {
        let text = format!("{}\x1b[31mbad", "x".repeat(5000));
        let problem = one(&text, 5001..5008);
        let excerpt = problem.excerpt.unwrap();
        assert!(excerpt.text.chars().count() <= MAX_EXCERPT && !excerpt.text.contains('\x1b'));
        assert_eq!(excerpt.text.chars().skip(excerpt.before).take(3).collect::<String>(), "[31");
    }

    #[test]
    fn a_line_that_may_hold_a_password_is_not_shown() {
        let mut mistakes = Mistakes::default();
        mistakes.add(&Place::Span(0..3), "a", Fault::new("wrong").unquoted());
        assert!(!mistakes.finish("f", "secret = 1").to_string().contains("secret"));
    }

    #[test]
    fn more_than_the_limit_is_counted() {
        let mut mistakes = Mistakes::default();
        for _ in 0..MAX_PROBLEMS + 7 {
            mistakes.add(&Place::Nowhere, "a", Fault::new("wrong"));
        }
        let problems = mistakes.finish("f", "");
        assert_eq!((problems.list().len(), problems.more()), (MAX_PROBLEMS, 7));
    }
}
