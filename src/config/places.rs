//! Readers of values that name something on this machine: directories, files, accounts. They look, and change nothing.

use std::io;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::unistd::{Gid, Group, Uid, getegid, geteuid, getgroups};

use super::resolved::{Sink, Trusted, User};
use super::values;
use super::written::{Given, Raw};

/// An absolute path; relative ones are taken from `base`.
pub(super) fn path(text: &str, base: &Path) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty: write a path".to_owned());
    }
    if text.contains('\0') {
        return Err("has a NUL character: write a path".to_owned());
    }
    // Taking the parts and joining them again leaves out `.` and doubled slashes; `..` stays, since it means something
    // else behind a symbolic link.
    Ok(base.join(text).components().collect())
}

/// A directory that is there.
pub(super) fn directory(text: &str, base: &Path) -> Result<PathBuf, String> {
    let path = path(text, base)?;
    let shown = path.display();
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err(format!("{shown} is not a directory: write the path of the folder")),
        Err(error) => Err(format!("{shown}: {}: create it or correct the path", reason(&error))),
    }
}

/// A directory or archive that is there.
pub(super) fn import_path(text: &str, base: &Path) -> Result<PathBuf, String> {
    let path = path(text, base)?;
    match path.metadata() {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("{}: {}: create it or correct the path", path.display(), reason(&error))),
    }
}

/// A virtual environment.
pub(super) fn virtualenv(text: &str, base: &Path) -> Result<PathBuf, String> {
    let path = directory(text, base)?;
    if path.join("bin/python").exists() {
        Ok(path)
    } else {
        Err(format!(
            "{} has no bin/python: write the path of a virtual environment, or make one with python3 -m venv {0}",
            path.display()
        ))
    }
}

/// A file that is written: its directory must be there, and it must not be a directory itself.
pub(super) fn output_file(text: &str, base: &Path) -> Result<PathBuf, String> {
    let path = path(text, base)?;
    if text.ends_with('/') || path.is_dir() {
        return Err(format!("{} is a directory: write the path of a file", path.display()));
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    match parent.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(path),
        Ok(_) => Err(format!("{} is not a directory: correct the path", parent.display())),
        Err(error) => Err(format!(
            "the directory {}: {}: create it or correct the path",
            parent.display(),
            reason(&error)
        )),
    }
}

/// Where the error log goes.
pub(super) fn error_log(text: &str, base: &Path) -> Result<Sink, String> {
    match text {
        "-" => Ok(Sink::Standard),
        "off" => {
            Err("the error log cannot be off: write \"-\" or a path, and log.level = \"error\" for less"
                .to_owned())
        }
        path => output_file(path, base).map(Sink::File),
    }
}

/// Where the access log goes.
pub(super) fn access_log(text: &str, base: &Path) -> Result<Sink, String> {
    match text {
        "-" => Ok(Sink::Standard),
        "off" => Ok(Sink::Off),
        path => output_file(path, base).map(Sink::File),
    }
}

/// An account by name or number, that this process may change to.
pub(super) fn user(given: &Given, has_group: bool) -> Result<User, String> {
    let name = account_name(given)?;
    let found = match name.parse::<u32>() {
        Ok(number) => nix::unistd::User::from_uid(Uid::from_raw(number)),
        Err(_) => nix::unistd::User::from_name(&name),
    };
    let found = found.map_err(|error| format!("the user cannot be looked up: {}", error.desc()))?;
    let user = match (found, name.parse::<u32>()) {
        (Some(user), _) => User { name, id: user.uid.as_raw(), primary_group: user.gid.as_raw() },
        (None, Ok(id)) if has_group => User { name, id, primary_group: id },
        (None, Ok(_)) => {
            return Err(
                "there is no account with this number: set server.group as well, or write another user"
                    .to_owned(),
            );
        }
        (None, Err(_)) => return Err("there is no such user: create it or write another".to_owned()),
    };
    let own = geteuid();
    if own.is_root() || own.as_raw() == user.id {
        Ok(user)
    } else {
        Err(format!("only root can change to another user: start rwsgi as root{}", or_removal(given)))
    }
}

/// A group by name or number, that this process may change to.
pub(super) fn group(given: &Given) -> Result<User, String> {
    let name = account_name(given)?;
    let found = match name.parse::<u32>() {
        Ok(number) => Group::from_gid(Gid::from_raw(number)),
        Err(_) => Group::from_name(&name),
    };
    let found = found.map_err(|error| format!("the group cannot be looked up: {}", error.desc()))?;
    let id = match (found, name.parse::<u32>()) {
        (Some(group), _) => group.gid.as_raw(),
        (None, Ok(number)) => number,
        (None, Err(_)) => return Err("there is no such group: create it or write another".to_owned()),
    };
    let is_member = getegid().as_raw() == id
        || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == id));
    if geteuid().is_root() || is_member {
        Ok(User { name, id, primary_group: id })
    } else {
        Err(format!("only root can change to another group: start rwsgi as root{}", or_removal(given)))
    }
}

/// The peers that are trusted.
pub(super) fn trusted(items: &[&str]) -> Result<Trusted, String> {
    let mut trusted = Trusted { networks: Vec::new(), unix: false };
    for item in items {
        match *item {
            "unix" => trusted.unix = true,
            "*" => {
                trusted.unix = true;
                trusted.networks.push(IpNet::V4(ipnet::Ipv4Net::default()));
                trusted.networks.push(IpNet::V6(ipnet::Ipv6Net::default()));
            }
            text => {
                let network = text.parse::<std::net::IpAddr>().map(IpNet::from).ok();
                let network = network.or_else(|| text.parse::<IpNet>().map(|network| network.trunc()).ok());
                trusted.networks.push(network.ok_or_else(|| {
                    format!(
                        "\"{text}\" is not an address or a network: write \"10.0.0.1\", \"10.0.0.0/8\", \"::1\", \
                         \"unix\" or \"*\""
                    )
                })?);
            }
        }
    }
    Ok(trusted)
}

fn account_name(given: &Given) -> Result<String, String> {
    let name = match &given.raw {
        Raw::Integer(Some(number)) if *number >= 0 => number.to_string(),
        Raw::Integer(_)
        | Raw::Text(_)
        | Raw::Word(_)
        | Raw::Bool(_)
        | Raw::List(_)
        | Raw::Map(_)
        | Raw::Other(_) => values::text(given)?.to_owned(),
    };
    // A name with a NUL cannot be looked up; the number 2^32 - 1 means "unchanged" to the kernel (setresuid(2)).
    match name.parse::<u64>() {
        Ok(number) if number >= u64::from(u32::MAX) => {
            Err("is larger than any number of an account".to_owned())
        }
        Ok(_) => Ok(name),
        Err(_) if name.is_empty() || name.contains('\0') => {
            Err("is empty: write a name or number".to_owned())
        }
        Err(_) => Ok(name),
    }
}

fn or_removal(given: &Given) -> String {
    format!(" or {}", given.origin.removal())
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "does not exist".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "may not be read (permission denied)".to_owned()
    } else {
        error.to_string()
    }
}
