//! The names of click ids, and where one stands in a text with its value.
//!
//! A click id names one person's click on one advertisement. For the record a name counts whatever its case and wherever
//! it stands; for the query that the site gets it counts only as it is written here. `erid` is none: it labels the
//! advertisement. Never decodes what [`told_in`] looks at. Bound: the text.

use std::cmp::Ordering;

use super::decoding::decode;

/// What a parameter is, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Names a person's click.
    ClickId,
    /// Names a campaign.
    Campaign,
    /// Anything else.
    Other,
}

/// What a pair of a query is, by its key after percent-decoding, in its exact letters.
pub(crate) fn key(pair: &[u8]) -> Key {
    let key = decode(key_of(pair));
    if found(&key).is_some_and(|stem| key.starts_with(stem)) {
        Key::ClickId
    } else if key.starts_with(b"utm_") || key.starts_with(b"itm_") {
        Key::Campaign
    } else {
        Key::Other
    }
}

/// The text before the first `=`, or all of it.
pub(super) fn key_of(part: &[u8]) -> &[u8] {
    memchr::memchr(b'=', part).map_or(part, |end| &part[..end])
}

/// Whether this is the name of a click id, in letters of any case.
pub(super) fn is_click_id(name: &[u8]) -> bool {
    found(name).is_some()
}

/// Whether a path segment or piece of a text names the one behind the next `/`, as in `/gclid/VALUE`. Only names that end
/// in `id`: others are words as well.
pub(super) fn names_the_next(piece: &[u8]) -> bool {
    matches!(piece, [.., b'i' | b'I', b'd' | b'D'])
        && found(piece).is_some_and(|stem| stem.len() == piece.len())
}

/// Whether a click id stands here as one with its value: `gclid=`, `"gclid":`, `gclid[]=`, `gclid/`.
pub(super) fn told_in(text: &[u8]) -> bool {
    values(text).any(|value| {
        let is_one = if value.mark == b'/' { names_the_next } else { is_click_id };
        value.names().any(is_one)
    })
}

/// A place in a text where a value may begin.
pub(super) struct Value<'t> {
    word: &'t [u8],
    /// What stands in brackets behind the word; often a name too.
    index: &'t [u8],
    /// What stands between name and value.
    pub(super) mark: u8,
    /// What follows.
    pub(super) rest: &'t [u8],
}

impl<'t> Value<'t> {
    /// The word before the mark, its index, and what stands behind each `-` of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &'t [u8]> + use<'t> {
        let behind = |name: &&'t [u8]| memchr::memchr(b'-', name).map(|at| &name[at + 1..]);
        let words = [self.word, self.index].into_iter().filter(|word| !word.is_empty());
        words.flat_map(move |word| std::iter::successors(Some(word), behind))
    }
}

/// The places where a value may begin.
pub(super) fn values(text: &[u8]) -> impl Iterator<Item = Value<'_>> {
    memchr::memchr3_iter(b'=', b':', b'/', text).map(|at| {
        let (word, index) = last_word(&text[..at]);
        Value { word, index, mark: text[at], rest: &text[at + 1..] }
    })
}

/// The last word of a text, and what is in brackets behind it. Quotes and blanks behind it are looked over.
fn last_word(text: &[u8]) -> (&[u8], &[u8]) {
    let is_between = |b: &u8| matches!(b, b'"' | b'\'' | b'\\' | b'+' | b' ');
    let mut text = before(text, is_between);
    let mut index = &[][..];
    if let [front @ .., b']'] = text {
        let length = front.iter().rev().take(LONGEST_INDEX).take_while(|b| is_word(b)).count();
        if let (&[ref name @ .., b'['], inside) = front.split_at(front.len() - length) {
            (text, index) = (before(name, is_between), inside);
        }
    }
    (&text[before(text, is_word).len()..], index)
}

/// The text without the run of such bytes at its end.
fn before(text: &[u8], is_such: impl Fn(&u8) -> bool) -> &[u8] {
    let kept = text.iter().rposition(|b| !is_such(b)).map_or(0, |at| at + 1);
    &text[..kept]
}

const fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The name in the list that this is, without its `*`.
fn found(name: &[u8]) -> Option<&'static [u8]> {
    // A family stands right before the names that belong to it.
    let behind = CLICK_IDS.partition_point(|listed| order(stem(listed), name).is_le());
    let listed = CLICK_IDS[behind.checked_sub(1)?];
    let stem = stem(listed);
    let compared = if stem.len() < listed.len() { name.get(..stem.len())? } else { name };
    compared.eq_ignore_ascii_case(stem).then_some(stem)
}

fn stem(listed: &[u8]) -> &[u8] {
    listed.strip_suffix(b"*").unwrap_or(listed)
}

/// The order of names, whatever the case of their letters.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
}

/// Longest index that is looked at: that of `gclid[0]` and `data[gclid]`.
const LONGEST_INDEX: usize = 32;

/// By [`order`]: they are searched by halves. A `*` stands for anything, also nothing.
const CLICK_IDS: &[&[u8]] = &[
    b"__hsfp",
    b"__hssc",
    b"__hstc",
    b"__s",
    b"_branch_*",
    b"_gl",
    b"_hsenc",
    b"_openstat",
    b"admitad_uid",
    b"bsft_*",
    b"dclid",
    b"epik",
    b"et_rid",
    b"fb_action_*",
    b"fb_comment_*",
    b"fbclid",
    b"gad_campaignid",
    b"gad_source",
    b"gbraid",
    b"gclid",
    b"gclsrc",
    b"guce_referrer*",
    b"hsa_*",
    b"hsCtaTracking",
    b"irclickid",
    b"li_fat_id",
    b"mc_eid",
    b"mindbox-click-id",
    b"mindbox-message-key",
    b"ml_subscriber*",
    b"msclkid",
    b"mtm_cid",
    b"oft_*",
    b"oly_*",
    b"pk_cid",
    b"rb_clickid",
    b"rdt_cid",
    b"s_cid",
    b"ScCid",
    b"sfmc_*",
    b"srsltid",
    b"syclid",
    b"ttclid",
    b"twclid",
    b"unicorn_click_id",
    b"vero_*",
    b"vgo_ee",
    b"wbraid",
    b"wickedid",
    b"yclid",
    b"ymclid",
    b"ysclid",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_every_name_is_found() {
        assert!(CLICK_IDS.is_sorted_by(|a, b| order(stem(a), stem(b)).is_lt()));
        for listed in CLICK_IDS {
            let name = stem(listed);
            assert!(is_click_id(name) && is_click_id(&name.to_ascii_uppercase()));
            assert_eq!(key(name), Key::ClickId);
            assert_eq!(is_click_id(&[name, b"x"].concat()), name.len() < listed.len(), "{listed:?}");
            assert!(told_in(&[name, b"=1"].concat()), "{listed:?}");
        }
        for other in [&b""[..], b"a", b"zz", b"gcli", b"hsa", b"erid", b"utm_source"] {
            assert!(!is_click_id(other));
        }
        assert_eq!(key(b"GCLID=1"), Key::Other, "the site's query loses names in their exact letters");
    }

    #[test]
    fn a_click_id_is_found_wherever_it_stands_with_its_value() {
        for told in [
            "gclid=1",
            "a=gclid=1",
            "a&gclid=1",
            "{\"gclid\":\"1\"}",
            "{\\\"gclid\\\" : 1}",
            "gclid[]=1",
            "gclid[a1]=1",
            "data[gclid]=1",
            "x|gclid=1",
            "x,yclid=1",
            "p-gclid=1",
            "x-mindbox-click-id=1",
            "GCLID=1",
            "sccid=1",
            "hsa_acc=1",
            "a/gclid/1",
            "gclid+=+1",
            "я.gclid=1",
        ] {
            assert!(told_in(told.as_bytes()), "{told}");
        }
        for none in
            ["", "=", "gclid", "xgclid=1", "gclid2=1", "erid=1", "a/epik/1", "what is gclid?", "[]=", "]="]
        {
            assert!(!told_in(none.as_bytes()), "{none}");
        }
    }
}
