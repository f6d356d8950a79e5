//! Takes our own name out of a `Proxy-Status` that the site sent (RFC 9209).
//!
//! `kelisim; error=…` stands on answers that the gateway made, and only there: a site that writes it would make itself
//! look innocent. Members of other proxies pass unchanged. Bound: the field.

use http::{HeaderMap, HeaderValue};

use super::error_page::PROXY_STATUS;

/// Removes every member that is named as ours.
pub fn remove_ours(fields: &mut HeaderMap) {
    // An answer has few names: looking at all of them costs less than hashing this one.
    if !fields.keys().any(|name| name == PROXY_STATUS) {
        return;
    }
    let forged = |value: &HeaderValue| members(value.as_bytes()).any(is_ours);
    if !fields.get_all(PROXY_STATUS).iter().any(forged) {
        return;
    }
    let values: Vec<HeaderValue> = fields.get_all(PROXY_STATUS).iter().filter_map(without_ours).collect();
    fields.remove(PROXY_STATUS);
    for value in values {
        fields.append(PROXY_STATUS, value);
    }
}

fn without_ours(value: &HeaderValue) -> Option<HeaderValue> {
    let kept: Vec<&[u8]> =
        members(value.as_bytes()).map(<[u8]>::trim_ascii).filter(|m| !m.is_empty() && !is_ours(m)).collect();
    // What is joined was taken from a field's value, so it is one.
    (!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept.join(&b", "[..])).ok()).flatten()
}

/// The members of a list (RFC 9651 §3.1): commas within quotes do not end one.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&b| {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// Whether the member's item is `kelisim`, as a token or as a string, in any case and with any suffix: a name that only
/// looks like ours is no better.
fn is_ours(member: &[u8]) -> bool {
    let item = member.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    let name = item.strip_prefix(b"\"").unwrap_or(item);
    name.get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME))
}

const NAME: &[u8] = b"kelisim";

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(values: &[&str]) -> Vec<String> {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(PROXY_STATUS, value.parse().unwrap());
        }
        remove_ours(&mut fields);
        fields.get_all(PROXY_STATUS).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn our_member_goes_and_others_stay() {
        assert_eq!(cleaned(&["kelisim; error=dns_timeout"]), Vec::<String>::new());
        assert_eq!(
            cleaned(&["cdn; error=http_request_error, Kelisim;error=x , b"]),
            ["cdn; error=http_request_error, b"]
        );
        assert_eq!(cleaned(&["\"kelisim\"; received-status=200", "cdn"]), ["cdn"]);
        assert_eq!(cleaned(&["kelisim.example"]), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let strange = "cdn;details=\"a, kelisim; \\\"b\",  c ,";
        assert_eq!(cleaned(&[strange]), [strange]);
        assert_eq!(cleaned(&["nginx; next-hop=\"kelisim\""]), ["nginx; next-hop=\"kelisim\""]);
    }
}
