//! The values that labels may take, as enums.
//!
//! A label value is a variant, or a name from the configuration: no string from the wire can become one. Never decides
//! anything. Bound: the variants below.

use http::Method;

use crate::cookies::{Category, Mode};
use crate::error::Reason;

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value, so that `ALL[x.index()]` is `x`.
    const ALL: &'static [Self];

    /// The value as it stands on the page.
    fn label(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u8)]
            pub enum $name { $($(#[$vdoc])* $variant,)* }

            impl Label for $name {
                const ALL: &'static [Self] = &[$(Self::$variant,)*];

                fn label(self) -> &'static str {
                    match self { $(Self::$variant => $label,)* }
                }

                fn index(self) -> usize {
                    self as usize
                }
            }
        )*
    };
}

labels! {
    /// A request's method: a known one, or `_OTHER`.
    MethodLabel {
        /// `GET`.
        Get = "GET",
        /// `HEAD`.
        Head = "HEAD",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
        /// `PATCH`.
        Patch = "PATCH",
        /// `DELETE`.
        Delete = "DELETE",
        /// `OPTIONS`.
        Options = "OPTIONS",
        /// `TRACE`, which is refused.
        Trace = "TRACE",
        /// `CONNECT`, which is refused.
        Connect = "CONNECT",
        /// Every other token.
        Other = "_OTHER",
    }

    /// The first digit of a status.
    StatusClass {
        /// 100–199: switched protocols.
        Informational = "1xx",
        /// 200–299.
        Success = "2xx",
        /// 300–399.
        Redirection = "3xx",
        /// 400–499; also 499, the client that left.
        ClientError = "4xx",
        /// 500–599.
        ServerError = "5xx",
        /// A number that no class of HTTP has.
        Other = "_other",
    }

    /// What a downstream connection is doing.
    ConnectionState {
        /// Between accept and the first request: TLS and the choice of protocol.
        Handshake = "handshake",
        /// Speaking HTTP, busy or idle.
        Open = "open",
        /// A tunnel after an upgrade.
        Tunnel = "tunnel",
        /// Reading and discarding after an early answer.
        Lingering = "lingering",
    }

    /// Why a downstream connection was closed by us.
    ConnReason {
        /// `limits.connections` was reached.
        Limit = "limit",
        /// `limits.connections_per_client` was reached.
        ClientLimit = "client_limit",
        /// `timeouts.tls_handshake` passed.
        TlsTimeout = "tls_timeout",
        /// The TLS handshake failed.
        TlsError = "tls_error",
        /// `timeouts.request_head` passed.
        HeadTimeout = "head_timeout",
        /// `timeouts.response_write` passed.
        WriteTimeout = "write_timeout",
        /// `timeouts.keep_alive` passed without a request.
        Idle = "idle",
        /// `timeouts.upgrade_idle` passed in a tunnel.
        TunnelIdle = "tunnel_idle",
        /// `limits.requests_per_connection` was reached.
        RequestLimit = "request_limit",
        /// A missing or malformed PROXY header.
        ProxyProtocol = "proxy_protocol",
        /// Frames that break HTTP/2, or too many resets.
        H2Protocol = "h2_protocol",
        /// The system did not hand over the connection.
        AcceptError = "accept_error",
        /// The head is larger than `limits.head_bytes`, seen by the parser.
        HeadTooLarge = "head_too_large",
        /// The head is not HTTP, seen by the parser.
        Malformed = "malformed",
        /// `limits.linger_connections` was reached.
        LingerLimit = "linger_limit",
    }

    /// Why a field of a request was not passed on.
    DropReason {
        /// Its name has an underscore.
        Underscore = "underscore",
        /// Listed in `Connection` by the client, although it is one that matters.
        ConnectionListed = "connection_listed",
        /// A `kelisim-*` field, which only we may write.
        Forged = "forged",
        /// A field that claims a client address and that nobody trusted wrote.
        ClientAddress = "client_address",
        /// An element of the forwarding chain that does not parse; the walk ended there.
        MalformedChain = "malformed_chain",
        /// `Proxy`, which CGI-style sites take for a setting.
        Proxy = "proxy",
        /// `Upgrade` to something that is not served.
        Upgrade = "upgrade",
        /// A browser's advertising interface, without a permit.
        Advertising = "advertising",
        /// A client hint that nobody may ask for.
        ClientHint = "client_hint",
        /// A trailer with a name that may not be one, or that could not be passed on.
        Trailer = "trailer",
    }

    /// What was let through in a request head although strictness would have refused it.
    Tolerated {
        /// `Content-Length` beside `Transfer-Encoding`; the latter counted.
        TwoFramings = "two_framings",
        /// Two equal `Content-Length` fields, made one.
        RepeatedLength = "repeated_length",
        /// A line end without CR.
        BareLf = "bare_lf",
    }

    /// How an exchange with an endpoint ended.
    UpstreamResult {
        /// A whole head of an answer came.
        Ok = "ok",
        /// None came, or not one that can be read.
        Error = "error",
    }

    /// Why connecting to an endpoint failed.
    ConnectError {
        /// Refused or unreachable.
        Refused = "refused",
        /// `timeouts.upstream_connect` passed.
        Timeout = "timeout",
        /// The name does not resolve, or not in time.
        Dns = "dns",
        /// The handshake failed, or the certificate is not trusted.
        Tls = "tls",
        /// The system would not: no descriptor, no port.
        System = "system",
    }

    /// Why a request was sent a second time.
    RetryReason {
        /// Connecting failed; nothing had been written.
        Connect = "connect",
        /// A pooled connection turned out to be closed.
        Stale = "stale",
    }

    /// Why a pooled connection was closed although nothing went wrong on it.
    PoolClosed {
        /// `timeouts.upstream_idle`.
        Idle = "idle",
        /// `timeouts.upstream_max_age`.
        MaxAge = "max_age",
        /// The endpoint closed it or wanted its end.
        Endpoint = "endpoint",
        /// It made room for another at the cap.
        Room = "room",
        /// The answer had no body, and the endpoint is known to send one all the same.
        Stray = "stray",
    }

    /// How a health check ended.
    ProbeResult {
        /// With a good answer.
        Ok = "ok",
        /// With another answer, or none.
        Failed = "failed",
    }

    /// What a pooled connection is doing.
    PoolState {
        /// Waiting for a request.
        Idle = "idle",
        /// In an exchange.
        Busy = "busy",
    }

    /// What was done with a cookie.
    CookieAction {
        /// Passed on.
        Kept = "kept",
        /// Taken out; in mode `dry-run`: would have been.
        Stripped = "stripped",
        /// The browser was told to forget it.
        Expired = "expired",
    }

    /// Which way a cookie was going.
    Direction {
        /// In `Cookie`, to the site.
        Request = "request",
        /// In `Set-Cookie`, to the browser.
        Response = "response",
    }

    /// What was decided about advertising.
    ConsentResult {
        /// Yes.
        Granted = "granted",
        /// No.
        Denied = "denied",
    }

    /// What the decision rests on.
    ConsentOrigin {
        /// Our own signed record.
        Own = "own",
        /// `Sec-GPC: 1`.
        Gpc = "gpc",
        /// `DNT: 1`.
        Dnt = "dnt",
        /// Nothing: the default is no.
        None = "none",
        /// A TC string.
        Tcf = "tcf",
        /// A GPP string.
        Gpp = "gpp",
        /// `us_privacy`.
        UsPrivacy = "us_privacy",
        /// Google Consent Mode.
        ConsentMode = "consent_mode",
        /// One of the operator's own entries.
        Cookie = "cookie",
        /// The banner of that name.
        OneTrust = "onetrust",
        /// The banner of that name.
        Cookiebot = "cookiebot",
        /// The banner of that name.
        CookieYes = "cookieyes",
        /// The banner of that name.
        CookieYesLegacy = "cookieyes-legacy",
        /// The banner of that name.
        Complianz = "complianz",
        /// The banner of that name.
        CookieConsent = "cookieconsent",
        /// The banner of that name.
        Klaro = "klaro",
        /// The banner of that name.
        Tarteaucitron = "tarteaucitron",
        /// The banner of that name.
        Axeptio = "axeptio",
        /// The banner of that name.
        CookieScript = "cookie-script",
        /// The banner of that name.
        CookieFirst = "cookiefirst",
        /// The banner of that name.
        Borlabs = "borlabs",
        /// The banner of that name.
        Iubenda = "iubenda",
        /// The banner of that name.
        TrustArc = "trustarc",
        /// The banner of that name.
        Tealium = "tealium",
        /// The banner of that name.
        ConsentManager = "consentmanager",
        /// The banner of that name.
        Didomi = "didomi",
        /// The banner of that name.
        CommandersAct = "commanders-act",
        /// The banner of that name.
        Zaraz = "zaraz",
        /// The banner of that name.
        Shopify = "shopify",
        /// The banner of that name.
        DrupalEu = "drupal-eu",
    }

    /// What a visitor chose on our page or through our endpoint.
    ConsentChoice {
        /// Something was granted.
        Granted = "given",
        /// Everything was refused.
        Refused = "refused",
        /// An earlier grant was taken back.
        Withdrawn = "withdrawn",
        /// The policy was accepted or declined, nothing else.
        Policy = "policy",
    }

    /// A location database.
    GeoDatabase {
        /// Country.
        Country = "country",
        /// Network operator.
        Asn = "asn",
    }

    /// Why a location was looked up. There is one purpose, and the figure shows it.
    GeoPurpose {
        /// Fraud prevention and security.
        Security = "security",
    }

    /// What a look-up found.
    GeoResult {
        /// A record.
        Hit = "hit",
        /// None.
        Miss = "miss",
        /// A database that cannot be read.
        Error = "error",
    }

    /// A signal of fraud.
    RiskSignal {
        /// Another country within the hour.
        CountryHop = "country-hop",
        /// One session from many networks.
        SessionSpread = "session-spread",
        /// Too many logins.
        Velocity = "velocity",
        /// First time from this country.
        NewCountry = "new-country",
        /// First time from this network.
        NewNetwork = "new-network",
    }

    /// How bad it looks.
    RiskLevel {
        /// Below every threshold.
        None = "none",
        /// Score 20 and up.
        Low = "low",
        /// Score 40 and up.
        Medium = "medium",
        /// Score 70 and up.
        High = "high",
    }

    /// What the risk policy does.
    RiskAction {
        /// Nothing but writing it down.
        Observe = "observe",
        /// Tell the site.
        Tag = "tag",
        /// 429.
        Throttle = "throttle",
        /// 403.
        Deny = "deny",
    }

    /// Whether a risk action was carried out, or only counted during the days of observation.
    Applied {
        /// Only counted.
        No = "false",
        /// Carried out.
        Yes = "true",
    }

    /// A part of the risk memory with its own budget.
    RiskPart {
        /// What is known of visitors that came back.
        Subjects = "subjects",
        /// Counters per address.
        Counters = "counters",
        /// Different pages per address.
        Pages = "pages",
        /// Logins by user agent behind addresses that many share.
        Crowds = "crowds",
    }
}

impl MethodLabel {
    /// The label of a method.
    #[must_use]
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            Method::TRACE => Self::Trace,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }
}

impl StatusClass {
    /// The class of a status.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::Other,
        }
    }
}

impl Label for Reason {
    const ALL: &'static [Self] = Self::ALL;

    fn label(self) -> &'static str {
        Self::label(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Category {
    const ALL: &'static [Self] = &Self::ALL;

    fn label(self) -> &'static str {
        Self::label(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Mode {
    const ALL: &'static [Self] = &[Self::Enforce, Self::DryRun];

    fn label(self) -> &'static str {
        Self::label(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
