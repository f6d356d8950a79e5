//! Filters written and read back.

use proptest::prelude::*;

use super::*;
use crate::record::COLUMNS;
use crate::store::query::field::holds_networks;
use crate::store::query::parse::parse;
use crate::store::query::units::parse_duration;

#[test]
fn the_range_is_the_narrowest() {
    let now = Timestamp::from_secs(1_795_341_600);
    let range = |text| parse(text).unwrap().range(now);
    assert_eq!(range("since:1h since:2h").0, Timestamp::from_secs(1_795_338_000));
    assert_eq!(range("since:2h until:1h").1, Timestamp::from_secs(1_795_338_000));
    assert_eq!(range("-since:1h").1, Timestamp::from_secs(1_795_338_000));
    assert_eq!(range("status=200").0, Timestamp::from_micros(i64::MIN));
}

fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![
        (0..1_000_000_000_000_u64).prop_map(|us| Moment::Ago(Duration::from_micros(us))),
        (0..4_000_000_000_000_000_i64).prop_map(|us| Moment::At(Timestamp::from_micros(us))),
    ]
}

fn literals(column: &'static Column) -> BoxedStrategy<Literal> {
    match quantity(column) {
        Quantity::Count | Quantity::Bytes | Quantity::Duration => {
            any::<u64>().prop_map(Literal::Number).boxed()
        }
        Quantity::Text | Quantity::List => any::<String>().prop_map(Literal::Text).boxed(),
        Quantity::Flag => any::<bool>().prop_map(Literal::Flag).boxed(),
        Quantity::Time => moments().prop_map(Literal::Time).boxed(),
        Quantity::Address => networks(32),
    }
}

fn networks(finest: u8) -> BoxedStrategy<Literal> {
    (any::<[u8; 4]>(), 0..=finest)
        .prop_map(|(ip, len)| Literal::Net(IpNet::new_assert(ip.into(), len).trunc()))
        .boxed()
}

fn compared(column: &'static Column) -> BoxedStrategy<Test> {
    let equals = prop_oneof![Just(Op::Equal), Just(Op::NotEqual), Just(Op::Has)].prop_flat_map(move |op| {
        let nets = op == Op::Has && holds_networks(column);
        let values = if nets { networks(24) } else { literals(column) };
        (Just(op), proptest::collection::vec(values, 1..4))
    });
    let plain = equals.prop_map(move |(op, values)| Test::Compare(column, op, values));
    match quantity(column) {
        Quantity::Text | Quantity::List => {
            let sources = prop_oneof!["[a-z/,\"^$ ]{1,12}", Just("\\.a\\d{1,2} b".to_owned())];
            let patterns = (sources, any::<bool>()).prop_map(move |(source, not)| {
                let op = if not { Op::MatchesNot } else { Op::Matches };
                Test::Compare(column, op, vec![Literal::Pattern(Pattern::new(&source).unwrap())])
            });
            prop_oneof![plain, patterns, Just(Test::Present(column))].boxed()
        }
        Quantity::Flag | Quantity::Address => plain.boxed(),
        _ => {
            let ordered = (
                prop_oneof![Just(Op::Greater), Just(Op::AtLeast), Just(Op::Less), Just(Op::AtMost)],
                literals(column),
            );
            prop_oneof![plain, ordered.prop_map(move |(op, v)| Test::Compare(column, op, vec![v]))].boxed()
        }
    }
}

/// Any filter that the language can say.
pub(in crate::store::query) fn any_filter() -> impl Strategy<Value = Filter> {
    let test = prop_oneof![
        4 => (0..COLUMNS.len()).prop_flat_map(|i| compared(&COLUMNS[i])),
        1 => moments().prop_map(Test::Since),
        1 => moments().prop_map(Test::Until),
    ];
    let term = (any::<bool>(), test).prop_map(|(negated, test)| Term { negated, test });
    proptest::collection::vec(term, 0..6).prop_map(|terms| Filter { terms })
}

proptest! {
    #[test]
    fn display_parses_back(filter in any_filter()) {
        let text = filter.to_string();
        prop_assert_eq!(parse(&text).map_err(|e| e.to_string()), Ok(filter), "{}", text);
    }

    #[test]
    fn durations_in_filters_keep_their_unit(us: u64) {
        let span = Duration::from_micros(us);
        prop_assert_eq!(parse_duration(&Moment::Ago(span).to_string()), Some(span));
    }
}
