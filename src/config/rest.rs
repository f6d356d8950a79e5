//! What is left of a configuration when everything with a mistake is taken out.
//!
//! For `kelisim check`, which opens the files that the rest names, so that all mistakes are told at once. A listener or a
//! site with a mistake goes as a whole; any other key falls back to its default. Never runs anything and is never put in
//! force. Bound: the values.

use super::Config;
use super::build::build;
use super::check::Texts;
use super::problem::Mistakes;
use super::walk::Values;

/// A configuration without what has a mistake.
pub(super) struct Rest {
    /// What is left.
    pub(super) config: Config,
    /// For each array of tables whose rows may go: its name, and where the rows that stayed stood.
    rows: Vec<(&'static str, Vec<usize>)>,
}

impl Rest {
    /// Takes out what has a mistake; `None` if nothing can be made of the rest.
    pub(super) fn of(values: &Values, mistakes: &Mistakes, mut texts: Texts) -> Option<Self> {
        let mut values = values.clone();
        for key in mistakes.keys() {
            match key.split_once('[') {
                Some((name, _)) if ROWS.contains(&name) => {}
                // An array of tables, or a list: its other elements were told to belong to it.
                Some((name, _)) => values.take_out(name),
                None => values.take_out(key),
            }
        }
        let rows = ROWS.map(|name| (name, values.keep_rows(name, |path| !has_mistake(mistakes, path))));
        values.fill_defaults();
        let config = build(&values, &mut texts).ok()?;
        Some(Self { config, rows: rows.into() })
    }

    /// A key of this configuration as it is called in the file.
    pub(super) fn in_the_file(&self, key: &str) -> String {
        let place = || {
            let (name, rest) = key.split_once('[')?;
            let (index, rest) = rest.split_once(']')?;
            let (_, stood) = self.rows.iter().find(|(of, _)| *of == name)?;
            Some(format!("{name}[{}]{rest}", stood.get(index.parse::<usize>().ok()?)?))
        };
        place().unwrap_or_else(|| key.to_owned())
    }
}

/// Whether something is wrong with the row at `path` or below it.
fn has_mistake(mistakes: &Mistakes, path: &str) -> bool {
    mistakes.keys().any(|key| {
        let rest = key.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Arrays whose rows can stand alone.
const ROWS: [&str; 2] = ["listen", "site"];

#[cfg(test)]
mod tests {
    use super::super::files::Pretend;
    use super::super::load::read_values;
    use super::*;

    fn rest(toml: &str) -> Rest {
        let (values, mistakes, texts) = read_values(toml, &Pretend);
        assert!(!mistakes.is_empty(), "no mistake in {toml}");
        Rest::of(&values, &mistakes, texts).expect("something is left")
    }

    #[test]
    fn rows_and_keys_with_mistakes_go_and_the_others_keep_their_names() {
        let rest = rest(
            "[[listen]]\naddress = \"here\"\n[[listen]]\naddress = \"[::]:81\"\n[[listen]]\naddress = \"[::]:82\"\n\
             [[site]]\nhosts = [\"a\"]\n[[site]]\nhosts = [\"b\"]\nupstream = [\"http://c\"]\n\
             [limits]\nhead_bytes = 1\nconnections = 7\n[consent]\nsources = [\"own\", \"nobody\"]\n\
             [[consent.cookie]]\nformat = \"json\"\n",
        );
        let ports: Vec<String> = rest.config.listeners.iter().map(|l| l.address.to_string()).collect();
        assert_eq!(ports, ["[::]:81", "[::]:82"]);
        assert_eq!(rest.config.sites.iter().flat_map(|s| &s.hosts).collect::<Vec<_>>(), ["b"]);
        assert_eq!((rest.config.limits.head_bytes, rest.config.limits.connections), (65_536, 7));
        assert_eq!(rest.in_the_file("listen[1].tls.key"), "listen[2].tls.key");
        assert_eq!(rest.in_the_file("site[0].upstream_tls.ca"), "site[1].upstream_tls.ca");
        assert_eq!(rest.in_the_file("cookies.rules"), "cookies.rules");
    }

    #[test]
    fn nothing_at_all_is_a_rest_too() {
        let rest = rest("colour = 1\n");
        assert!(rest.config.listeners.is_empty() && rest.config.sites.is_empty());
    }
}
