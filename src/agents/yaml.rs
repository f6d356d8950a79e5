//! The little of YAML that rule files are made of: mappings, lists and texts.
//!
//! Aliases are refused, so nothing is larger in memory than it is in the file. Never guesses a type: every scalar is a
//! text. Bounds: [`NODES`] and [`DEPTH`].

use saphyr_parser::{Event, Parser, StrInput};

/// Most scalars, lists and mappings of a file.
pub(super) const NODES: usize = 200_000;
/// How deep they may lie within each other.
pub(super) const DEPTH: usize = 8;

/// A value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum YamlError {
    #[error("line {line}: {what}")]
    Syntax { line: usize, what: String },
    #[error("line {line}: a reference to another place (`*`) is not taken")]
    Alias { line: usize },
    #[error("line {line}: more than {DEPTH} levels")]
    Deep { line: usize },
    #[error("more than {NODES} values")]
    Many,
    #[error("line {line}: the key of a mapping is a text")]
    Key { line: usize },
    #[error("it ends early")]
    Short,
}

impl Node {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The first document.
pub(super) fn read(text: &str) -> Result<Node, YamlError> {
    let mut reader = Reader { events: Parser::new_from_str(text), nodes: 0 };
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd => return Err(YamlError::Short),
            event => return reader.node(event, line, 0),
        }
    }
}

struct Reader<'i> {
    events: Parser<'i, StrInput<'i>>,
    nodes: usize,
}

impl<'i> Reader<'i> {
    fn next(&mut self) -> Result<(Event<'i>, usize), YamlError> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => {
                Err(YamlError::Syntax { line: error.marker().line(), what: error.info().to_owned() })
            }
            None => Err(YamlError::Short),
        }
    }

    /// The value that begins with this event. Recursive, to [`DEPTH`].
    fn node(&mut self, event: Event<'i>, line: usize, depth: usize) -> Result<Node, YamlError> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(YamlError::Many);
        }
        if depth > DEPTH {
            return Err(YamlError::Deep { line });
        }
        match event {
            Event::Scalar(text, ..) => Ok(Node::Text(text.into_owned())),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => return Ok(Node::List(list)),
                        (event, line) => list.push(self.node(event, line, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut map = Vec::new();
                loop {
                    let key = match self.next()? {
                        (Event::MappingEnd, _) => return Ok(Node::Map(map)),
                        (Event::Scalar(key, ..), _) => key.into_owned(),
                        (_, line) => return Err(YamlError::Key { line }),
                    };
                    let (event, line) = self.next()?;
                    map.push((key, self.node(event, line, depth + 1)?));
                }
            }
            Event::Alias(_) => Err(YamlError::Alias { line }),
            _ => Err(YamlError::Short),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules_are_lists_of_mappings_of_texts() {
        let node = read("a:\n  # said\n  - regex: '(x)/(\\d+)'\n    v: 1\n  - regex: \"y\"\n").unwrap();
        let Some(Node::List(rules)) = node.get("a") else { panic!("{node:?}") };
        assert_eq!((rules[0].text("regex"), rules[0].text("v")), (Some("(x)/(\\d+)"), Some("1")));
        assert_eq!((rules[1].text("regex"), rules[1].text("v")), (Some("y"), None));
    }

    #[test]
    fn what_would_grow_is_refused() {
        let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n";
        assert!(matches!(read(bomb), Err(YamlError::Alias { line: 2 })), "{:?}", read(bomb));
        assert!(matches!(read(&"[".repeat(DEPTH + 2)), Err(YamlError::Deep { .. })));
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(matches!(read(&format!("[{}]", "a,".repeat(NODES + 1))), Err(YamlError::Many)));
        for bad in ["", "a: [", "? [a]\n: b", "a: \""] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([a-z:&*!|>%#\\[\\]{}'\"?, \\n-]|\\PC){0,200}") {
            let _ = read(&text);
        }
    }
}
