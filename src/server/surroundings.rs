//! What of this machine would keep a gateway from starting, for `kelisim check`.
//!
//! Told as warnings and never as mistakes: a configuration may be checked on another machine, by another user, or before
//! systemd has made its folders, and while a gateway runs its ports are taken. Never writes and never listens. Bound: the
//! configuration.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit};

use crate::config::{Config, ListenAddress};

/// One sentence for each thing that a start by this user on this machine would stumble over.
#[must_use]
pub fn obstacles(config: &Config) -> Vec<String> {
    let mut told = Vec::new();
    told.extend(folder("records.dir", &config.records.dir));
    if let Some(keys) = &config.records.keys_dir {
        told.extend(folder("records.keys_dir", keys));
    }
    for (i, listener) in config.listeners.iter().enumerate() {
        let key = format!("listen[{i}].address");
        told.extend(match &listener.address {
            ListenAddress::Tcp(address) => foreign(&key, *address),
            ListenAddress::Unix(path) => socket_file(&key, path),
        });
    }
    told.extend(config.admin.address.and_then(|address| foreign("admin.address", address)));
    told.extend(descriptors(config.limits.connections));
    told
}

/// A folder that is there must be usable; one that is not must be possible to make.
fn folder(key: &str, path: &Path) -> Option<String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(there) if !there.is_dir() => Some(format!("{key}: {shown} is not a folder")),
        Ok(_) => access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
            .err()
            .map(|_| format!("{key}: this user cannot write to {shown}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above =
                path.ancestors().skip(1).find(|above| above.as_os_str().is_empty() || above.exists())?;
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            let can = above.is_dir() && access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok();
            (!can).then(|| {
                format!("{key}: {shown} is not there, and this user cannot make it (StateDirectory of systemd can)")
            })
        }
        Err(error) => Some(format!("{key}: {shown}: {error}")),
    }
}

/// An address that this machine does not have. A datagram socket asks that without taking the port.
fn foreign(key: &str, address: SocketAddr) -> Option<String> {
    let error = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).err()?;
    (error.kind() == io::ErrorKind::AddrNotAvailable)
        .then(|| format!("{key}: this machine has no address {}", address.ip()))
}

fn socket_file(key: &str, path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Some(format!("{key}: there is no folder {}", folder.display()));
    }
    let there = fs::symlink_metadata(path).ok()?;
    (!there.file_type().is_socket()).then(|| format!("{key}: {} is there and is no socket", path.display()))
}

fn descriptors(connections: usize) -> Option<String> {
    let allowed = getrlimit(Resource::Nofile).maximum?;
    (allowed < connections as u64).then(|| {
        format!(
            "limits.connections: {connections}, but a process of this shell may open {allowed} files (ulimit -Hn; \
             LimitNOFILE of systemd)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_would_stumble_over_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(folder("k", dir.path()), None);
        assert_eq!(folder("k", &dir.path().join("a/b")), None);
        assert!(folder("k", &file).unwrap().contains("is not a folder"));
        assert!(folder("k", &file.join("a")).is_some());
        assert_eq!(socket_file("k", &dir.path().join("s.sock")), None);
        assert!(socket_file("k", &file).unwrap().contains("is no socket"));
        assert!(socket_file("k", &dir.path().join("no/s.sock")).unwrap().contains("no folder"));
        assert_eq!(foreign("k", "127.0.0.1:80".parse().unwrap()), None);
        assert_eq!(foreign("k", "[::]:80".parse().unwrap()), None);
        assert!(foreign("k", "192.0.2.1:80".parse().unwrap()).unwrap().contains("192.0.2.1"));
        assert_eq!(descriptors(1), None);
        assert!(descriptors(usize::MAX).is_none_or(|told| told.contains("LimitNOFILE")));
    }
}
