//! Becoming the configured user and group, for good.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::Path;

use nix::sys::prctl::set_dumpable;
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setgroups, setuid};

use crate::config::{Log, Server, Sink};

/// Hands `files` and the log files to the configured user and group, then becomes them: group, supplementary groups,
/// user, in this order, since the first two need the privilege that the last one gives up.
///
/// # Errors
/// One sentence.
pub(super) fn drop(server: &Server, log: &Log, files: &[&Path]) -> Result<(), String> {
    let user = server.user.as_ref();
    let Some(group) = server.group.as_ref().map(|it| it.id).or(user.map(|it| it.primary_group)) else {
        return Ok(());
    };
    let group = Gid::from_raw(group);
    if !geteuid().is_root() {
        return stay(user.map(|it| Uid::from_raw(it.id)), group);
    }
    let owner = user.map(|it| it.id);
    for path in files {
        hand_over(path, owner, group)?;
    }
    for sink in [&log.file, &log.access] {
        if let Sink::File(path) = sink {
            // Made now, where the directory belongs to root.
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(path)
                .map_err(|error| format!("the log file {} cannot be opened: {error}", path.display()))?;
            if is_ours_to_give(path, &file) {
                fchown(&file, owner, Some(group.as_raw())).map_err(|error| refuse(path, &error))?;
            }
        }
    }
    let refused = |what: &str, errno| format!("server.user, server.group: {what} failed: {errno}");
    setgid(group).map_err(|errno| refused("setgid", errno))?;
    let Some(user) = user else {
        return setgroups(&[group]).map_err(|errno| refused("setgroups", errno));
    };
    let id = Uid::from_raw(user.id);
    match User::from_uid(id).ok().flatten().and_then(|it| CString::new(it.name).ok()) {
        Some(name) => initgroups(&name, group).map_err(|errno| refused("initgroups", errno))?,
        None => setgroups(&[group]).map_err(|errno| refused("setgroups", errno))?,
    }
    setuid(id).map_err(|errno| refused("setuid", errno))?;
    if !id.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(format!("server.user = \"{}\": the privileges of root did not go away", user.name));
    }
    // Giving privileges up makes a process unreadable even to its own user (PR_SET_DUMPABLE in prctl(2)): the master could
    // not tell its workers' memory, nor a profiler their stacks.
    set_dumpable(true).map_err(|errno| refused("prctl", errno))
}

/// Without privileges only the user and group that we are already will do.
fn stay(user: Option<Uid>, group: Gid) -> Result<(), String> {
    if user.is_none_or(|user| user == geteuid()) && group == nix::unistd::getegid() {
        return Ok(());
    }
    Err("server.user, server.group: only root can change to another user or group: start as root, or remove them".to_owned())
}

/// Whether no link leads from the path to the file, or to no file but a pipe or a terminal. A link may have been put there by
/// somebody who would like to have what it leads to.
fn is_ours_to_give(path: &Path, file: &File) -> bool {
    let (Ok(opened), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    !opened.is_file() || (opened.dev(), opened.ino()) == (named.dev(), named.ino())
}

fn hand_over(path: &Path, owner: Option<u32>, group: Gid) -> Result<(), String> {
    lchown(path, owner, Some(group.as_raw())).map_err(|error| refuse(path, &error))
}

fn refuse(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be handed to server.user: {error}", path.display())
}
