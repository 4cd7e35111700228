//! Who has an address that we cannot have, as far as `/proc` tells.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// The state `TCP_LISTEN` in `/proc/net/tcp` (proc_pid_net(5)).
const LISTEN: &str = "0A";

/// A process that has a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Occupant {
    pub(super) name: String,
    pub(super) pid: u32,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

impl Occupant {
    fn with_pid(pid: u32) -> Self {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = if name.trim().is_empty() { "a process" } else { name.trim() };
        Self { name: name.to_owned(), pid }
    }
}

/// Who listens on a TCP address, or on all addresses with its port.
pub(super) fn of(address: SocketAddr) -> Option<Occupant> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| listening_inode(line, address))
    })?;
    owner_of(&format!("socket:[{inode}]"))
}

/// Who listens at the other end of a connected unix socket (`SO_PEERCRED`, unix(7)).
pub(super) fn of_peer(socket: &impl AsFd) -> Option<Occupant> {
    let credentials = getsockopt(socket, PeerCredentials).ok()?;
    u32::try_from(credentials.pid()).ok().filter(|&pid| pid != 0).map(Occupant::with_pid)
}

/// The inode in a line of `/proc/net/tcp` or `tcp6` that stands in the way of `wanted`.
fn listening_inode(line: &str, wanted: SocketAddr) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (address, port) = local.split_once(':')?;
    let address = parse_address(address)?;
    let collides = address == wanted.ip() || address.is_unspecified() || wanted.ip().is_unspecified();
    if *state == LISTEN && u16::from_str_radix(port, 16).ok()? == wanted.port() && collides {
        inode.parse().ok()
    } else {
        None
    }
}

/// Addresses are written as 32-bit words in the byte order of the machine.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for word in 0..hex.len() / 8 {
        let word = u32::from_str_radix(hex.get(word * 8..word * 8 + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Some(Ipv4Addr::from(bytes).into()),
        Err(_) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into()),
    }
}

/// The first process with a descriptor that is this link.
fn owner_of(link: &str) -> Option<Occupant> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let has_it = |pid: &u32| {
        fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|mut descriptors| {
            descriptors.any(|entry| {
                entry.and_then(|entry| fs::read_link(entry.path())).is_ok_and(|it| it.as_os_str() == link)
            })
        })
    };
    pids.into_iter().find(has_it).map(Occupant::with_pid)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_behind_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let occupant = of(listener.local_addr().unwrap()).unwrap();
        assert_eq!(occupant.pid, std::process::id());
        assert!(!occupant.name.is_empty());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn only_listening_sockets_on_a_colliding_address_count() {
        let line = |address: &str, state: &str| {
            format!("  0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0 0 4711 1")
        };
        let wanted: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        assert_eq!(listening_inode(&line("0100007F:1F40", "0A"), wanted), Some(4711));
        assert_eq!(listening_inode(&line("00000000:1F40", "0A"), wanted), Some(4711));
        assert_eq!(listening_inode(&line("0100007F:1F40", "01"), wanted), None);
        assert_eq!(listening_inode(&line("0200007F:1F40", "0A"), wanted), None);
        assert_eq!(listening_inode(&line("0100007F:1F41", "0A"), wanted), None);
        let v6 = line("00000000000000000000000001000000:1F40", "0A");
        assert_eq!(listening_inode(&v6, "[::1]:8000".parse().unwrap()), Some(4711));
    }
}
