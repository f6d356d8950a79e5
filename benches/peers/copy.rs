//! The floor: a proxy that copies bytes between two sockets and understands nothing.
//!
//! Nothing between a client and a site can cost less on this machine. With TLS it ends that and copies what was inside.
//! Bound: two buffers per connection.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::child::{Child, PEER_CORE};
use crate::mode::Mode;
use crate::peer::{Evidence, Job, Peer, Setting, Started};
use crate::{Fallible, origin, tls};

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;

/// Starts it.
pub(crate) fn start(setting: &Setting<'_>) -> Fallible<Started> {
    if setting.mode == Mode::Http2 {
        return Ok(Started::Absent("the site's server speaks HTTP/1.1 only".to_owned()));
    }
    let mut role = format!("copy {}", setting.origin);
    if let Some(certificate) = setting.certificate {
        role = format!("{role} {}", certificate.both.display());
    }
    let (child, address) = Child::role(PEER_CORE, &role)?;
    Ok(Started::Running(Box::new(Peer {
        name: "copy",
        version: "raw TCP byte copy".to_owned(),
        job: Job::Copy,
        address,
        visitor_cookie: None,
        sites: 1,
        connections: None,
        evidence: Evidence::None,
        child,
    })))
}

/// Tells its address on standard output and copies until the process ends. `both`: certificate and key, if any.
pub(crate) fn run(upstream: SocketAddr, both: Option<&Path>) -> Fallible<()> {
    let acceptor = both.map(tls::server).transpose()?.map(TlsAcceptor::from);
    origin::forever(async move |mut client| {
        let mut site = TcpStream::connect(upstream).await?;
        site.set_nodelay(true)?;
        let Some(acceptor) = &acceptor else {
            return copy_bidirectional_with_sizes(&mut client, &mut site, BUFFER, BUFFER).await.map(drop);
        };
        let mut inside = acceptor.accept(client).await?;
        copy_bidirectional_with_sizes(&mut inside, &mut site, BUFFER, BUFFER).await.map(drop)
    })
}
