//! The one table of columns, and the event that fills them.
//!
//! The table makes [`COLUMNS`], the structs [`Event`], [`Fraud`] and [`Ads`], and the encoder: a field that is not in
//! it cannot be recorded. Location and risk can be filled only with a [`SecurityPurpose`], campaign data only with a
//! permit. Never holds a body, a credential, or the value of a cookie that the operator did not list. Bound:
//! [`RECORD_BYTES`].

use super::list::List;
use super::wire::{self, Field as _, Writer};
use super::{Class, Kind, SCHEMA_VERSION};
use crate::clock::Timestamp;
use crate::consent::{Advertising, Permit};
use crate::risk::SecurityPurpose;

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number; its unit is in the column's doc.
    U64,
    /// Microseconds since 1970, UTC.
    Time,
    /// Bytes that are usually UTF-8, at most [`wire::TEXT_BYTES`].
    Text,
    /// Yes or no.
    Bool,
    /// An IP address.
    Address,
    /// Short texts, together at most [`wire::TEXT_BYTES`].
    List,
}

/// What is known about a column.
#[derive(Debug)]
pub struct Column {
    /// Its id in journal files. Never used for another column.
    pub id: u8,
    /// Its name after OpenTelemetry, with dots.
    pub name: &'static str,
    /// Its name in SQL and Parquet, with underscores.
    pub column: &'static str,
    /// The seal class, which decides who may read it and how long it is kept.
    pub class: Class,
    /// The type of its values.
    pub ty: Type,
    /// The clause of the privacy policy that names it.
    pub clause: &'static str,
    /// What it is kept for.
    pub purpose: &'static str,
    /// Its meaning and unit.
    pub doc: &'static str,
}

impl Column {
    /// The column of that name, in either spelling.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        COLUMNS.iter().find(|c| c.name == name || c.column == name)
    }

    /// The column of that id.
    #[must_use]
    pub fn by_id(id: u8) -> Option<&'static Self> {
        COLUMNS.iter().find(|c| c.id == id)
    }

    /// Whether the value comes from the frame and the file rather than from a field of the record.
    #[must_use]
    pub const fn of_row(&self) -> bool {
        matches!(self.id, TS | SEQ | SCHEMA | KIND | NODE)
    }
}

/// The Rust type of a field of that column type.
macro_rules! field {
    (U64, $l:lifetime) => { Option<u64> };
    (Time, $l:lifetime) => { Option<Timestamp> };
    (Text, $l:lifetime) => { Option<&$l [u8]> };
    (Bool, $l:lifetime) => { Option<bool> };
    (Address, $l:lifetime) => { Option<std::net::IpAddr> };
    (List, $l:lifetime) => { List<$l> };
}

/// The entry of a column in [`COLUMNS`].
macro_rules! column {
    ($class:ident, $clause:literal, $purpose:literal, $ty:ident, $id:expr, $name:literal, $doc:expr) => {
        Column {
            id: $id,
            name: $name,
            column: {
                const SPELLED: [u8; $name.len()] = underscored($name);
                match std::str::from_utf8(&SPELLED) {
                    Ok(name) => name,
                    Err(_) => $name,
                }
            },
            class: Class::$class,
            ty: Type::$ty,
            clause: $clause,
            purpose: $purpose,
            doc: $doc,
        }
    };
}

/// One group of columns: a clause, a purpose, and its fields.
macro_rules! columns {
    (
        row { $($rclause:literal, $rpurpose:literal => {
            $($(#[doc = $rdoc:literal])+ $rconst:ident: $rty:ident = $rid:literal $rname:literal;)* })* }
        clear { $($cclause:literal, $cpurpose:literal => {
            $($(#[doc = $cdoc:literal])+ $cfield:ident: $cty:ident = $cid:literal $cname:literal;)* })* }
        sec { $($sclause:literal, $spurpose:literal => {
            $($(#[doc = $sdoc:literal])+ $sfield:ident: $sty:ident = $sid:literal $sname:literal;)* })* }
        fraud { $($fclause:literal, $fpurpose:literal => {
            $($(#[doc = $fdoc:literal])+ $ffield:ident: $fty:ident = $fid:literal $fname:literal;)* })* }
        diag { $($dclause:literal, $dpurpose:literal => {
            $($(#[doc = $ddoc:literal])+ $dfield:ident: $dty:ident = $did:literal $dname:literal;)* })* }
        ads { $($aclause:literal, $apurpose:literal => {
            $($(#[doc = $adoc:literal])+ $afield:ident: $aty:ident = $aid:literal $aname:literal;)* })* }
    ) => {
        $($($(#[doc = $rdoc])+ pub(super) const $rconst: u8 = $rid;)*)*

        const TABLE: &[Column] = &[
            $($(column!(Clear, $rclause, $rpurpose, $rty, $rid, $rname, concat!($($rdoc),+)),)*)*
            $($(column!(Clear, $cclause, $cpurpose, $cty, $cid, $cname, concat!($($cdoc),+)),)*)*
            $($(column!(Sec, $sclause, $spurpose, $sty, $sid, $sname, concat!($($sdoc),+)),)*)*
            $($(column!(Fraud, $fclause, $fpurpose, $fty, $fid, $fname, concat!($($fdoc),+)),)*)*
            $($(column!(Diag, $dclause, $dpurpose, $dty, $did, $dname, concat!($($ddoc),+)),)*)*
            $($(column!(Ads, $aclause, $apurpose, $aty, $aid, $aname, concat!($($adoc),+)),)*)*
        ];

        /// One record's values, borrowed. Absent values take no space. `ts`, `seq`, `node.id` and `schema.version`
        /// are the journal writer's and have no field here.
        #[derive(Default)]
        pub struct Event<'a> {
            /// What sort of record it is.
            pub kind: Kind,
            $($(
                $(#[doc = $cdoc])+
                #[doc = concat!("\n\nColumn `", $cname, "`, class `clear` (90 days by default). Policy: ", $cclause,
                    ". Purpose: ", $cpurpose, ".")]
                pub $cfield: field!($cty, 'a),
            )*)*
            $($(
                $(#[doc = $sdoc])+
                #[doc = concat!("\n\nColumn `", $sname, "`, class `sec` (30 days by default). Policy: ", $sclause,
                    ". Purpose: ", $spurpose, ".")]
                pub $sfield: field!($sty, 'a),
            )*)*
            $($(
                $(#[doc = $ddoc])+
                #[doc = concat!("\n\nColumn `", $dname, "`, class `diag` (7 days by default). Policy: ", $dclause,
                    ". Purpose: ", $dpurpose, ".")]
                pub $dfield: field!($dty, 'a),
            )*)*
            /// Location and risk; can be made only with a [`SecurityPurpose`].
            pub fraud: Option<Fraud<'a>>,
            /// Campaign data; can be made only with a permit for advertising.
            pub ads: Option<Ads<'a>>,
            /// Goes as far as the journal's writer, which makes tags of it; never written.
            pub subject: Subject<'a>,
        }

        /// Location and risk of one request: begin with [`Fraud::new`], then set the fields.
        pub struct Fraud<'a> {
            _proof: &'a SecurityPurpose,
            $($(
                $(#[doc = $fdoc])+
                #[doc = concat!("\n\nColumn `", $fname, "`, class `fraud` (30 days by default). Policy: ", $fclause,
                    ". Purpose: ", $fpurpose, ".")]
                pub $ffield: field!($fty, 'a),
            )*)*
        }

        impl<'a> Fraud<'a> {
            /// Nothing known yet. Only who has the security purpose can fill these columns (policy 2.2.4).
            #[must_use]
            pub const fn new(purpose: &'a SecurityPurpose) -> Self {
                Self { _proof: purpose, $($($ffield: empty!($fty),)*)* }
            }
        }

        /// Campaign data of one request: begin with [`Ads::new`], then set the fields.
        pub struct Ads<'a> {
            _proof: &'a Permit<Advertising>,
            $($(
                $(#[doc = $adoc])+
                #[doc = concat!("\n\nColumn `", $aname, "`, class `ads` (30 days by default). Policy: ", $aclause,
                    ". Purpose: ", $apurpose, ".")]
                pub $afield: field!($aty, 'a),
            )*)*
        }

        impl<'a> Ads<'a> {
            /// Nothing known yet. Only who has the visitor's consent can fill these columns (policy 2.2.8).
            #[must_use]
            pub const fn new(permit: &'a Permit<Advertising>) -> Self {
                Self { _proof: permit, $($($afield: empty!($aty),)*)* }
            }
        }

        impl Event<'_> {
            fn put_clear(&self, writer: &mut Writer<'_>) { $($(self.$cfield.put($cid, writer);)*)* }
            fn put_sec(&self, writer: &mut Writer<'_>) { $($(self.$sfield.put($sid, writer);)*)* }
            fn put_diag(&self, writer: &mut Writer<'_>) { $($(self.$dfield.put($did, writer);)*)* }
        }

        impl Fraud<'_> {
            fn put(&self, writer: &mut Writer<'_>) { $($(self.$ffield.put($fid, writer);)*)* }
        }

        impl Ads<'_> {
            fn put(&self, writer: &mut Writer<'_>) { $($(self.$afield.put($aid, writer);)*)* }
        }
    };
}

/// The absent value of a column type.
macro_rules! empty {
    (List) => {
        List::from_bytes(&[])
    };
    ($other:ident) => {
        None
    };
}

columns! {
    row {
        "1.1.2 date and time of access", "operation, proof" => {
            /// When it was recorded; never decreases along `seq`.
            TS: Time = 1 "ts";
        }
        "3.2 confidentiality, 3.6 protection", "proof that nothing is missing" => {
            /// Number of the record, without holes within one journal instance.
            SEQ: U64 = 2 "seq";
            /// Version of the column table that wrote it.
            SCHEMA: U64 = 3 "schema.version";
            /// Sort of record: `access`, `open`, `beacon`, `gap`.
            KIND: Text = 128 "record.kind";
            /// Name of the gateway that wrote it, from the configuration.
            NODE: Text = 129 "node.id";
        }
    }
    clear {
        "1.1.2 date and time of access", "operation, proof" => {
            /// When the request arrived; shown as the time of access.
            start_ts: Time = 4 "start_ts";
        }
        "1.1.2 addresses of requested pages", "operation, support" => {
            /// Method; `_OTHER` for one that is in no register.
            method: Text = 130 "http.request.method";
            /// `http` or `https`, as the visitor used it.
            scheme: Text = 131 "url.scheme";
            /// Host that was asked for; always a configured one.
            domain: Text = 132 "url.domain";
            /// Path after redaction, without query.
            path: Text = 133 "url.path";
            /// Template that the path matches, from the configuration.
            route: Text = 170 "http.route";
            /// Names of the query's parameters, without values and without names that may be values.
            query_keys: List = 134 "url.query_keys";
            /// Status sent to the visitor.
            status: U64 = 5 "http.response.status_code";
            /// Origin of the referring page, without path.
            referer_origin: Text = 135 "http.request.header.referer";
        }
        "1.1.2 browser or other program", "operation, support" => {
            /// Browser or program, from the user agent.
            agent_family: Text = 160 "user_agent.family";
            /// Its major version.
            agent_major: U64 = 24 "user_agent.major";
            /// Operating system, from the user agent.
            os_family: Text = 161 "os.family";
            /// Its major version.
            os_major: U64 = 25 "os.major";
            /// `desktop`, `mobile`, `tablet`, `tv`, `console` or `bot`.
            device_class: Text = 162 "device.class";
            /// Whether the user agent is that of a program, not of a person's browser.
            bot: Bool = 26 "bot.is";
            /// Name of the program.
            bot_name: Text = 163 "bot.name";
            /// What it is for: `search-engine`, `ai-crawler`, `seo`, `monitoring`, `social-preview`, `http-library`,
            /// `browser-automation`, `scanner`, `advertising`, `feed-reader`, `archiver`, `academic`, `other`.
            bot_category: Text = 164 "bot.category";
            /// Rule by which it was found.
            bot_rule: Text = 165 "bot.rule";
            /// Version of the rules.
            agent_data: Text = 166 "ua.data_version";
        }
        "1.1.2 technical characteristics of equipment and software", "operation, support" => {
            /// HTTP version: `1.0`, `1.1`, `2`.
            http_version: Text = 136 "network.protocol.version";
            /// TLS version: `1.2`, `1.3`; absent without TLS.
            tls_version: Text = 137 "tls.protocol.version";
            /// TLS cipher suite, as IANA names it; absent without TLS.
            tls_cipher: Text = 171 "tls.cipher";
            /// Protocol that was agreed on in the TLS handshake (ALPN); absent without.
            tls_alpn: Text = 172 "tls.next_protocol";
            /// `Sec-CH-UA`: brands and major versions; absent where it is no such list.
            ua_brands: Text = 138 "sec_ch_ua.brands";
            /// `Sec-CH-UA-Platform`; absent where it is no name of a system.
            ua_platform: Text = 139 "sec_ch_ua.platform";
            /// `Sec-CH-UA-Mobile`.
            ua_mobile: Bool = 6 "sec_ch_ua.mobile";
            /// `Save-Data: on`.
            save_data: Bool = 7 "save_data";
            /// Primary tag of the first `Accept-Language` entry.
            language: Text = 140 "accept_language.primary";
        }
        "1.1.2 other similar data", "operation, support" => {
            /// Request body in bytes, as received.
            request_bytes: U64 = 8 "http.request.body.size";
            /// Response body in bytes, as sent.
            response_bytes: U64 = 9 "http.response.body.size";
            /// From the end of the request's head to the end of the response, in microseconds.
            duration: U64 = 10 "event.duration";
            /// From the end of the request's head to the first byte of the response, in microseconds.
            first_byte: U64 = 11 "event.time_to_first_byte";
            /// Endpoint that answered, as configured.
            upstream: Text = 141 "upstream.address";
            /// Status of the endpoint's answer.
            upstream_status: U64 = 12 "upstream.status_code";
            /// Time until the head of the endpoint's answer, in microseconds.
            upstream_time: U64 = 13 "upstream.duration";
            /// Attempts after the first.
            retries: U64 = 14 "upstream.retry_count";
            /// Why the site did not answer: the label of a refusal's reason.
            error: Text = 142 "error.type";
            /// Id of the request, as shown on error pages.
            request_id: Text = 143 "request.id";
            /// W3C trace context.
            traceparent: Text = 144 "traceparent";
            /// `Sec-Fetch-Site`.
            fetch_site: Text = 145 "sec_fetch.site";
            /// `Sec-Fetch-Mode`.
            fetch_mode: Text = 146 "sec_fetch.mode";
            /// `Sec-Fetch-Dest`.
            fetch_dest: Text = 147 "sec_fetch.dest";
            /// `Sec-Fetch-User: ?1`.
            fetch_user: Bool = 15 "sec_fetch.user";
            /// What was done beyond passing it on: `recorded-first`, `request-advertising`, `request-client-hints`,
            /// `request-click-ids`, `request-campaign`, `answer-advertising`, `answer-client-hints`,
            /// `answer-expired-cookies`, `gate`, `dry-run`; absent when nothing was. Cookies have columns of their own.
            decisions: List = 173 "decision.log";
            /// What was done about the risk: `observe`, `tag`, `throttle`, `deny`.
            risk_action: Text = 148 "risk.action";
            /// A text or list of this record was too long and was cut.
            truncated: Bool = 16 "record.truncated";
        }
        "1.1.2 other similar data", "operation, counting visits within a day" => {
            /// The same for the requests of one browser to one site on one day, and for no others: a keyed hash of
            /// address, user agent and host whose key is destroyed 48 hours after the day began.
            visit_tag: Text = 167 "visit_tag";
        }
        "1.1.2 cookie data", "proof of consent handling" => {
            /// Names of the cookies that the browser sent, in order.
            cookie_names: List = 149 "cookie.names";
            /// Their categories, in the same order.
            cookie_categories: List = 150 "cookie.categories";
            /// Bytes of the browser's `Cookie` fields.
            cookie_bytes: U64 = 17 "cookie.bytes";
            /// Names of the cookies that were kept from the site, or would have been, where `decision.log` says `dry-run`.
            cookies_stripped: List = 151 "cookies.stripped";
            /// Names of the cookies that the site was not allowed to set, or would not have been, where `decision.log` says
            /// `dry-run`; `kelisim_*` it never is.
            set_cookie_blocked: List = 152 "set_cookie.blocked";
        }
        "2.2.8 advertising only with consent", "proof of consent handling" => {
            /// `granted` or `denied`.
            consent: Text = 153 "consent.decision";
            /// Where the decision came from.
            consent_source: Text = 154 "consent.source";
            /// Why it was decided so.
            consent_reason: Text = 155 "consent.reason";
            /// Version of the policy that the visitor's choice is bound to.
            consent_policy: Text = 156 "consent.policy_version";
            /// Id of the consent receipt.
            consent_receipt: Text = 157 "consent.receipt_id";
            /// `Sec-GPC: 1`.
            gpc: Bool = 18 "gpc";
            /// `DNT: 1`.
            dnt: Bool = 19 "dnt";
        }
        "3.6 protection", "proof that nothing is missing" => {
            /// Why records are missing: `ring_full`, `disk_full`, `torn_tail`, `write_error`,
            /// `fsync_error`, `unclean_stop`, `quota`.
            gap_reason: Text = 158 "gap.reason";
            /// Kind of the missing records; absent when not known.
            gap_kind: Text = 159 "gap.kind";
            /// How many are missing; absent when not known.
            gap_count: U64 = 20 "gap.count";
            /// Bytes that could not be read as records.
            gap_bytes: U64 = 21 "gap.bytes";
            /// Time of the first missing record.
            gap_first: Time = 22 "gap.first_ts";
            /// Time of the last missing record.
            gap_last: Time = 23 "gap.last_ts";
        }
    }
    sec {
        "1.1.2 IP address", "security" => {
            /// Address of the visitor.
            client_address: Address = 180 "client.address";
            /// Port of the visitor.
            client_port: U64 = 60 "client.port";
            /// Address of the connection's other end: the visitor or a trusted proxy.
            peer_address: Address = 181 "network.peer.address";
            /// The trusted part of `X-Forwarded-For`.
            forwarded_chain: List = 182 "client.forwarded_chain";
            /// Network of the visitor: /24 or /48.
            client_net: Text = 183 "client.net";
            /// How much of the address the location was looked up by: `full`; absent when there was no look-up.
            geo_precision: Text = 189 "geo.precision";
            /// Keyed hash of the visitor's address, by which a person's records are found.
            subject_tag: Text = 185 "subject_tag";
        }
        "1.1.2 cookie data", "security, finding a person's records" => {
            /// Keyed hash of the visitor cookie.
            visitor_tag: Text = 184 "visitor.tag";
            /// Cookies that the configuration lists (`records.cookie_values`), as `name=value`, if they went to the site.
            cookie_values: List = 188 "cookie.values";
            /// Keyed hash of the visitor cookie's id, which does not change with the cookie's key.
            subject_visitor: Text = 186 "subject_tag.visitor";
        }
        "2.2.2 access to personal resources", "finding a person's records" => {
            /// Keyed hash of what the site's answer named as the account (`records.account_header`).
            account_tag: Text = 187 "account_tag";
        }
    }
    fraud {
        "2.2.4 location", "prevention of fraud" => {
            /// Country, ISO 3166-1 alpha-2.
            country: Text = 200 "geo.country.iso_code";
            /// Number of the autonomous system.
            asn: U64 = 80 "as.number";
            /// Organisation of the autonomous system; absent when the database does not tell it.
            as_org: Text = 205 "as.org";
            /// The databases that were asked, by the day on which each was built: `country=2026-06-27 asn=2026-07-01`.
            geo_data: Text = 204 "geo.db_version";
            /// Sort of network: `isp`, `hosting`; absent when not known.
            ip_class: Text = 203 "ip.class";
        }
        "2.2.4 fraud and security", "prevention of fraud" => {
            /// Risk level: `none`, `low`, `medium`, `high`.
            risk_level: Text = 201 "risk.level";
            /// Sum of the signals' weights.
            risk_score: U64 = 81 "risk.score";
            /// Names of the signals.
            risk_signals: List = 202 "risk.signals";
        }
    }
    diag {
        "1.1.2 addresses of requested pages", "diagnosis" => {
            /// Allow-listed query parameters with their values.
            query: Text = 220 "url.query";
            /// Referring page without its query; its path as `url.path`, by the templates of the site whose page it is.
            referer: Text = 221 "referer.full";
        }
        "1.1.2 browser or other program", "diagnosis" => {
            /// `User-Agent`.
            user_agent: Text = 222 "user_agent.original";
            /// `Sec-CH-UA-Full-Version-List`.
            ua_full_versions: Text = 223 "sec_ch_ua.full_version_list";
        }
        "1.1.2 technical characteristics of equipment and software", "diagnosis" => {
            /// `Sec-CH-UA-Arch`.
            ua_arch: Text = 224 "sec_ch_ua.arch";
            /// `Sec-CH-UA-Bitness`.
            ua_bitness: Text = 225 "sec_ch_ua.bitness";
            /// `Sec-CH-UA-Model`.
            ua_model: Text = 226 "sec_ch_ua.model";
            /// `Sec-CH-UA-Platform-Version`.
            ua_platform_version: Text = 227 "sec_ch_ua.platform_version";
            /// `Device-Memory`, as sent.
            device_memory: Text = 228 "device.memory";
            /// `DPR`, as sent.
            device_pixel_ratio: Text = 229 "device.pixel_ratio";
            /// `Viewport-Width`, as sent.
            viewport_width: Text = 230 "device.viewport_width";
            /// `ECT`, `RTT` and `Downlink`, as sent.
            network_hints: List = 231 "network.hints";
            /// Round trip to the client in microseconds, as the kernel measured it when the connection was made; absent
            /// behind a proxy, and on a Unix socket.
            tcp_rtt: U64 = 100 "tcp.rtt";
        }
    }
    ads {
        "2.2.8 advertising only with consent", "advertising" => {
            /// `utm_source`.
            source: Text = 240 "campaign.source";
            /// `utm_medium`.
            medium: Text = 241 "campaign.medium";
            /// `utm_campaign`.
            name: Text = 242 "campaign.name";
            /// `utm_term`.
            term: Text = 243 "campaign.term";
            /// `utm_content`.
            content: Text = 244 "campaign.content";
        }
    }
}

/// Identifiers of a person besides the address, on their way to the journal's writer. They become keyed hashes there
/// and are in no section that is written.
#[derive(Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The id in the visitor cookie.
    pub visitor: Option<[u8; 16]>,
    /// What the site's answer named as the account; a longer one than [`ACCOUNT_BYTES`] is left out and
    /// `record.truncated` says so: cut, it could be that of two people.
    pub account: Option<&'a [u8]>,
}

impl Subject<'_> {
    fn put(&self, writer: &mut Writer<'_>) {
        self.visitor.as_ref().map(|id| &id[..]).put(SUBJECT_VISITOR, writer);
        let account = self.account.filter(|account| !account.is_empty());
        writer.truncated |= account.is_some_and(|account| account.len() > ACCOUNT_BYTES);
        account.filter(|account| account.len() <= ACCOUNT_BYTES).put(SUBJECT_ACCOUNT, writer);
    }
}

/// Longest account, in bytes.
pub const ACCOUNT_BYTES: usize = 256;
/// The section of a record that is not written; behind the codes of all classes.
const PASSING: u8 = Class::ALL.len() as u8;
/// The visitor's id in that section.
pub(crate) const SUBJECT_VISITOR: u8 = 128;
/// The account in that section.
pub(crate) const SUBJECT_ACCOUNT: u8 = 129;
/// A field at the beginning of the class `clear` of a journal record, without a column: a tombstone that hides the
/// record. There is one for each.
pub(crate) const MARK: u8 = 127;

/// Every column, in the order of the reference.
pub static COLUMNS: &[Column] = TABLE;

/// How many columns there are.
pub const COLUMN_COUNT: usize = TABLE.len();

/// The largest encoded record in bytes, whatever the visitor sends.
pub const RECORD_BYTES: usize = largest_record();

/// Bytes before the first section: the record's length and the time of arrival.
const HEAD_BYTES: usize = 4 + 8;
/// Bytes before a section: its class and its length.
const SECTION_HEAD_BYTES: usize = 1 + 4;

impl Event<'_> {
    /// Appends the record for the hand-off to the journal: length of the rest (u32), time of arrival (i64 µs), then
    /// for every class present its code (u8), length (u32) and fields; all little-endian. The class `clear` begins
    /// with the kind's code. At most [`RECORD_BYTES`]; longer texts are cut and `record.truncated` says so.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.start_ts.unwrap_or_default().as_micros().to_le_bytes());
        let mut writer = Writer { out, truncated: false };
        section(&mut writer, Class::Sec, |w| self.put_sec(w));
        section(&mut writer, Class::Diag, |w| self.put_diag(w));
        if let Some(fraud) = &self.fraud {
            section(&mut writer, Class::Fraud, |w| fraud.put(w));
        }
        if let Some(ads) = &self.ads {
            section(&mut writer, Class::Ads, |w| ads.put(w));
        }
        passing(&mut writer, |w| self.subject.put(w));
        // Last, because it tells whether anything was cut.
        section(&mut writer, Class::Clear, |w| {
            w.out.push(self.kind as u8);
            self.put_clear(w);
            if w.truncated && self.truncated.is_none() {
                Some(true).put(TRUNCATED, w);
            }
        });
        put_len(out, start, start + 4);
    }
}

/// Writes a section; one without fields leaves no byte.
fn section(writer: &mut Writer<'_>, class: Class, put: impl FnOnce(&mut Writer<'_>)) {
    coded(writer, class as u8, put);
}

/// Writes the section that goes no further than the journal's writer.
fn passing(writer: &mut Writer<'_>, put: impl FnOnce(&mut Writer<'_>)) {
    coded(writer, PASSING, put);
}

fn coded(writer: &mut Writer<'_>, code: u8, put: impl FnOnce(&mut Writer<'_>)) {
    let head = writer.out.len();
    writer.out.extend_from_slice(&[code, 0, 0, 0, 0]);
    let body = writer.out.len();
    put(writer);
    if writer.out.len() == body {
        writer.out.truncate(head);
    } else {
        put_len(writer.out, head + 1, body);
    }
}

/// Puts the length of what begins at `from` into the four bytes at `at`.
fn put_len(out: &mut [u8], at: usize, from: usize) {
    // RECORD_BYTES is far below 4 GiB.
    let len = (out.len() - from) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// One encoded record as the journal writer sees it.
#[derive(Clone, Copy)]
pub struct Encoded<'a> {
    /// When the request arrived.
    pub start_ts: Timestamp,
    /// What sort of record it is.
    pub kind: Kind,
    /// The fields of each class, by its code; empty when absent.
    pub sections: [&'a [u8]; Class::ALL.len()],
    /// [`Subject`]: not to be written.
    pub(crate) passing: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// The first record of these bytes and what follows it; `None` when it is not whole.
    #[must_use]
    pub fn take(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (len, rest) = take_len(bytes)?;
        let (record, rest) = rest.split_at_checked(len)?;
        let (start, mut left) = record.split_first_chunk::<8>()?;
        let (mut sections, mut passing) = ([&[][..]; Class::ALL.len()], &[][..]);
        while let Some((&class, behind)) = left.split_first() {
            let (len, behind) = take_len(behind)?;
            let (section, behind) = behind.split_at_checked(len)?;
            match class {
                PASSING => passing = section,
                class => *sections.get_mut(usize::from(class))? = section,
            }
            left = behind;
        }
        let kind = Kind::from_code(*sections[Class::Clear as usize].first()?);
        let start_ts = Timestamp::from_micros(i64::from_le_bytes(*start));
        Some((Self { start_ts, kind, sections, passing }, rest))
    }
}

fn take_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*len)).ok()?, rest))
}

/// The id of `record.truncated`.
const TRUNCATED: u8 = 16;

/// A name with underscores for dots.
const fn underscored<const N: usize>(name: &str) -> [u8; N] {
    let bytes = name.as_bytes();
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = if bytes[i] == b'.' { b'_' } else { bytes[i] };
        i += 1;
    }
    out
}

/// Every column at its longest.
const fn largest_record() -> usize {
    let mut bytes = HEAD_BYTES + (Class::ALL.len() + 1) * SECTION_HEAD_BYTES + 1;
    bytes += (2 + 16) + (3 + ACCOUNT_BYTES);
    let mut i = 0;
    while i < TABLE.len() {
        bytes += match TABLE[i].ty {
            Type::U64 | Type::Time => 1 + 10,
            Type::Bool => 1 + 1,
            Type::Address => 1 + 1 + 16,
            Type::Text | Type::List => 1 + 2 + wire::TEXT_BYTES,
        };
        i += 1;
    }
    bytes
}

/// A mistake in the table does not compile: an id used twice, or on the wrong side of [`wire::BYTES`].
const _: () = {
    let mut seen = [false; 256];
    let mut i = 0;
    while i < TABLE.len() {
        let id = TABLE[i].id;
        assert!(!seen[id as usize], "an id is used twice");
        seen[id as usize] = true;
        assert!(id != MARK, "the id of marks is no column's");
        let bytes = matches!(TABLE[i].ty, Type::Text | Type::Address | Type::List);
        assert!(bytes == (id >= wire::BYTES), "ids from 128 are for bytes, the others for numbers");
        i += 1;
    }
    assert!(SCHEMA_VERSION > 0, "zero means unknown");
};

#[cfg(test)]
mod tests;
