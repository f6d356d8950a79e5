//! The gateway from the outside: the real binary, real sites, real clients, all on loopback.
//!
//! | file | asks |
//! |---|---|
//! | [`consent`] | do advertising cookies pass with consent only, and everything else byte for byte? |
//! | [`consent_matrix`] | every source of consent, every decision, every category, both directions and protocols |
//! | [`ad_interfaces`] | what passes of browsers' advertising interfaces and client hints? |
//! | [`banners`] | real banners in a real browser: what the visitor chose is what the site gets |
//! | [`receipts`] | proofs of consent: durable, chained, downloadable; `cookies report` |
//! | [`consent_page`] | the page in a real browser: keyboard, zoom, dark, narrow, axe |
//! | [`caches`] | does a shared cache in front keep what it must not? |
//! | [`policy`] | the published policy: its gate, its versions, the age of a choice |
//! | [`front_door`] | what is let in, and is what the site sees unambiguous? |
//! | [`ingress`] | each rule for heads and trailers, over each protocol |
//! | [`client_address`] | who is the client: PROXY protocol, forwarding fields, and who lies about it |
//! | [`nobody`] | requests that are no site's: found by their id, counted, limited |
//! | [`strict`] | is an ambiguous request refused, or made one? |
//! | [`refusals`] | and is the refusal read, by a client that is still sending? |
//! | [`corpora`] | and what do others' collections of bad requests say? |
//! | [`limits`] | is every limit and every timeout kept, counted, and survived by everybody else? |
//! | [`h2_abuse`] | HTTP/2 used against the gateway |
//! | [`h2_ends`] | HTTP/2 at its end: early answers, and clients that do not heed it |
//! | [`forwarding`] | do requests and answers arrive whole, or visibly not at all? |
//! | [`upstream`] | servers of a site: how they are reached, chosen, checked, and survived |
//! | [`answers`] | what a site's answer may be: late bodies, large heads, its own words; and what is told of one that is not |
//! | [`tunnels`] | WebSockets |
//! | [`unix`] | Unix sockets as listeners |
//! | [`secure`] | TLS and certificates |
//! | [`risk`] | what is judged of addresses, what the site is told of risk and of places, and what nobody forges |
//! | [`records`] | what is recorded, for whom, and how it is read |
//! | [`cookie_records`] | is what records say of cookies and referrers true, and without a value? |
//! | [`agents`] | browsers and crawlers by table and by file; click ids and names of people in URLs |
//! | [`segments`] | do other tools read the segments, and only what their keys open? |
//! | [`retention`] | when the time of a class is over: is it unreadable, and the rest readable everywhere? |
//! | [`sql`] | what does DuckDB answer over the permitted rows, and what can it not reach? |
//! | [`subject`] | one person: found, given out, blocked, erased, and nobody else touched |
//! | [`promises`] | the five sentences of what is promised of records: `kill -9`, power, `fsync`, first recorded, counted |
//! | [`crash`] | what a killed gateway leaves: told, cut, in nobody's way |
//! | [`sealed`] | what lies on the disk, and which key opens it |
//! | [`errors`] | every answer that the gateway makes itself: status, form, language, `Proxy-Status` |
//! | [`life`] | reload, drain, end |
//! | [`lifecycle`] | upgrades without a lost request, systemd |
//! | [`several`] | gateways that share ports, or a site |
//! | [`access_log`] | the log of requests for other tools |
//! | [`admin`] | figures, health, readiness |
//! | [`cli`] | commands, exit codes, contracts |
//! | [`test_request`] | does `kelisim test-request` tell what the gateway really does? |
//! | [`differential`] | do nginx, Apache, node and Python see the requests that were forwarded, and no other? |
//! | [`third_party`] | servers and clients that nobody here wrote |
//! | [`real_app`] | a real application with logins and forms, large bodies, events, WebSockets |
//! | [`browser`] | a real browser before the demo site |
//!
//! Every test starts its own gateway on ports that the kernel chose, and waits for events, never for time to pass.
//! What is not installed is skipped with a line `skipped: …`, or fails where `KELISIM_REQUIRE` is set.

// Helpers are for tests: they may fail as tests do, and nothing is exported from this binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod access_log;
mod ad_interfaces;
mod admin;
mod agents;
mod answers;
mod banners;
mod browser;
mod caches;
mod cli;
mod client_address;
mod consent;
mod consent_matrix;
mod consent_page;
mod cookie_records;
mod corpora;
mod crash;
mod differential;
mod errors;
mod forwarding;
mod front_door;
mod h2_abuse;
mod h2_ends;
mod http10;
mod ingress;
mod life;
mod lifecycle;
mod limits;
mod nobody;
mod policy;
mod promises;
mod real_app;
mod receipts;
mod records;
mod refusals;
mod retention;
mod risk;
mod sealed;
mod secure;
mod segments;
mod several;
mod sql;
mod strict;
mod subject;
mod support;
mod test_request;
mod third_party;
mod tunnels;
mod unix;
mod upstream;
