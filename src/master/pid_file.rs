//! The pid file: written whole by renaming, never over a living master's (but over the one that an upgrade replaces),
//! removed only while it is ours.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys;

/// A pid file that names this process.
#[derive(Debug, Clone)]
pub(super) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes it.
    ///
    /// # Errors
    /// One sentence: it names a living master, or cannot be written.
    pub(super) fn create(path: &Path, process_name: &str) -> Result<Self, String> {
        if let Some(pid) = named_in(path).filter(|&pid| is_master(pid, process_name)) {
            return Err(format!(
                "server.pid_file {}: a master runs already (pid {pid}): stop it, or set another pid file",
                path.display()
            ));
        }
        write(path).map_err(|error| {
            format!("server.pid_file {} cannot be written: {error}: check the directory", path.display())
        })?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Writes it over the one of the master that this one replaces.
    ///
    /// # Errors
    /// One sentence: it names another living master, or cannot be written.
    pub(super) fn take_over(path: &Path, process_name: &str, predecessor: i32) -> Result<Self, String> {
        if named_in(path) != Some(predecessor) {
            return Self::create(path, process_name);
        }
        // A server that gave its privileges up may own the file and not the directory.
        write(path).or_else(|_| overwrite(path)).map_err(|error| {
            format!(
                "server.pid_file {} cannot be written: {error}: it still names the old master, pid {predecessor}",
                path.display()
            )
        })?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it if it still names this process.
    pub(super) fn remove(&self) {
        if named_in(&self.path) == Some(own_pid()) {
            if let Err(error) = fs::remove_file(&self.path) {
                // Without the privilege it had at the start; a stale file is overwritten at the next one.
                log::info!("{} stays behind: {error}", self.path.display());
            }
        }
    }
}

/// Removes the file of a master that was replaced, where the new one has none or another.
pub(super) fn remove_of(path: &Path, predecessor: i32) {
    if named_in(path) == Some(predecessor) {
        if let Err(error) = fs::remove_file(path) {
            log::info!("{} stays behind: {error}", path.display());
        }
    }
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

fn named_in(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether a process is a master of ours: alive, not this one, and of our program or our name.
fn is_master(pid: i32, process_name: &str) -> bool {
    if pid == own_pid() || !sys::process::is_alive(pid) {
        return false;
    }
    let program = |pid: &str| {
        let link = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        // An upgraded binary's old file shows as deleted.
        link.to_str().map(|link| link.trim_end_matches(" (deleted)").to_owned())
    };
    let same_program = program("self").is_some_and(|own| program(&pid.to_string()) == Some(own));
    let same_name = fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|name| name.starts_with(&format!("{process_name}: mast")));
    same_program || same_name
}

fn write(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(file, "{}", own_pid())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

/// In place. Who reads it meanwhile sees a whole number, though perhaps with digits of the old one behind its end.
fn overwrite(path: &Path) -> io::Result<()> {
    let content = format!("{}\n", own_pid());
    let mut file = fs::OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.write_all(content.as_bytes())?;
    file.set_len(content.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_names_us_and_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rwsgi.pid");
        let file = PidFile::create(&path, "rwsgi").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", own_pid()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        file.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_or_broken_pid_file_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rwsgi.pid");
        // Process 1 lives, but is no master of ours.
        for content in ["2147483647\n", "rubbish", "", "1\n"] {
            fs::write(&path, content).unwrap();
            PidFile::create(&path, "rwsgi").unwrap();
            assert_eq!(named_in(&path), Some(own_pid()));
        }
    }

    #[test]
    fn a_pid_file_that_is_no_longer_ours_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rwsgi.pid");
        let file = PidFile::create(&path, "rwsgi").unwrap();
        fs::write(&path, "1\n").unwrap();
        file.remove();
        assert!(path.exists());
    }

    #[test]
    fn a_living_master_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rwsgi.pid");
        // Any other process of the same program counts.
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "master::tests::waits_for_its_input", "--ignored", "--nocapture"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        fs::write(&path, child.id().to_string()).unwrap();
        let error = PidFile::create(&path, "rwsgi").unwrap_err();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(error.contains(&format!("a master runs already (pid {})", child.id())), "{error}");
    }

    #[test]
    fn the_file_of_a_replaced_master_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rwsgi.pid");
        fs::write(&path, "1\n").unwrap();
        let file = PidFile::take_over(&path, "rwsgi", 1).unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), format!("{}\n", own_pid()));
        fs::write(&path, "1234567890\n").unwrap();
        overwrite(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", own_pid()));
        remove_of(&path, 1);
        assert!(path.exists(), "it names us");
        remove_of(&path, own_pid());
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_directory_is_told() {
        let error = PidFile::create(Path::new("/no/such/directory/x.pid"), "rwsgi").unwrap_err();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
