//! Any bytes as `Host` and as a target: what is accepted names one host, and has no escape that two readers read apart.

#![no_main]

use http::{HeaderValue, Request, Uri, Version, header};
use kelisim::config::EncodedSlashes;
use kelisim::ingress::{host, target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| {
    let (field, uri, http2) = input;
    if let Some(name) = host::parse(&field) {
        assert!(!name.is_empty() && name.len() <= 253);
        assert!(
            !name.iter().any(|byte| matches!(byte, b'@' | b'/' | b'\\' | b' ' | b'%' | b'[' | b']' | 0..=31))
        );
    }
    let Ok(uri) = Uri::try_from(uri) else { return };
    if target::check(&uri, 1024, EncodedSlashes::Reject).is_ok() {
        let path = uri.path().to_ascii_lowercase();
        assert!(uri.path().len() <= 1024 && !path.contains("%00") && !path.contains("%2f"));
    }
    let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    let Ok(request) = Request::builder().version(version).uri(uri).header(header::HOST, field).body(())
    else {
        return;
    };
    let mut parts = request.into_parts().0;
    if let Ok(host) = host::take(&mut parts) {
        assert_eq!(parts.headers.get_all(header::HOST).iter().count(), 1);
        assert_eq!(host.name(), host.name().to_ascii_lowercase());
        if let Some(authority) = parts.uri.authority() {
            let authority = HeaderValue::from_str(authority.as_str()).map(host::canonical).expect("a host");
            assert!(authority.as_bytes().eq_ignore_ascii_case(parts.headers[header::HOST].as_bytes()));
        }
    }
    if target::to_origin_form(&mut parts.uri).is_ok() {
        assert!(parts.uri.authority().is_none() && parts.uri.path().starts_with('/'));
    }
});
