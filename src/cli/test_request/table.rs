//! The report for people: sections with aligned columns, colours on a terminal only.
//!
//! Everything shown is escaped already. Never cuts a line: what is long is what one came for. Bound: the report.

use std::fmt::Write as _;

use super::report::{Change, Report, Verdict};
use crate::cli::logs::terminal::Terminal;

/// The whole text.
pub(super) fn render(report: &Report, terminal: Terminal) -> String {
    let mut page = Page { out: String::new(), colour: terminal.colour };
    page.verdict(report);
    page.place(report);
    page.consent(report);
    page.cookies(report);
    page.risk(report);
    page.head(report);
    page.record(report);
    if !report.notes.is_empty() {
        page.out.push('\n');
        report.notes.iter().for_each(|note| page.row("note", note));
    }
    page.out
}

struct Page {
    out: String,
    colour: bool,
}

impl Page {
    fn verdict(&mut self, report: &Report) {
        let (colour, word) = match report.verdict {
            Verdict::Forwarded => (GREEN, "forwarded"),
            Verdict::Answered => (CYAN, "answered by the gateway"),
            Verdict::Refused => (RED, "refused"),
        };
        let mut text = self.paint(colour, word);
        if let Some(answer) = &report.answer {
            let _ = write!(text, ", status {}", answer.status);
        }
        if let Some(reason) = report.reason {
            let _ = write!(text, ", {reason}");
        }
        self.row("verdict", &text);
        self.row("why", &format!("{} (step: {})", report.why, report.step));
        if let Some(answer) = &report.answer {
            for (name, value) in &answer.fields {
                self.row("answer", &format!("{name}: {value}"));
            }
        }
        if report.closes {
            self.row("connection", "ends with the answer");
        }
    }

    fn place(&mut self, report: &Report) {
        if let Some(line) = &report.request {
            self.row("request", &format!("{} {} {}", line.method, line.target, line.version));
        }
        if let Some(site) = &report.site {
            self.row("site", &format!("{} (asked for as {}://{})", site.name, site.scheme, site.host));
            self.row("upstream", &site.upstream.join(", "));
        }
        if let Some(client) = &report.client {
            let walk: Vec<&str> = client.chain.iter().rev().map(String::as_str).collect();
            self.row("client", &client.address);
            self.row("walk", &format!("{}: {}", walk.join(" <- "), client.why));
        }
        if let Some(visitor) = &report.visitor {
            let given = if visitor.given { "; a new one is given with a page" } else { "" };
            self.row("visitor", &format!("cookie {}{given}", visitor.state));
        }
    }

    fn consent(&mut self, report: &Report) {
        let Some(consent) = &report.consent else { return };
        let colour = if consent.decision == "granted" { GREEN } else { YELLOW };
        let decision = self.paint(colour, consent.decision);
        self.heading("consent");
        self.row("advertising", &format!("{decision}: {} ({})", consent.why, consent.reason));
        self.row("source", consent.source);
        let accepted = if consent.policy_accepted { "accepted" } else { "not accepted" };
        self.row("policy", &format!("version {}, {accepted}", consent.policy_version));
        let permits = if consent.permits.is_empty() { "none".to_owned() } else { consent.permits.join(", ") };
        self.row("permits", &permits);
    }

    fn cookies(&mut self, report: &Report) {
        if !report.cookies.is_empty() {
            self.heading(&format!("cookies ({})", report.cookie_mode.unwrap_or_default()));
            let mut rows = vec![["name", "bytes", "category", "rule", "action", "why"].map(String::from)];
            for cookie in &report.cookies {
                let value = cookie.value.as_ref().map_or_else(String::new, |value| format!("={value}"));
                let name = if cookie.name.is_empty() { "(no name)" } else { &cookie.name };
                rows.push([
                    format!("{name}{value}"),
                    cookie.bytes.to_string(),
                    cookie.category.to_owned(),
                    cookie.rule.clone().unwrap_or_else(|| "-".to_owned()),
                    cookie.action.to_owned(),
                    cookie.why.clone(),
                ]);
            }
            self.columns(&rows, 4);
        }
        if !report.set_cookies.is_empty() {
            let page = report.verdict == Verdict::Forwarded;
            self.heading(if page { "set-cookie, if the site answers with a page" } else { "set-cookie" });
            for cookie in &report.set_cookies {
                self.row(cookie.purpose, &cookie.field);
            }
        }
    }

    fn risk(&mut self, report: &Report) {
        let Some(risk) = &report.risk else { return };
        self.heading("risk");
        let would = risk.would_have.map_or_else(String::new, |would| format!(" (later: {would})"));
        self.row("level", &format!("{}, score {}, action {}{would}", risk.level, risk.score, risk.action));
        if risk.shared {
            self.row("address", SHARED);
        }
        let mut rows = vec![["signal", "level", "needs earlier requests"].map(String::from)];
        for signal in &risk.signals {
            let level = match signal.cap {
                _ if signal.off => "off".to_owned(),
                Some(cap) => format!("{} (at most {cap})", signal.level),
                None => signal.level.to_owned(),
            };
            rows.push([signal.name.to_owned(), level, signal.needs.to_owned()]);
        }
        self.columns(&rows, usize::MAX);
    }

    fn head(&mut self, report: &Report) {
        if !report.head.is_empty() {
            self.heading("the head as the site gets it (+ added, ~ changed)");
            for line in &report.head {
                let (mark, colour) = match line.change {
                    Change::Same => (' ', None),
                    Change::Changed => ('~', Some(YELLOW)),
                    Change::Added => ('+', Some(GREEN)),
                };
                let text = format!("{mark} {}", line.line);
                let text = colour.map_or_else(|| text.clone(), |colour| self.paint(colour, &text));
                self.line(&text);
            }
        }
        if !report.removed.is_empty() {
            self.heading("what came and does not go on so (- removed, ~ replaced)");
            let widest = report.removed.iter().map(|r| r.line.chars().count().min(WIDEST)).max().unwrap_or(0);
            for removed in &report.removed {
                let (mark, colour) = if removed.replaced { ('~', YELLOW) } else { ('-', RED) };
                let spare = " ".repeat(widest.saturating_sub(removed.line.chars().count()));
                let text = self.paint(colour, &format!("{mark} {}", removed.line));
                self.line(&format!("{text}{spare}  {}", removed.why));
            }
        }
    }

    fn record(&mut self, report: &Report) {
        for class in &report.record {
            let sealed = if class.sealed { "sealed, " } else { "" };
            let who = class.opened_by.join(", ");
            self.heading(&format!("record, {} ({sealed}{} days; for {who})", class.class, class.days));
            let widest = class.columns.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, value) in &class.columns {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                self.line(&format!("{name:widest$}  {text}"));
            }
        }
    }

    /// A word at the left, its text behind it.
    fn row(&mut self, word: &str, text: &str) {
        let _ = writeln!(self.out, "{word:WORD$} {text}");
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "  {}", text.trim_end());
    }

    fn heading(&mut self, text: &str) {
        let text = self.paint(BOLD, text);
        let _ = writeln!(self.out, "\n{text}");
    }

    /// Rows below their titles. The cell at `action` tells by its colour whether something was taken away.
    fn columns<const N: usize>(&mut self, rows: &[[String; N]], action: usize) {
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).min(WIDEST);
        let widths: Vec<usize> = (0..N).map(width).collect();
        for (index, row) in rows.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let spare = widths[column].saturating_sub(cell.chars().count());
                let taken = column == action && index > 0 && cell.ends_with("stripped");
                line.push_str(&if taken { self.paint(RED, cell) } else { cell.clone() });
                line.extend(std::iter::repeat_n(' ', spare + 2));
            }
            self.line(&line);
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What a network of `risk.shared_…` means.
const SHARED: &str = "shared by many: only logins are counted, by address and user agent";
/// Width of the words at the left.
const WORD: usize = 12;
/// A cell that is wider pushes the rest of its own row only.
const WIDEST: usize = 44;
const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";
