//! The document against the table of keys: every value read, every unknown key told, every default filled in.
//!
//! [`walk`] makes flat [`Values`], from concrete paths such as `site[0].hosts` to checked values with their places.
//! Never relates two keys with each other (that is `check`) and never opens a file. Bounds: the document,
//! whose depth the TOML parser limits; [`MAX_ROWS`] tables in an array.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Fault, Mistakes, Place, shown};
use super::reference::{Fallback, KEYS, Key, Kind};
use super::value::{Author, Reader, Value, found, nearest};

/// The configuration as flat values.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    /// By concrete path.
    entries: BTreeMap<String, Entry>,
    /// Places of tables and of rows of arrays, by concrete path.
    tables: BTreeMap<String, Place>,
    /// Number of rows of each array of tables, by path without index.
    rows: BTreeMap<String, usize>,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) value: Value,
    pub(super) place: Place,
}

/// The values below one table.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    values: &'a Values,
    path: String,
}

/// A key that `build` or `check` asks for and [`KEYS`] does not promise: a fault of this program.
#[derive(Debug)]
pub(super) struct Missing(pub(super) String);

/// What the table of keys says about one name inside a table.
#[derive(Clone, Copy)]
enum Node {
    Leaf(&'static Key),
    Table,
    Rows,
}

/// Reads the whole document. `values` may already hold what the environment said.
pub(super) fn walk(root: &Spanned<DeTable<'_>>, values: &mut Values, reader: &mut Reader<'_>) {
    values.tables.insert(String::new(), Place::Nowhere);
    table(root.get_ref(), Position { schema: "", path: "", place: &Place::Nowhere }, values, reader);
}

/// A table in both views: its path in [`KEYS`] and its path in the document.
#[derive(Clone, Copy)]
struct Position<'a> {
    schema: &'a str,
    path: &'a str,
    place: &'a Place,
}

fn table(table: &DeTable<'_>, at: Position<'_>, values: &mut Values, reader: &mut Reader<'_>) {
    for (name, value) in table {
        let path = join(at.path, &shown(name.get_ref()));
        match node(at.schema, name.get_ref()) {
            None => reader.mistakes.add(&Place::Span(name.span()), path, unknown(at.schema, name.get_ref())),
            Some(Node::Leaf(key)) => leaf(key, path, name, value, values, reader),
            Some(Node::Table) => match value.get_ref().as_table() {
                Some(inner) => {
                    let place = Place::Span(name.span());
                    values.tables.insert(path.clone(), place.clone());
                    let schema = join(at.schema, name.get_ref());
                    self::table(
                        inner,
                        Position { schema: &schema, path: &path, place: &place },
                        values,
                        reader,
                    );
                }
                None => reader.mistakes.add(
                    &Place::Span(value.span()),
                    &path,
                    not_a_table(&path, value.get_ref()),
                ),
            },
            Some(Node::Rows) => rows(value, at.schema, name.get_ref(), &path, values, reader),
        }
    }
    fill(table, at, values, reader);
}

fn leaf(
    key: &'static Key,
    path: String,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    values: &mut Values,
    reader: &mut Reader<'_>,
) {
    if matches!(key.kind, Kind::Later) {
        let fault = Fault::new("this is not supported yet").hint("take the key out");
        return reader.mistakes.add(&Place::Span(name.span()), path, fault);
    }
    let read = reader.read(&path, &key.kind, value, Author::File);
    // What the environment said stays; what the file says is still checked.
    if let Some(read) = read
        && !values.entries.contains_key(&path)
    {
        values.entries.insert(path, Entry { key, value: read, place: Place::Span(value.span()) });
    }
}

fn rows(
    value: &Spanned<DeValue<'_>>,
    schema: &str,
    name: &str,
    path: &str,
    values: &mut Values,
    reader: &mut Reader<'_>,
) {
    let fault = || {
        let header = format!("write [[{}]]", join(schema, name).replace("[]", ""));
        Fault::new("expected an array of tables").hint(header)
    };
    let Some(elements) = value.get_ref().as_array() else {
        return reader.mistakes.add(&Place::Span(value.span()), path, fault());
    };
    if elements.len() > MAX_ROWS {
        let fault = Fault::new(format!("{} tables; at most {MAX_ROWS} are read", elements.len()));
        return reader.mistakes.add(&Place::Span(value.span()), path, fault);
    }
    values.rows.insert(path.to_owned(), elements.len());
    let schema = format!("{}[]", join(schema, name));
    for (i, element) in elements.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let place = Place::Span(element.span());
        match element.get_ref().as_table() {
            Some(inner) => {
                values.tables.insert(path.clone(), place.clone());
                table(inner, Position { schema: &schema, path: &path, place: &place }, values, reader);
            }
            None => reader.mistakes.add(&place, path, fault()),
        }
    }
}

/// Fills in what the table does not say: defaults, also of tables that are absent; and tells what is required.
fn fill(table: &DeTable<'_>, at: Position<'_>, values: &mut Values, reader: &mut Reader<'_>) {
    for name in names(at.schema) {
        if table.contains_key(name) {
            continue;
        }
        let path = join(at.path, name);
        match node(at.schema, name) {
            Some(Node::Leaf(key)) => fill_leaf(key, path, at.place, values, reader),
            Some(Node::Table) => {
                let schema = join(at.schema, name);
                // Within a row, a table with a required key inside is optional as a whole; all other defaults hold.
                if at.schema.is_empty() || !has_required(&schema) {
                    let at = Position { schema: &schema, path: &path, place: at.place };
                    fill(&DeTable::new(), at, values, reader);
                }
            }
            Some(Node::Rows) => {
                values.rows.insert(path, 0);
            }
            None => {}
        }
    }
}

fn fill_leaf(key: &'static Key, path: String, place: &Place, values: &mut Values, reader: &mut Reader<'_>) {
    if values.entries.contains_key(&path) {
        return;
    }
    match key.fallback {
        Fallback::Unset(_) => {}
        Fallback::Required => {
            let fault =
                Fault::new("is required and missing").hint(format!("expected {}", key.kind.describe()));
            reader.mistakes.add(place, path, fault);
        }
        Fallback::Value(toml) => match DeValue::parse(toml) {
            Ok(value) => {
                if let Some(value) = reader.read(&path, &key.kind, &value, Author::Default) {
                    values.entries.insert(path, Entry { key, value, place: Place::Nowhere });
                }
            }
            Err(_) => {
                reader.mistakes.add(&Place::Nowhere, path, Fault::new("the built-in default is not TOML"));
            }
        },
    }
}

fn unknown(schema: &str, name: &str) -> Fault {
    let fault = Fault::new("unknown key");
    if let Some(near) = nearest(name, names(schema).into_iter()) {
        return fault.hint(format!("did you mean `{near}`?"));
    }
    let elsewhere = KEYS.iter().find_map(|key| {
        let (parent, last) = key.path.rsplit_once('.')?;
        (last == name && parent != schema).then_some(parent)
    });
    match elsewhere {
        Some(parent) => fault.hint(format!("`{name}` belongs in `{parent}`")),
        None if schema.is_empty() => fault.hint(format!("tables are: {}", names(schema).join(", "))),
        None => fault.hint(format!("known here: {}", names(schema).join(", "))),
    }
}

fn not_a_table(path: &str, value: &DeValue<'_>) -> Fault {
    let fault = Fault::new(format!("expected a table, found {}", found(value)));
    if path.ends_with("].policy") {
        return fault.hint("the policy documents; how a server is picked is `balance = \"least\"`");
    }
    fault.hint(format!("write [{}]", path.split('[').next().unwrap_or(path)))
}

/// The part of a key's path below `schema`.
fn below<'k>(key: &'k Key, schema: &str) -> Option<&'k str> {
    if schema.is_empty() { Some(key.path) } else { key.path.strip_prefix(schema)?.strip_prefix('.') }
}

fn node(schema: &str, name: &str) -> Option<Node> {
    // A quoted name could hold these and so walk down several levels at once.
    if name.contains(['.', '[']) {
        return None;
    }
    KEYS.iter().find_map(|key| match below(key, schema)?.strip_prefix(name)? {
        "" => Some(Node::Leaf(key)),
        rest if rest.starts_with("[].") => Some(Node::Rows),
        rest if rest.starts_with('.') => Some(Node::Table),
        _ => None,
    })
}

/// The names inside a table, in the order of [`KEYS`].
pub(super) fn names(schema: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for rest in KEYS.iter().filter_map(|key| below(key, schema)) {
        let name = rest.split(['.', '[']).next().unwrap_or(rest);
        if names.last() != Some(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn has_required(schema: &str) -> bool {
    KEYS.iter().any(|key| below(key, schema).is_some() && matches!(key.fallback, Fallback::Required))
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl Values {
    /// A value that does not come from the file.
    pub(super) fn insert(&mut self, key: &'static Key, value: Value, place: Place) {
        self.entries.insert(key.path.to_owned(), Entry { key, value, place });
    }

    /// Takes out a value, a table or an array of tables, with all that lies below it.
    pub(super) fn take_out(&mut self, path: &str) {
        let stays = |at: &String| {
            at.strip_prefix(path).is_none_or(|rest| !rest.is_empty() && !rest.starts_with(['.', '[']))
        };
        self.entries.retain(|at, _| stays(at));
        self.tables.retain(|at, _| stays(at));
        self.rows.retain(|at, _| stays(at));
    }

    /// Keeps the rows of an array of tables whose path is wanted, in their order; where those stood that stayed.
    pub(super) fn keep_rows(&mut self, name: &str, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
        let count = self.rows.get(name).copied().unwrap_or(0);
        let kept: Vec<usize> = (0..count).filter(|i| wanted(&format!("{name}[{i}]"))).collect();
        let taken = |map: Self| {
            let mut moved = Self::default();
            for (to, from) in kept.iter().enumerate() {
                let (from, to) = (format!("{name}[{from}]"), format!("{name}[{to}]"));
                let renamed = |at: &String| Some(format!("{to}{}", at.strip_prefix(&from)?));
                moved
                    .entries
                    .extend(map.entries.iter().filter_map(|(at, e)| Some((renamed(at)?, e.clone()))));
                moved.tables.extend(map.tables.iter().filter_map(|(at, p)| Some((renamed(at)?, p.clone()))));
                moved.rows.extend(map.rows.iter().filter_map(|(at, n)| Some((renamed(at)?, *n))));
            }
            moved
        };
        let moved = taken(self.clone());
        self.take_out(name);
        self.entries.extend(moved.entries);
        self.tables.extend(moved.tables);
        self.rows.extend(moved.rows);
        self.rows.insert(name.to_owned(), kept.len());
        kept
    }

    /// Fills in the defaults of keys outside arrays that have no value.
    pub(super) fn fill_defaults(&mut self) {
        // The defaults fit their keys: a test says so.
        let mut mistakes = Mistakes::default();
        let mut reader = Reader { base: std::path::Path::new(""), mistakes: &mut mistakes };
        for key in KEYS.iter().filter(|key| !key.path.contains("[]")) {
            if !matches!(key.fallback, Fallback::Required) {
                fill_leaf(key, key.path.to_owned(), &Place::Nowhere, self, &mut reader);
            }
        }
    }

    /// Every value with its concrete path, sorted by path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Where the value of a key was said; without one, the table that it would stand in.
    pub(super) fn place(&self, path: &str) -> &Place {
        let said = self.entries.get(path).map(|entry| &entry.place);
        let above = || self.tables.get(path.rsplit_once('.')?.0);
        said.or_else(above).unwrap_or(&Place::Nowhere)
    }

    /// The whole configuration.
    pub(super) const fn root(&self) -> View<'_> {
        View { values: self, path: String::new() }
    }
}

impl<'a> View<'a> {
    /// The path of this table in the document.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a name in this table.
    pub(super) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Where this table stands.
    pub(super) fn place(&self) -> &'a Place {
        self.values.tables.get(&self.path).unwrap_or(&Place::Nowhere)
    }

    /// The entry at a name, if there is a value.
    pub(super) fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.values.entries.get(&self.path_of(name))
    }

    /// The elements of a list; none if there is no list.
    pub(super) fn list(&self, name: &str) -> &'a [(Value, Place)] {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// The word or text at a name.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match &self.entry(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number at a name.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match &self.entry(name)?.value {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A value that must be there.
    pub(super) fn need<T>(
        &self,
        name: &str,
        from: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, Missing> {
        self.entry(name).and_then(|entry| from(&entry.value)).ok_or_else(|| Missing(self.path_of(name)))
    }

    /// A table below; an empty view if it is absent.
    pub(super) fn table(&self, name: &str) -> Self {
        Self { values: self.values, path: self.path_of(name) }
    }

    /// A table below, if the document has it.
    pub(super) fn present(&self, name: &str) -> Option<Self> {
        let table = self.table(name);
        self.values.tables.contains_key(&table.path).then_some(table)
    }

    /// Whether an array of tables is absent or empty; not when something else stands there, which is told elsewhere.
    pub(super) fn has_no(&self, name: &str) -> bool {
        self.values.rows.get(&self.path_of(name)) == Some(&0)
    }

    /// The rows of an array of tables.
    pub(super) fn rows(&self, name: &str) -> impl Iterator<Item = Self> + use<'a> {
        let (values, path) = (self.values, self.path_of(name));
        let count = values.rows.get(&path).copied().unwrap_or(0);
        (0..count).map(move |i| Self { values, path: format!("{path}[{i}]") })
    }
}

/// Tables in one array, such as sites, or versions of a policy.
pub(super) const MAX_ROWS: usize = 1024;

/// Reads a document of nothing but defaults; for tests of the table itself.
#[cfg(test)]
pub(super) fn defaults(mistakes: &mut Mistakes) -> Values {
    let mut values = Values::default();
    let root = DeTable::parse("").unwrap();
    walk(&root, &mut values, &mut Reader { base: std::path::Path::new(""), mistakes });
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_fits_its_own_key() {
        let mut mistakes = Mistakes::default();
        let values = defaults(&mut mistakes);
        let problems = mistakes.finish("defaults", "");
        assert!(problems.list().is_empty(), "{problems}");
        let written = KEYS
            .iter()
            .filter(|k| !k.path.contains("[]") && matches!(k.fallback, Fallback::Value(_)))
            .count();
        assert_eq!(values.iter().count(), written);
    }

    #[test]
    fn names_are_the_children_of_a_table() {
        assert_eq!(names("listen[]"), ["address", "mode", "tls", "proxy_protocol", "proxy_protocol_from"]);
        assert_eq!(names("listen[].tls"), ["certificate", "key"]);
        assert!(names("").contains(&"limits"));
    }

    #[test]
    fn tables_with_a_required_key_are_optional() {
        assert!(has_required("listen[].tls") && has_required("site[].policy"));
        assert!(!has_required("records.retention"));
    }
}
