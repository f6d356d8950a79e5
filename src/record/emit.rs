//! One finished exchange becomes one record and its figures, together, so that the two never disagree.
//!
//! Fills the event from what the steps noted: location only with the evidence that the risk step hands over, campaign
//! data only with a permit. Never waits. Bound: one record.

use std::ops::Range;
use std::time::Duration;

use http::Version;
use smallvec::SmallVec;

use super::kept::{Hint, Kept};
use super::redact;
use super::referrer::Referrer;
use super::route::Routes;
use super::{Ads, Event, Fraud, Kind, List, ListSpan, Lists, Subject};
use crate::clock;
use crate::exchange::Exchange;
use crate::geo::place::NetworkCategory;
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
    if let Some(upload) = &exchange.upload {
        metrics.dropped_trailers(upload.trailers_dropped());
    }
    exchange.worker.access_log.note(exchange, duration);
}

/// Memory for what a record needs only while it is encoded. One per thread, used again for each record.
#[derive(Debug, Default)]
pub struct Scratch {
    lists: Lists,
    text: Vec<u8>,
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
    // Nothing below records anything, so that it is never borrowed twice.
    let mut scratch = exchange.worker.scratch.borrow_mut();
    let Scratch { lists, text } = &mut *scratch;
    lists.clear();
    let query = kept.query().map(redact::strip_click_ids);
    let query_keys = query.as_deref().map(|query| lists.gather(redact::query_keys(query)));
    let allowed =
        query.as_deref().and_then(|query| redact::allowed_values(query, &config.records.query_values));
    let referrer = kept.referer().and_then(|url| Referrer::of(url, |host| routes_of(exchange, host)));
    let peer = exchange.open.connection().peer;
    let chain = chain_of(exchange, lists, text);
    let signals = exchange
        .risk
        .as_ref()
        .map(|risk| lists.gather(risk.assessment.signals.iter().map(|(name, _)| name.label().as_bytes())));
    let done = exchange.done;
    let decisions = (!done.is_empty()).then(|| lists.gather(done.words().map(str::as_bytes)));
    let hints = kept.has_hints().then(|| lists.gather(kept.network_hints()));
    let lists = &*lists;
    let list = |span: Option<ListSpan>| span.map_or_else(List::default, |span| lists.get(span));
    let receipt = exchange.consent.as_ref().and_then(|c| c.receipt);
    let mut receipt_text = [0; uuid::fmt::Hyphenated::LENGTH];
    let receipt = receipt.map(|r| &*r.hyphenated().encode_lower(&mut receipt_text));
    let upstream = exchange.upstream.as_ref();
    let endpoints = &state.endpoints[exchange.admitted.served.site];
    let endpoint = upstream.and_then(|u| u.endpoint).and_then(|index| endpoints.get(index));
    text.clear();
    exchange.admitted.client.push_masked(text);
    let tls = exchange.open.connection().tls.as_ref();
    let (route, path) = config.sites[exchange.admitted.served.site].routes.recorded(kept.path());
    let mut event = Event {
        kind,
        start_ts: Some(exchange.arrived),
        method: Some(redact::method(kept.method())),
        scheme: Some(if exchange.admitted.secure { b"https" } else { b"http" }),
        domain: Some(exchange.admitted.domain(state).as_bytes()),
        path: Some(&path),
        route: route.map(str::as_bytes),
        query_keys: list(query_keys),
        status: (exchange.status != 0).then_some(u64::from(exchange.status)),
        referer_origin: referrer.as_ref().map(|referrer| referrer.origin),
        http_version: Some(version(exchange.version)),
        tls_version: tls.map(|tls| tls.version.as_bytes()),
        tls_cipher: tls.and_then(|tls| tls.cipher).map(str::as_bytes),
        tls_alpn: tls.and_then(|tls| tls.alpn).map(str::as_bytes),
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
        cookie_names: exchange.cookies.names(),
        cookie_categories: exchange.cookies.categories(),
        cookie_bytes: (exchange.cookies.bytes > 0).then_some(exchange.cookies.bytes),
        cookies_stripped: exchange.cookies.stripped(),
        set_cookie_blocked: exchange.cookies.blocked.as_list(),
        cookie_values: exchange.cookies.values(),
        decisions: list(decisions),
        risk_action: exchange.risk.as_ref().map(|risk| risk.applied.action.label().as_bytes()),
        client_address: Some(exchange.admitted.client.ip()),
        client_port: Some(u64::from(peer.port())).filter(|&port| port != 0 && !exchange.admitted.trusted),
        peer_address: Some(peer.ip().to_canonical()).filter(|_| exchange.admitted.trusted),
        forwarded_chain: list(chain),
        client_net: Some(text),
        visitor_tag: exchange.visitor.as_ref().map(|visitor| &visitor.tag()[..]),
        query: allowed.as_deref(),
        referer: referrer.as_ref().map(|referrer| &*referrer.page),
        network_hints: list(hints),
        tcp_rtt: exchange.open.connection().round_trip.filter(|_| !exchange.admitted.trusted).map(micros),
        subject: Subject {
            visitor: exchange
                .visitor
                .map(|v| v.id)
                .or(exchange.visitor_given)
                .map(|id| id.uuid().into_bytes()),
            account: exchange.account.as_ref().map(http::HeaderValue::as_bytes),
        },
        ..Event::default()
    };
    fill_agent(&mut event, kept);
    if kept.has_hints() {
        fill_hints(&mut event, kept);
    }
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
        fraud.as_org = risk.located.organisation(purpose).map(str::as_bytes);
        fraud.geo_data = risk.located.databases().map(str::as_bytes);
        event.geo_precision = fraud.geo_data.map(|_| &b"full"[..]);
        fraud.country = place.country(purpose).map(str::as_bytes);
        fraud.asn = place.asn(purpose).map(u64::from);
        let category = place.category(purpose);
        fraud.ip_class = (category != NetworkCategory::Unknown).then(|| category.label().as_bytes());
        fraud.risk_level = Some(risk.assessment.level.label().as_bytes());
        fraud.risk_score = Some(u64::from(risk.assessment.score));
        fraud.risk_signals = list(signals);
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

/// The templates of the site that this `host[:port]` belongs to, if it is served here. Most pages that lead here are of the
/// host that is asked.
fn routes_of<'e>(exchange: &'e Exchange, authority: &[u8]) -> Option<&'e Routes> {
    let (state, admitted) = (&exchange.state, &exchange.admitted);
    let served =
        if authority == admitted.host.as_bytes() { admitted.served } else { state.authority(authority)? };
    Some(&state.config.sites[served.site].routes)
}

/// The addresses that proxies told, without the client's own.
fn chain_of(exchange: &Exchange, lists: &mut Lists, text: &mut Vec<u8>) -> Option<ListSpan> {
    // Each address is a text of its own, so the texts are written first and then cut.
    text.clear();
    let mut ends: SmallVec<[usize; 8]> = SmallVec::new();
    for address in exchange.admitted.chain.iter().skip(1) {
        push_ip(text, address.ip());
        ends.push(text.len());
    }
    let starts = std::iter::once(&0).chain(&ends);
    (!ends.is_empty()).then(|| lists.gather(starts.zip(&ends).map(|(start, end)| &text[*start..*end])))
}

/// What the browser says of itself and of the request.
fn fill_agent<'a>(event: &mut Event<'a>, kept: &'a Kept) {
    event.user_agent = kept.user_agent();
    event.language = kept.accept_language().and_then(preferred_language).map(str::as_bytes);
    event.ua_brands = kept.ua_brands().and_then(redact::brands);
    event.ua_platform = kept.ua_platform().and_then(redact::platform);
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

/// What the browser tells only when it was asked.
fn fill_hints<'a>(event: &mut Event<'a>, kept: &'a Kept) {
    event.ua_full_versions = kept.hint(Hint::FullVersions);
    event.ua_arch = kept.hint(Hint::Arch);
    event.ua_bitness = kept.hint(Hint::Bitness);
    event.ua_model = kept.hint(Hint::Model);
    event.ua_platform_version = kept.hint(Hint::PlatformVersion);
    event.device_memory = kept.hint(Hint::Memory);
    event.device_pixel_ratio = kept.hint(Hint::PixelRatio);
    event.viewport_width = kept.hint(Hint::ViewportWidth);
}

/// Whether this is a `traceparent` (W3C Trace Context §3.2.2): 55 lower-case hexadecimal digits and dashes. Anything else
/// is a text of the client's choice, which has no place among the facts without a person.
fn is_trace_context(value: &[u8]) -> bool {
    let Ok(value) = <&[u8; 55]>::try_from(value) else { return false };
    // Every byte is looked at, without a branch: a few at a time.
    let digits = |range: Range<usize>| {
        value[range].iter().fold(true, |so_far, b| so_far & matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let dashes = [value[2], value[35], value[52]] == [b'-'; 3];
    dashes && digits(3..35) && digits(36..52) && digits(0..2) && digits(53..55)
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
        for bad in [
            &b"ivan@mail.kz"[..],
            b"",
            b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333101-",
        ] {
            assert!(!is_trace_context(bad));
        }
    }
}
