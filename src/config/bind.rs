//! Addresses to listen on, as they are written in `server.bind`. Pure: no name is resolved, no path is looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::net::Bind;

/// The longest path of a unix socket: `sun_path` without its final NUL (unix(7)).
const UNIX_PATH_MAX: usize = 107;

/// Reads one address; relative paths of unix sockets are taken from `base`.
///
/// # Errors
/// One clause: what is wrong and what to write.
pub(crate) fn parse(text: &str, base: &Path) -> Result<Bind, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path, base);
    }
    if let Some(number) = text.strip_prefix("fd:") {
        return descriptor(number);
    }
    if text.contains("://") {
        return Err(
            "is a URL: write the address alone, as \"127.0.0.1:8000\" or \"unix:/run/app.sock\"".to_owned()
        );
    }
    if text.starts_with(['/', '.']) {
        return Err(format!("looks like a path: write \"unix:{text}\" for a unix socket"));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(port_alone(text));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(format!("is an IPv6 address without brackets and port: write \"[{address}]:8000\""));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text {
            "" => "is empty: write an address, as \"127.0.0.1:8000\"".to_owned(),
            _ => format!("has no port: write \"{text}:8000\""),
        });
    };
    if text.starts_with('[') && text.ends_with(']') {
        return Err(format!("has no port: write \"{text}:8000\""));
    }
    if host.starts_with('[') && !host.ends_with(']') {
        return Err("has a bracket that is not closed: write \"[::1]:8000\"".to_owned());
    }
    let number = port_number(port)?;
    tcp(host, number)
}

/// What is said of a port without an address.
pub(super) fn port_alone(port: impl std::fmt::Display) -> String {
    format!(
        "is a port without an address: write \"127.0.0.1:{port}\", or \":{port}\" to listen on every address"
    )
}

fn port_number(port: &str) -> Result<u16, String> {
    if port.is_empty() {
        return Err("has no port after the colon: write one, as \"127.0.0.1:8000\"".to_owned());
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("has no port: \"{port}\" is not a number"));
    }
    port.parse().map_err(|_| format!("has a port of {port}: it must be at most 65535"))
}

fn tcp(host: &str, port: u16) -> Result<Bind, String> {
    if host.is_empty() {
        return Ok(Bind::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)));
    }
    if host.starts_with('[') {
        let address =
            format!("{host}:{port}").parse().map_err(|_| format!("{host} is not an IPv6 address"))?;
        return Ok(Bind::Tcp(address));
    }
    if host == "*" {
        return Err(format!("has no address: write \":{port}\" to listen on every address"));
    }
    if host.contains(':') {
        return Err(format!("is an IPv6 address without brackets: write \"[{host}]:{port}\""));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Bind::Tcp(SocketAddr::new(IpAddr::V4(address), port)));
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("{host} is not an IPv4 address"));
    }
    let is_name = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.len() > 253 || !host.trim_end_matches('.').split('.').all(is_name) {
        return Err(format!("\"{host}\" is not the name of a host"));
    }
    Ok(Bind::Name(host.to_owned(), port))
}

fn unix(path: &str, base: &Path) -> Result<Bind, String> {
    let path = path.strip_prefix("//").map_or(path, |rest| if rest.starts_with('/') { rest } else { path });
    if path.is_empty() {
        return Err("has no path: write \"unix:/run/app.sock\"".to_owned());
    }
    if path.starts_with('@') || path.contains('\0') {
        return Err(
            "names an abstract socket, which has no permissions: write a path, \"unix:/run/app.sock\""
                .to_owned(),
        );
    }
    if path.ends_with('/') {
        return Err(format!("is a directory: write the socket's path, \"unix:{path}app.sock\""));
    }
    let path = base.join(path);
    let length = path.as_os_str().as_bytes().len();
    if length > UNIX_PATH_MAX {
        return Err(format!("is a path of {length} bytes: a unix socket's has at most {UNIX_PATH_MAX}"));
    }
    Ok(Bind::Unix(path))
}

fn descriptor(number: &str) -> Result<Bind, String> {
    match number.parse::<i32>() {
        Ok(number) if number >= 3 => Ok(Bind::Descriptor(number)),
        Ok(0..=2) => Err("is a standard stream: inherited sockets begin at \"fd:3\"".to_owned()),
        Ok(_) | Err(_) => {
            Err("has no descriptor: write the number of an inherited socket, as \"fd:3\"".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Bind, String> {
        parse(text, Path::new("/srv/app"))
    }

    #[test]
    fn addresses() {
        let tcp = |text: &str| Bind::Tcp(text.parse().unwrap());
        for (text, bind) in [
            ("127.0.0.1:8000", tcp("127.0.0.1:8000")),
            ("0.0.0.0:0", tcp("0.0.0.0:0")),
            (":8000", tcp("0.0.0.0:8000")),
            ("[::1]:8000", tcp("[::1]:8000")),
            ("[::]:65535", tcp("[::]:65535")),
            ("localhost:80", Bind::Name("localhost".to_owned(), 80)),
            ("web-1.example.org:80", Bind::Name("web-1.example.org".to_owned(), 80)),
            ("unix:/run/app.sock", Bind::Unix("/run/app.sock".into())),
            ("unix:///run/app.sock", Bind::Unix("/run/app.sock".into())),
            ("unix:app.sock", Bind::Unix("/srv/app/app.sock".into())),
            ("fd:3", Bind::Descriptor(3)),
        ] {
            assert_eq!(read(text), Ok(bind), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_what_to_write() {
        for (text, said) in [
            ("", "is empty: write an address, as \"127.0.0.1:8000\""),
            (
                "8000",
                "is a port without an address: write \"127.0.0.1:8000\", or \":8000\" to listen on every address",
            ),
            ("localhost", "has no port: write \"localhost:8000\""),
            ("127.0.0.1", "has no port: write \"127.0.0.1:8000\""),
            ("127.0.0.1:", "has no port after the colon: write one, as \"127.0.0.1:8000\""),
            ("127.0.0.1:http", "has no port: \"http\" is not a number"),
            ("127.0.0.1:+80", "has no port: \"+80\" is not a number"),
            ("127.0.0.1:65536", "has a port of 65536: it must be at most 65535"),
            ("127.0.0.256:80", "127.0.0.256 is not an IPv4 address"),
            ("::1", "is an IPv6 address without brackets and port: write \"[::1]:8000\""),
            ("[::1]", "has no port: write \"[::1]:8000\""),
            ("[::1:80", "has a bracket that is not closed: write \"[::1]:8000\""),
            ("[zz]:80", "[zz] is not an IPv6 address"),
            ("a:b:80", "is an IPv6 address without brackets: write \"[a:b]:80\""),
            ("*:80", "has no address: write \":80\" to listen on every address"),
            ("my host:80", "\"my host\" is not the name of a host"),
            ("-x:80", "\"-x\" is not the name of a host"),
            (
                "http://localhost:80",
                "is a URL: write the address alone, as \"127.0.0.1:8000\" or \"unix:/run/app.sock\"",
            ),
            ("/run/app.sock", "looks like a path: write \"unix:/run/app.sock\" for a unix socket"),
            ("unix:", "has no path: write \"unix:/run/app.sock\""),
            ("unix:/run/", "is a directory: write the socket's path, \"unix:/run/app.sock\""),
            (
                "unix:@app",
                "names an abstract socket, which has no permissions: write a path, \"unix:/run/app.sock\"",
            ),
            ("fd:0", "is a standard stream: inherited sockets begin at \"fd:3\""),
            ("fd:x", "has no descriptor: write the number of an inherited socket, as \"fd:3\""),
            ("fd:-1", "has no descriptor: write the number of an inherited socket, as \"fd:3\""),
        ] {
            assert_eq!(read(text), Err(said.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_unix_path_fits_into_an_address() {
        let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1));
        assert!(read(&path(107)).is_ok());
        assert_eq!(
            read(&path(108)),
            Err("is a path of 108 bytes: a unix socket's has at most 107".to_owned())
        );
    }
}
