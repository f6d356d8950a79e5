//! What of an SQL statement may stand in the audit log.
//!
//! Under a purpose that opens sealed columns every literal becomes a keyed hash, as the values of a filter do: which of
//! them is compared with a sealed column only the engine knows. A literal behind the name of a sealed column is hashed
//! for that column, so that it is the same as in a filter. Comments are left out. A statement that cannot be taken
//! apart is hashed as a whole. Never runs anything. Bound: the statement.

use super::field::resolve;
use crate::record::Class;

/// The statement with `hash` of a column's name and the text of a literal in the place of every literal.
pub(super) fn redacted(sql: &str, hash: &dyn Fn(&str, &str) -> String) -> String {
    Lexer { rest: sql, out: String::new(), column: WHOLE, hash }.run().unwrap_or_else(|| hash(WHOLE, sql))
}

struct Lexer<'a> {
    rest: &'a str,
    out: String,
    /// The sealed column that was named last.
    column: &'static str,
    hash: &'a dyn Fn(&str, &str) -> String,
}

impl<'a> Lexer<'a> {
    /// `None` when a quote or a comment is not closed.
    fn run(mut self) -> Option<String> {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("--") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take(end);
                self.space();
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/")? + 2;
                self.take(end);
                self.space();
            } else if c.is_whitespace() {
                self.take(c.len_utf8());
                self.space();
            } else if c == '\'' {
                let text = self.quoted('\'', false)?;
                self.literal(&text);
            } else if matches!(c, 'e' | 'E') && self.rest[1..].starts_with('\'') {
                self.take(1);
                let text = self.quoted('\'', true)?;
                self.literal(&text);
            } else if c == '$' && self.dollar_tag().is_some() {
                let text = self.dollar_quoted()?;
                self.literal(&text);
            } else if c == '"' {
                let name = self.quoted('"', false)?;
                self.name(&name, true);
            } else if c.is_ascii_digit() {
                let text = self.number();
                self.literal(text);
            } else if c.is_alphabetic() || c == '_' {
                let end = self.rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$')));
                let name = self.take(end.unwrap_or(self.rest.len()));
                self.name(name, false);
            } else {
                let other = self.take(c.len_utf8());
                self.out.push_str(other);
            }
        }
        Some(self.out.trim_end().to_owned())
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn space(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with(' ') {
            self.out.push(' ');
        }
    }

    fn literal(&mut self, text: &str) {
        let hashed = (self.hash)(self.column, text);
        self.out.push_str(&hashed);
    }

    /// A name that is not one of ours may be a value between the wrong quotes.
    fn name(&mut self, name: &str, quoted: bool) {
        let column = resolve(&name.to_ascii_lowercase()).filter(|c| c.column.eq_ignore_ascii_case(name));
        if let Some(column) = column.filter(|column| column.class != Class::Clear) {
            self.column = column.name;
        }
        match (quoted, column) {
            (true, None) => self.literal(name),
            (true, Some(column)) => self.out.push_str(column.column),
            (false, _) => self.out.push_str(name),
        }
    }

    /// The text between quotes; the doubled quote stands for itself.
    fn quoted(&mut self, quote: char, backslashes: bool) -> Option<String> {
        self.take(1);
        let mut text = String::new();
        loop {
            let c = self.rest.chars().next()?;
            self.take(c.len_utf8());
            if c == '\\' && backslashes {
                let escaped = self.rest.chars().next()?;
                self.take(escaped.len_utf8());
                text.push(escaped);
            } else if c != quote {
                text.push(c);
            } else if self.rest.starts_with(quote) {
                self.take(1);
                text.push(quote);
            } else {
                return Some(text);
            }
        }
    }

    /// `$` or `$tag$`, when that begins here.
    fn dollar_tag(&self) -> Option<&'a str> {
        let end = self.rest[1..].find('$')? + 2;
        let tag = &self.rest[..end];
        tag[1..end - 1].chars().all(|c| c.is_alphanumeric() || c == '_').then_some(tag)
    }

    fn dollar_quoted(&mut self) -> Option<String> {
        let tag = self.dollar_tag()?;
        self.take(tag.len());
        let end = self.rest.find(tag)?;
        let text = self.take(end).to_owned();
        self.take(tag.len());
        Some(text)
    }

    fn number(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')));
        self.take(end.unwrap_or(self.rest.len()))
    }
}

/// The column of a literal that belongs to none, and of a whole statement.
const WHOLE: &str = "sql";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(sql: &str) -> String {
        redacted(sql, &|column, literal| format!("<{column}:{}>", literal.len()))
    }

    #[test]
    fn literals_become_hashes_and_names_stay() {
        assert_eq!(
            shown(
                "SELECT url_path, count(*) FROM records WHERE client_address = '10.0.0.9' AND x IN (80, 443)"
            ),
            "SELECT url_path, count(*) FROM records WHERE client_address = <client.address:8> AND x IN (<client.address:2>, <client.address:3>)"
        );
        assert_eq!(shown("select 'it''s' -- 10.0.0.9\n  /* 10.0.0.9 */ from t"), "select <sql:4> from t");
        assert_eq!(
            shown("select $$10.0.0.9$$, $a$b$$c$a$, E'\\'x', \"10.0.0.9\", \"client_net\""),
            "select <sql:8>, <sql:4>, <sql:2>, <sql:8>, client_net"
        );
        assert_eq!(shown("select x1, 1e5, 0xff, $1"), "select x1, <sql:3>, <sql:4>, $<sql:1>");
    }

    #[test]
    fn what_cannot_be_taken_apart_is_hashed_as_a_whole() {
        for sql in ["select 'a", "select /* a", "select \"a", "select $$a", "select E'a\\'"] {
            assert_eq!(shown(sql), format!("<sql:{}>", sql.len()));
        }
    }

    proptest! {
        #[test]
        fn no_literal_is_left(before in "[a-z ,(]{0,12}", secret in "[0-9]{4,12}", quotes in 0..6_usize, after in "\\PC{0,12}") {
            let (open, close) = [("'", "'"), ("", ""), ("\"", "\""), ("$$", "$$"), ("E'", "'"), ("--", "\n")][quotes];
            let sql = format!("{before} {open}{secret}{close} {after}");
            prop_assert!(!shown(&sql).contains(&secret) || after.contains(&secret), "{}", sql);
        }

        #[test]
        fn no_text_upsets_it(sql in "\\PC{0,40}") {
            let _ = shown(&sql);
        }
    }
}
