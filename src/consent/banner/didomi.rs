//! Didomi: a TC string in `euconsent-v2`, or `didomi_token`, JSON in base64 with the purposes of the site.
//!
//! The newer bit string `didomi_dcs` is not read: where it stands alone, nothing is known. Bound: three cookies.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::document::{Document, Found};
use super::jar::{Jar, Name};
use super::json::Json;
use super::reading::{Reading, all};
use super::text::{first, moment};
use crate::consent::signal::Verdict;
use crate::consent::tcf::{self, Purposes};

/// The three cookies.
pub(super) fn names() -> Vec<Name> {
    [TCF, TOKEN, BITS].map(Name::exact).to_vec()
}

/// What the request says about these purposes; `by_tcf` if a TC string may say it.
pub(super) fn read(jar: &Jar<'_>, purposes: &[String], by_tcf: Option<Purposes>) -> Option<Reading> {
    let string = by_tcf.and_then(|wanted| jar.read(&Name::exact(TCF), |value| tcf::read(value, wanted)));
    let token = || jar.read(&Name::exact(TOKEN), |value| judge(value, purposes).unwrap_or(Reading::UNKNOWN));
    let bits = || jar.read(&Name::exact(BITS), |_| Reading::UNKNOWN);
    string.or_else(token).or_else(bits)
}

fn judge(value: &[u8], purposes: &[String]) -> Option<Reading> {
    let json = first(value, |text, _| {
        let bytes = ANY_PADDING.decode(text.trim()).ok()?;
        Json::parse(str::from_utf8(&bytes).ok()?)
    })?;
    let document = Document::Json(json);
    let member = |list: &str, purpose: &str| {
        document.find(&["purposes".to_owned(), list.to_owned(), purpose.to_owned()]) == Found::Member(true)
    };
    let of_purpose = |purpose: &String| match (member("enabled", purpose), member("disabled", purpose)) {
        (_, true) => Verdict::Denied,
        (true, false) => Verdict::Granted,
        (false, false) => Verdict::Unknown,
    };
    let at = match document.find(&["updated".to_owned()]) {
        Found::Word(word) => Some(moment(&word)?),
        Found::Absent => None,
        _ => return None,
    };
    Some(Reading::new(all(purposes.iter().map(of_purpose)), at))
}

const TCF: &str = "euconsent-v2";
const TOKEN: &str = "didomi_token";
const BITS: &str = "didomi_dcs";
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
