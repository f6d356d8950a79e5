//! The file of a Unix listening socket: made with its permissions, and taken away at the end.
//!
//! A file whose process has ended is replaced; one that somebody listens on is not, nor is anything that is no socket.
//! Nobody can connect before the permissions are those of the configuration. Never accepts. Bound: one file.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::socket::BACKLOG;

/// The file of a socket that is ours to take away.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have put its own file there in the meantime.
    is: (u64, u64),
}

impl SocketFile {
    /// The file that is at a path now.
    ///
    /// # Errors
    /// There is none.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), is: identity(path)? })
    }

    /// Whether it is the file at this path.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Takes the file away, unless another stands there.
    pub fn remove(&self) {
        let removed = match identity(&self.path) {
            Ok(now) if now == self.is => fs::remove_file(&self.path),
            _ => Ok(()),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "the file of a listening socket stays behind");
        }
    }
}

/// Listens at `path`, with the permissions `mode`.
///
/// # Errors
/// Those of the operating system; `AddrInUse` if something is there that may not be replaced.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Connections are refused until the socket listens.
    let listening =
        fs::set_permissions(path, Permissions::from_mode(mode)).and_then(|()| socket.listen(BACKLOG));
    match listening {
        Ok(()) => Ok(socket.into()),
        Err(error) => {
            fs::remove_file(path)?;
            Err(error)
        }
    }
}

/// Takes away what a process that has ended left.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(there) if !there.file_type().is_socket() => Err(ErrorKind::AddrInUse.into()),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
            _ => Err(ErrorKind::AddrInUse.into()),
        },
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let there = fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_that_was_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.sock");
        drop(bind(&path, 0o600).unwrap());
        assert_eq!(mode(&path), 0o600);
        let _listening = bind(&path, 0o666).unwrap();
        assert_eq!(mode(&path), 0o666);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn what_is_in_use_or_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.sock");
        let _listening = bind(&path, 0o600).unwrap();
        assert_eq!(bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert_eq!(bind(&file, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(bind(&link, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn only_the_own_file_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.sock");
        let first = bind(&path, 0o600).unwrap();
        let file = SocketFile::at(&path).unwrap();
        // The inode of the first stays in use, so that the second is another.
        let kept = folder.path().join("kept");
        fs::hard_link(&path, &kept).unwrap();
        drop(first);
        let _second = bind(&path, 0o600).unwrap();
        file.remove();
        assert!(path.exists());
        SocketFile::at(&path).unwrap().remove();
        assert!(!path.exists());
        SocketFile { path, is: (0, 0) }.remove();
    }
}
