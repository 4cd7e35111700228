//! How this process was started, so that an upgrade can do it again with what is on disk by then.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sys;

/// How this process was started, so that it can be done again.
#[derive(Debug)]
pub(in crate::master) struct Program {
    pub(super) path: PathBuf,
    pub(super) name: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) directory: Option<PathBuf>,
}

impl Program {
    /// To be called before the process title is set, which overwrites the arguments.
    pub(in crate::master) fn of_this_process() -> Self {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let directory = sys::environment::current_directory().ok();
        let path = find_program(&name, directory.as_deref());
        Self { path, name, arguments: arguments.collect(), directory }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(&self.name).args(&self.arguments);
        match &self.directory {
            Some(directory) if directory.is_dir() => {
                command.current_dir(directory);
            }
            Some(directory) => {
                log::warn!("{} is not there any more: the new master starts elsewhere", directory.display());
            }
            None => {}
        }
        command
    }
}

/// The path by which this program was called, if it still is this program: a symbolic link that a deployment moves then
/// leads to the new release. Otherwise the path of the program itself.
pub(super) fn find_program(name: &OsString, directory: Option<&Path>) -> PathBuf {
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let own = identity(Path::new("/proc/self/exe"));
    let base = directory.unwrap_or(Path::new("/"));
    let search = env::var_os("PATH").unwrap_or_default();
    let called = if Path::new(name).components().count() > 1 {
        vec![base.join(name)]
    } else {
        env::split_paths(&search).map(|place| base.join(place).join(name)).collect()
    };
    let found = called.into_iter().find(|path| own.is_some() && identity(path) == own);
    found
        .or_else(|| fs::read_link("/proc/self/exe").ok().map(without_mark))
        .unwrap_or_else(|| base.join(name))
}

/// Linux marks the path of a program whose file was removed or replaced (proc_pid_exe(5)).
pub(super) fn without_mark(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => PathBuf::from(path),
        None => path,
    }
}
