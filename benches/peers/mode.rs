//! How requests travel between the load generator and a peer.
//!
//! The way to the site's server is the same in every mode: cleartext HTTP/1.1 over connections that are kept, if the
//! peer keeps any. Bound: five modes.

/// One of the ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// HTTP/1.1 over connections that are kept.
    KeepAlive,
    /// HTTP/1.1, one request per connection.
    NewConnections,
    /// HTTP/1.1 over TLS connections that are kept.
    Tls,
    /// HTTP/1.1, one request per TLS connection.
    NewTls,
    /// HTTP/2 over TLS connections that are kept.
    Http2,
}

impl Mode {
    /// Words for a title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::KeepAlive => "HTTP/1.1, kept connections",
            Self::NewConnections => "HTTP/1.1, a new connection for each request",
            Self::Tls => "HTTP/1.1 over TLS, kept connections",
            Self::NewTls => "HTTP/1.1 over TLS, a new connection for each request",
            Self::Http2 => "HTTP/2 over TLS, kept connections",
        }
    }

    /// Whether the peer ends TLS.
    pub(crate) fn tls(self) -> bool {
        matches!(self, Self::Tls | Self::NewTls | Self::Http2)
    }

    /// Whether each request asks for the end of its connection.
    pub(crate) fn closes(self) -> bool {
        matches!(self, Self::NewConnections | Self::NewTls)
    }

    /// As URLs and `X-Forwarded-Proto` begin.
    pub(crate) fn scheme(self) -> &'static str {
        if self.tls() { "https" } else { "http" }
    }
}
