//! The last changes to a request's head before the site gets it.
//!
//! The `Cookie` field and the queries that the site may see, what the visitor decided, what the risk signals say, and
//! where the visitor is if the configuration names a purpose for it. Every field that the site may trust is set here, or
//! was removed when the head was normalised. Never touches the body. Bound: the head.

use http::request::Parts;
use http::{HeaderName, header};

use crate::admin::labels::DropReason;
use crate::cookies::Mode;
use crate::cookies::request::Output;
use crate::exchange::Exchange;
use crate::geo;
use crate::ingress::{Normalised, click_ids, names};
use crate::record::decisions::Note;
use crate::risk::{self, Action};

/// Makes the head final.
pub fn to_site(exchange: &mut Exchange, parts: &mut Parts, cookies: Output, normalised: &mut Normalised) {
    let headers = &mut parts.headers;
    match cookies {
        Output::Unchanged => {}
        Output::Replaced(bytes) => match http::HeaderValue::from_maybe_shared(bytes) {
            Ok(value) => {
                headers.insert(header::COOKIE, value);
            }
            // The bytes came from header values, so this is never taken; no cookie is the safe reading.
            Err(_) => {
                headers.remove(header::COOKIE);
            }
        },
        Output::Removed => {
            headers.remove(header::COOKIE);
        }
    }
    if let Some(decision) = &exchange.consent {
        normalised.own.push(&CONSENT, &exchange.worker.consent_field(decision));
        if decision.permits.advertising.is_none() && exchange.state.cookies.mode == Mode::Enforce {
            for name in &normalised.advertising {
                headers.remove(name);
                // What waits for a permit is one or the other.
                let (reason, note) = match names::class(name.as_str()) {
                    names::Class::ClientHint => (DropReason::ClientHint, Note::RequestHints),
                    _ => (DropReason::Advertising, Note::RequestAdvertising),
                };
                exchange.worker.metrics.dropped_header(reason);
                exchange.done.note(note);
            }
            let strip = exchange.state.config.ingress.strip;
            let removed = click_ids::remove(&mut parts.uri, headers, strip);
            exchange.done.note_if(removed.click_ids, Note::ClickIds);
            exchange.done.note_if(removed.campaign, Note::Campaign);
        }
    }
    let Some(assessed) = &exchange.risk else { return };
    if assessed.applied.action >= Action::Tag {
        risk::headers::push(&mut normalised.own, &assessed.assessment);
    }
    if let Some(disclosure) = &exchange.state.disclosure {
        geo::headers::push(&mut normalised.own, disclosure, assessed.located.place());
    }
}

const CONSENT: HeaderName = HeaderName::from_static("kelisim-consent");
