//! One finished exchange becomes one record and its figures, together, so that the two never disagree.
//!
//! Fills the event from what the steps noted: location only with the evidence that the risk step hands over, campaign
//! data only with a permit. Never waits. Bound: one record.

use std::time::Duration;

use http::Version;

use super::kept::Kept;
use super::redact;
use super::{Ads, Event, Fraud, Kind, ListBuf};
use crate::clock;
use crate::exchange::Exchange;
use crate::identify::agent::preferred_language;
use crate::identify::text::push_ip;
use crate::store::recorder::Submission;

/// Counts the exchange and hands its record to the journal. The answer may end when the submission has resolved.
pub fn finish(exchange: &mut Exchange) -> Submission {
    exchange.recorded = true;
    let duration = clock::monotonic().saturating_duration_since(exchange.started);
    count(exchange, duration);
    let submission =
        with_event(exchange, Kind::Access, Some(duration), |event| exchange.worker.recorder.submit(event));
    if matches!(submission, Submission::Holding(_)) {
        exchange.worker.metrics.journal_held();
    }
    submission
}

/// The same where nothing is left to hold back: the client has gone, or gets a broken answer. Without room in the ring
/// the record is shed at once, and counted.
pub fn finish_now(exchange: &mut Exchange) {
    exchange.recorded = true;
    let duration = clock::monotonic().saturating_duration_since(exchange.started);
    count(exchange, duration);
    with_event(exchange, Kind::Access, Some(duration), |event| {
        exchange.worker.recorder.record_or_shed(event);
    });
}

/// Hands over what is known before the site is asked, for paths that must be recorded first.
pub fn submit_open(exchange: &Exchange) -> Submission {
    with_event(exchange, Kind::Open, None, |event| exchange.worker.recorder.submit(event))
}

/// The record of what is known so far, encoded and handed to nobody: for a dry run.
pub(crate) fn encoded(exchange: &Exchange) -> Vec<u8> {
    with_event(exchange, Kind::Access, None, |event| {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    })
}

fn count(exchange: &Exchange, duration: Duration) {
    let metrics = &exchange.worker.metrics;
    let listener = exchange.open.connection().listener;
    let label = exchange.admitted.served.label;
    metrics.request(listener, label, exchange.method, exchange.status, duration);
    if let Some(reason) = exchange.error {
        metrics.request_rejected(reason);
    }
    exchange.worker.access_log.note(exchange, duration);
}

/// The lists of a record, gathered before the event borrows them.
#[derive(Default)]
struct Lists {
    query_keys: ListBuf,
    chain: ListBuf,
    signals: ListBuf,
}

/// Fills an event from what the steps noted, and hands it to `then`.
fn with_event<T>(
    exchange: &Exchange,
    kind: Kind,
    duration: Option<Duration>,
    then: impl FnOnce(&Event<'_>) -> T,
) -> T {
    let kept = &exchange.kept;
    let state = &exchange.state;
    let config = &state.config;
    let mut lists = Lists::default();
    let query = kept.query().map(redact::strip_click_ids);
    if let Some(query) = &query {
        redact::query_keys(query).for_each(|key| lists.query_keys.push(key));
    }
    let allowed =
        query.as_deref().and_then(|query| redact::allowed_values(query, &config.records.query_values));
    let origin = kept.referer().and_then(redact::origin);
    let referer = kept.referer().and_then(redact::without_query);
    let peer = exchange.open.connection().peer;
    let mut text = Vec::with_capacity(48);
    for address in exchange.admitted.chain.iter().skip(1) {
        text.clear();
        push_ip(&mut text, address.ip());
        lists.chain.push(&text);
    }
    if let Some(risk) = &exchange.risk {
        risk.assessment.signals.iter().for_each(|(name, _)| lists.signals.push(name.label().as_bytes()));
    }
    let receipt = exchange.consent.as_ref().and_then(|c| c.receipt);
    let mut receipt_text = [0; uuid::fmt::Hyphenated::LENGTH];
    let receipt = receipt.map(|r| &*r.hyphenated().encode_lower(&mut receipt_text));
    let upstream = exchange.upstream.as_ref();
    let endpoints = &state.endpoints[exchange.admitted.served.site];
    let endpoint = upstream.and_then(|u| u.endpoint).and_then(|index| endpoints.get(index));
    text.clear();
    exchange.admitted.client.push_masked(&mut text);
    let tls = exchange.open.connection().tls.as_ref();
    let path = redact::path(kept.path());
    let mut event = Event {
        kind,
        start_ts: Some(exchange.arrived),
        method: Some(kept.method()),
        scheme: Some(if exchange.admitted.secure { b"https" } else { b"http" }),
        domain: Some(exchange.admitted.domain(state).as_bytes()),
        path: Some(&path),
        query_keys: lists.query_keys.as_list(),
        status: (exchange.status != 0).then_some(u64::from(exchange.status)),
        referer_origin: origin,
        http_version: Some(version(exchange.version)),
        tls_version: tls.map(|tls| tls.version.as_bytes()),
        request_bytes: Some(exchange.upload.as_ref().map_or(0, |upload| upload.bytes())),
        response_bytes: duration.map(|_| exchange.sent.get()),
        duration: duration.map(micros),
        first_byte: exchange.first_byte.map(micros),
        upstream: endpoint.map(|text| text.as_bytes()),
        upstream_status: upstream.and_then(|u| u.status).map(u64::from),
        upstream_time: upstream.map(|u| micros(u.time)),
        retries: upstream.map(|u| u64::from(u.retries)).filter(|&n| n > 0),
        error: exchange.error.map(|reason| reason.label().as_bytes()),
        request_id: Some(exchange.admitted.id.as_bytes()),
        cookie_names: exchange.cookies.names.as_list(),
        cookie_categories: exchange.cookies.categories.as_list(),
        cookie_bytes: (exchange.cookies.bytes > 0).then_some(exchange.cookies.bytes),
        cookies_stripped: exchange.cookies.stripped.as_list(),
        set_cookie_blocked: exchange.cookies.blocked.as_list(),
        risk_action: exchange.risk.as_ref().map(|risk| risk.applied.action.label().as_bytes()),
        client_address: Some(exchange.admitted.client.ip()),
        client_port: Some(u64::from(peer.port())).filter(|_| !exchange.admitted.trusted),
        peer_address: Some(peer.ip().to_canonical()).filter(|_| exchange.admitted.trusted),
        forwarded_chain: lists.chain.as_list(),
        client_net: Some(&text),
        visitor_tag: exchange.visitor.as_ref().map(|visitor| &visitor.tag()[..]),
        query: allowed.as_deref(),
        referer,
        ..Event::default()
    };
    fill_agent(&mut event, kept);
    if let Some(decision) = &exchange.consent {
        event.consent = Some(decision.result.label().as_bytes());
        event.consent_source = Some(decision.source.label().as_bytes());
        event.consent_reason = Some(decision.reason.label().as_bytes());
        event.consent_policy = Some(decision.policy_version.as_str().as_bytes());
        event.consent_receipt = receipt.map(str::as_bytes);
    }
    if let Some(risk) = &exchange.risk {
        let (purpose, place) = risk.located.evidence();
        let mut fraud = Fraud::new(purpose);
        fraud.country = place.country(purpose).map(str::as_bytes);
        fraud.asn = place.asn(purpose).map(u64::from);
        fraud.risk_level = Some(risk.assessment.level.label().as_bytes());
        fraud.risk_score = Some(u64::from(risk.assessment.score));
        fraud.risk_signals = lists.signals.as_list();
        event.fraud = Some(fraud);
    }
    let campaign = Campaign::of(query.as_deref());
    if let Some(permit) = exchange.consent.as_ref().and_then(|c| c.permits.advertising.as_ref()) {
        let mut ads = Ads::new(permit);
        campaign.fill(&mut ads);
        event.ads = Some(ads);
    }
    then(&event)
}

/// What the browser says of itself and of the request.
fn fill_agent<'a>(event: &mut Event<'a>, kept: &'a Kept) {
    event.user_agent = kept.user_agent();
    event.language = kept.accept_language().and_then(preferred_language).map(str::as_bytes);
    event.ua_brands = kept.ua_brands();
    event.ua_platform = kept.ua_platform();
    event.ua_mobile = kept.ua_mobile().map(|mobile| mobile == b"?1");
    event.save_data = kept.save_data().map(|save| save.eq_ignore_ascii_case(b"on"));
    event.fetch_site = kept.fetch_site().and_then(redact::token);
    event.fetch_mode = kept.fetch_mode().and_then(redact::token);
    event.fetch_dest = kept.fetch_dest().and_then(redact::token);
    event.fetch_user = kept.fetch_user().map(|user| user == b"?1");
    event.traceparent = kept.traceparent().filter(|value| is_trace_context(value));
    event.gpc = kept.gpc().map(|gpc| gpc == b"1");
    event.dnt = kept.dnt().map(|dnt| dnt == b"1");
}

/// Whether this is a `traceparent` (W3C Trace Context §3.2.2): 55 lower-case hexadecimal digits and dashes. Anything else
/// is a text of the client's choice, which has no place among the facts without a person.
fn is_trace_context(value: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    value.len() == 55
        && value
            .iter()
            .enumerate()
            .all(|(at, b)| if matches!(at, 2 | 35 | 52) { *b == b'-' } else { digit(b) })
}

/// `utm_*`, which only a permit lets into the record.
#[derive(Default)]
struct Campaign<'a>([Option<&'a [u8]>; 5]);

impl<'a> Campaign<'a> {
    fn of(query: Option<&'a [u8]>) -> Self {
        const KEYS: [&[u8]; 5] = [b"utm_source", b"utm_medium", b"utm_campaign", b"utm_term", b"utm_content"];
        let mut found = Self::default();
        for pair in query.unwrap_or_default().split(|&b| b == b'&') {
            let Some(at) = memchr::memchr(b'=', pair) else { continue };
            if let Some(slot) = KEYS.iter().position(|key| *key == &pair[..at]) {
                found.0[slot].get_or_insert(&pair[at + 1..]);
            }
        }
        found
    }

    fn fill(&self, ads: &mut Ads<'a>) {
        [ads.source, ads.medium, ads.name, ads.term, ads.content] = self.0;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const fn version(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"1.0",
        Version::HTTP_2 => b"2",
        _ => b"1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_clients_choice_is_no_trace_context() {
        assert!(is_trace_context(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for bad in [&b"ivan@mail.kz"[..], b"", b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"] {
            assert!(!is_trace_context(bad));
        }
    }
}
