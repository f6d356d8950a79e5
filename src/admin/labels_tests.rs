//! Tests of [`super`].

use std::collections::BTreeSet;

use super::*;

fn consistent<L: Label>() {
    let distinct: BTreeSet<_> = L::ALL.iter().map(|l| l.label()).collect();
    assert_eq!(distinct.len(), L::ALL.len(), "two variants share a label: {distinct:?}");
    for (place, value) in L::ALL.iter().enumerate() {
        assert_eq!(value.index(), place, "{}", value.label());
    }
}

#[test]
fn index_and_order_agree_and_no_label_occurs_twice() {
    consistent::<MethodLabel>();
    consistent::<StatusClass>();
    consistent::<ConnectionState>();
    consistent::<ConnReason>();
    consistent::<DropReason>();
    consistent::<Tolerated>();
    consistent::<RiskSignal>();
    consistent::<RiskPart>();
    consistent::<Reason>();
    consistent::<Category>();
    consistent::<Mode>();
}

#[test]
fn a_method_from_the_wire_never_becomes_a_label() {
    let strange = Method::from_bytes(b"PROPFIND").unwrap();
    assert_eq!(MethodLabel::of(&strange).label(), "_OTHER");
    assert_eq!(MethodLabel::of(&Method::GET).label(), "GET");
}

#[test]
fn status_classes() {
    for (status, label) in
        [(101, "1xx"), (204, "2xx"), (304, "3xx"), (499, "4xx"), (599, "5xx"), (0, "_other")]
    {
        assert_eq!(StatusClass::of(status).label(), label);
    }
}
