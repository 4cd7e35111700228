//! The socket file: made so that a client never finds it half open, never over a living server's, removed only while it is
//! ours.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use socket2::{Domain, SockAddr, Socket, Type};

/// `rwsgi ctl` connects once a call.
const BACKLOG: i32 = 16;

/// A socket file that we made.
#[derive(Debug, Clone)]
pub(in crate::master) struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnFile {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it unless another file is in its place.
    pub(in crate::master) fn remove(&self) {
        let is_it = |it: fs::Metadata| it.dev() == self.device && it.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_it) {
            if let Err(error) = fs::remove_file(&self.path) {
                // Without the privilege it had at the start; the next start takes its place.
                log::info!("{} stays behind: {error}", self.path.display());
            }
        }
    }
}

/// Listens at `path`, for the user `owner` (else the one that this process runs as) and root.
pub(super) fn open(path: &Path, owner: Option<u32>) -> Result<(UnixListener, OwnFile), String> {
    make_sure_nobody_listens(path)?;
    // Bound and listening under another name first: a client finds a socket that answers, or none.
    let temporary = path.with_file_name(format!(".{}.sock", std::process::id()));
    listen(path, &temporary, owner).map_err(|error| {
        fs::remove_file(&temporary).ok();
        match error.kind() == io::ErrorKind::InvalidInput {
            true => "the path is too long for a unix socket (107 bytes): set control.socket".to_owned(),
            false => format!("{error}: set control.socket to a path in a directory of your own"),
        }
    })
}

fn listen(path: &Path, temporary: &Path, owner: Option<u32>) -> io::Result<(UnixListener, OwnFile)> {
    // A client could not connect to a path that is too long.
    SockAddr::unix(path)?;
    let address = SockAddr::unix(temporary)?;
    match fs::remove_file(temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    // Until it listens every connect is refused.
    fs::set_permissions(temporary, fs::Permissions::from_mode(0o600))?;
    if owner.is_some() && nix::unistd::geteuid().is_root() {
        chown(temporary, owner, None)?;
    }
    socket.listen(BACKLOG)?;
    fs::rename(temporary, path)?;
    Ok((OwnedFd::from(socket).into(), OwnFile::at(path)?))
}

/// Takes over a socket that another master has made.
pub(super) fn adopt(fd: OwnedFd, path: &Path) -> io::Result<(UnixListener, OwnFile)> {
    let socket = Socket::from(fd);
    let is_unix = socket.local_addr()?.is_unix();
    if !is_unix || !socket.is_listener()? {
        return Err(io::Error::other("what was passed is no listening unix socket"));
    }
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)?;
    // Clients see the process id of the one that called `listen` last.
    socket.listen(BACKLOG)?;
    Ok((OwnedFd::from(socket).into(), OwnFile::at(path)?))
}

fn make_sure_nobody_listens(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(
                "the file is there already and is no socket: remove it, or set control.socket".to_owned()
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{error}: set control.socket")),
    }
    let probe = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A full backlog must not block us; it shows that somebody listens.
        socket.set_nonblocking(true)?;
        let connected = socket.connect(&SockAddr::unix(path)?);
        io::Result::Ok((socket, connected))
    };
    let (socket, connected) = probe().map_err(|error| error.to_string())?;
    match connected {
        Err(error) if [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound].contains(&error.kind()) => {
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err("it belongs to a server of another user: set control.socket".to_owned())
        }
        Ok(()) | Err(_) => {
            let pid = getsockopt(&socket, PeerCredentials).ok().map(|peer| peer.pid()).filter(|pid| *pid > 0);
            let server = pid.map_or("another server".to_owned(), |pid| format!("the server with pid {pid}"));
            Err(format!("it is in use by {server}: stop that one, or set control.socket to tell them apart"))
        }
    }
}
