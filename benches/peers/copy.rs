//! The floor: a proxy that copies bytes between two sockets and understands nothing.
//!
//! Nothing between a client and a site can cost less on this machine. Bound: two buffers per connection.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

use crate::{Fallible, origin};

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;

/// Tells its address on standard output and copies until the process ends.
pub(crate) fn run(upstream: SocketAddr) -> Fallible<()> {
    origin::forever(async move |mut client| {
        let mut site = TcpStream::connect(upstream).await?;
        site.set_nodelay(true)?;
        copy_bidirectional_with_sizes(&mut client, &mut site, BUFFER, BUFFER).await.map(drop)
    })
}
