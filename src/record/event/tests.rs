//! What an event keeps, what it refuses, and the published reference of its columns.

use std::fmt::Write as _;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::record::{ListBuf, Projection, Purpose, Row, Value};

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(&mut out);
    out
}

fn row<'a>(bytes: &'a [u8], purpose: Purpose) -> Row<'a> {
    let (record, rest) = Encoded::take(bytes).expect("a whole record");
    assert!(rest.is_empty());
    Row::new((7, Timestamp::from_secs(9)), (b"node-1", SCHEMA_VERSION), record.sections, purpose.opened())
}

fn get<'a>(row: &Row<'a>, name: &str) -> Option<Value<'a>> {
    row.get(Column::by_name(name).expect("a known column"))
}

#[test]
fn the_column_reference_is_published() {
    let mut table = String::from(
        "| id | name | class | type | clause | purpose | meaning |\n|---|---|---|---|---|---|---|\n",
    );
    for c in COLUMNS {
        let (class, ty) = (c.class.label(), format!("{:?}", c.ty).to_lowercase());
        writeln!(
            table,
            "| {} | `{}` | {class} | {ty} | {} | {} | {} |",
            c.id,
            c.name,
            c.clause,
            c.purpose,
            c.doc.trim()
        )
        .expect("a string takes everything");
    }
    insta::assert_snapshot!("columns", table);
}

#[test]
fn both_spellings_name_the_same_column() {
    for c in COLUMNS {
        assert_eq!(c.column, c.name.replace('.', "_"));
        assert_eq!(Column::by_name(c.name).map(|f| f.id), Some(c.id));
        assert_eq!(Column::by_name(c.column).map(|f| f.id), Some(c.id));
    }
    assert!(Column::by_name("http.request.header.authorization").is_none());
}

#[test]
fn every_type_comes_back() {
    let names: ListBuf = [&b"sid"[..], b"_ga"].into_iter().collect();
    let address: IpAddr = "192.0.2.7".parse().expect("an address");
    let event = Event {
        start_ts: Some(Timestamp::from_secs(5)),
        path: Some(b"/a"),
        status: Some(404),
        gpc: Some(true),
        cookie_names: names.as_list(),
        client_address: Some(address),
        ..Event::default()
    };
    let bytes = encoded(&event);
    let row = row(&bytes, Purpose::Security);
    assert_eq!(row.kind, Kind::Access);
    assert_eq!(get(&row, "start_ts"), Some(Value::Time(Timestamp::from_secs(5))));
    assert_eq!(get(&row, "url.path"), Some(Value::Text(b"/a")));
    assert_eq!(get(&row, "http_response_status_code"), Some(Value::U64(404)));
    assert_eq!(get(&row, "gpc"), Some(Value::Bool(true)));
    assert_eq!(get(&row, "dnt"), None);
    assert_eq!(get(&row, "client.address"), Some(Value::Address(address)));
    let Some(Value::List(list)) = get(&row, "cookie.names") else { panic!("no list") };
    assert_eq!(list.iter().collect::<Vec<_>>(), [&b"sid"[..], b"_ga"]);
    assert_eq!(get(&row, "seq"), Some(Value::U64(7)));
    assert_eq!(get(&row, "record.kind"), Some(Value::Text(b"access")));
    assert_eq!(get(&row, "node.id"), Some(Value::Text(b"node-1")));
}

#[test]
fn a_purpose_sees_its_classes_only() {
    let event =
        Event { path: Some(b"/a"), client_port: Some(1), user_agent: Some(b"agent"), ..Event::default() };
    let bytes = encoded(&event);
    let columns = ["url.path", "client.port", "user_agent.original"];
    let seen = |purpose| columns.map(|name| get(&row(&bytes, purpose), name).is_some());
    assert_eq!(seen(Purpose::Support), [true, false, false]);
    assert_eq!(seen(Purpose::Security), [true, true, false]);
    assert_eq!(seen(Purpose::Diagnostics), [true, false, true]);
    assert_eq!(seen(Purpose::Fraud), [true, false, false]);
}

#[test]
fn the_largest_record_is_within_its_bound_and_says_that_it_was_cut() {
    let long = vec![b'x'; wire::TEXT_BYTES + 1];
    let event = Event { path: Some(&long), user_agent: Some(&long), ..Event::default() };
    let bytes = encoded(&event);
    assert!(bytes.len() < RECORD_BYTES);
    let row = row(&bytes, Purpose::Diagnostics);
    let Some(Value::Text(path)) = get(&row, "url.path") else { panic!("no path") };
    assert_eq!(path.len(), wire::TEXT_BYTES);
    assert_eq!(get(&row, "record.truncated"), Some(Value::Bool(true)));
}

#[test]
fn a_projection_equals_its_columns_one_by_one() {
    let names: ListBuf = [&b"sid"[..]].into_iter().collect();
    let event = Event {
        path: Some(b"/a"),
        status: Some(200),
        duration: Some(1234),
        cookie_names: names.as_list(),
        client_port: Some(4),
        ..Event::default()
    };
    let bytes = encoded(&event);
    for purpose in Purpose::ALL {
        let row = row(&bytes, purpose);
        let columns: Vec<&Column> = COLUMNS.iter().rev().collect();
        let mut out = vec![Some(Value::U64(0)); columns.len()];
        row.project(&Projection::new(&columns), &mut out);
        for (column, value) in columns.iter().zip(&out) {
            assert_eq!(*value, row.get(column), "{}", column.name);
        }
    }
}

proptest! {
    #[test]
    fn cut_or_changed_bytes_never_panic(at in 0usize..400, to: u8, keep in 0usize..400) {
        let event = Event { path: Some(b"/some/path"), client_port: Some(80), referer: Some(b"x"), ..Event::default() };
        let mut bytes = encoded(&event);
        let at = at % bytes.len();
        bytes[at] = to;
        bytes.truncate(keep.max(1));
        if let Some((record, _)) = Encoded::take(&bytes) {
            let row = Row::new((1, Timestamp::default()), (b"", 0), record.sections, Purpose::Security.opened());
            for column in COLUMNS {
                let _ = row.get(column);
            }
        }
    }
}
