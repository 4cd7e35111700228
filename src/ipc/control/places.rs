//! Where the control socket is when `control.socket` does not say: a name that follows from the path of the configuration
//! file, in the first of a few directories that can be had. One file for both ends, so that the client looks where the
//! server puts it.
//!
//! Invariant: the server never puts its socket where somebody else could have put another in its place.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};

/// The folder of ours in a directory of the system or of a user.
const FOLDER: &str = "rwsgi";
/// Characters of the file's stem that are kept, so that the path fits a socket's address (107 bytes).
const STEM_MAX: usize = 32;

/// Where control sockets may be.
#[derive(Debug, Clone)]
pub struct Places {
    /// The effective user.
    user: u32,
    /// `/run`
    run: PathBuf,
    /// `$XDG_RUNTIME_DIR`
    runtime: Option<PathBuf>,
    /// `/tmp`
    temporary: PathBuf,
}

impl Places {
    /// Those of this process; `runtime` is `$XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn new(runtime: Option<PathBuf>) -> Self {
        let user = geteuid().as_raw();
        let runtime = runtime.filter(|path| path.is_absolute());
        Self { user, run: "/run".into(), runtime, temporary: "/tmp".into() }
    }

    /// The server: where its socket goes. Makes the directory when it must.
    ///
    /// # Errors
    /// Why no directory can be had: one sentence.
    pub fn for_server(&self, file: &Path) -> Result<PathBuf, String> {
        let mut refusals = Vec::new();
        for (directory, mode) in self.own_directories() {
            match usable(&directory, mode, self.user) {
                Ok(()) => return Ok(directory.join(socket_name(file))),
                Err(said) => refusals.push(format!("{}: {said}", directory.display())),
            }
        }
        Err(format!(
            "there is no directory for the control socket ({}): set control.socket",
            refusals.join("; ")
        ))
    }

    /// The client: where the socket may be, the likeliest first. Root also finds those of other users.
    #[must_use]
    pub fn for_client(&self, file: &Path) -> Vec<PathBuf> {
        let mut directories: Vec<_> = self.own_directories().into_iter().map(|(path, _)| path).collect();
        if self.user == 0 {
            directories.extend(entries(&self.run.join("user"), "").into_iter().map(|path| path.join(FOLDER)));
            let prefix = format!("{FOLDER}-");
            let is_user = |path: &PathBuf| {
                let name =
                    path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix(&prefix));
                name.is_some_and(|user| user.parse::<u32>().is_ok())
            };
            directories.extend(entries(&self.temporary, &prefix).into_iter().filter(is_user));
        }
        let name = socket_name(file);
        let mut sockets: Vec<PathBuf> = Vec::new();
        for socket in directories.into_iter().map(|directory| directory.join(&name)) {
            if !sockets.contains(&socket) {
                sockets.push(socket);
            }
        }
        sockets
    }

    /// The directories that a server of this user may use, best first, with the mode to make them with.
    fn own_directories(&self) -> Vec<(PathBuf, u32)> {
        let mut directories = vec![(self.run.join(FOLDER), 0o755)];
        directories.extend(self.runtime.iter().map(|path| (path.join(FOLDER), 0o700)));
        directories.push((self.temporary.join(format!("{FOLDER}-{}", self.user)), 0o700));
        directories
    }
}

/// `app-0123abcd.sock` for `/srv/shop/app.toml`: the stem for people, a hash of the whole path to tell servers apart. The path
/// is absolute; symbolic links in it stay, so that the name outlives a deployment that moves one.
#[must_use]
pub fn socket_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let stem: String = stem.chars().map(|c| if is_plain(&c) { c } else { '_' }).take(STEM_MAX).collect();
    let hash = fnv1a(without_parents(file).as_os_str().as_bytes());
    // The lower half of the hash: the last bytes of the path have reached all of it.
    format!("{stem}-{:08x}.sock", hash & 0xffff_ffff)
}

/// The path without `..`, which only the file system can resolve; one without stays as it is.
fn without_parents(file: &Path) -> PathBuf {
    let has_parents = file.components().any(|part| part == Component::ParentDir);
    let resolved = || Some(fs::canonicalize(file.parent()?).ok()?.join(file.file_name()?));
    let resolved = if has_parents { resolved() } else { None };
    resolved.unwrap_or_else(|| file.to_owned())
}

/// FNV-1a, 64 bits: the same in every release, unlike the hashes of the standard library.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Makes the directory if it is not there, and looks whether only we (or root) can put files into it.
fn usable(directory: &Path, mode: u32, user: u32) -> Result<(), String> {
    match fs::DirBuilder::new().mode(mode).create(directory) {
        // The umask may have taken bits away.
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(mode))
            .map_err(|error| error.to_string())?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.to_string()),
    }
    // Of the link itself, if it is one.
    let metadata = fs::symlink_metadata(directory).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("is no directory".to_owned());
    }
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(format!("belongs to another user ({})", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("others may write to it".to_owned());
    }
    access(directory, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| errno.desc().to_owned())
}

/// The entries of a directory whose names begin so, sorted. None when it cannot be read.
fn entries(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let starts = |name: &OsStr| name.as_bytes().starts_with(prefix.as_bytes());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter(|entry| starts(&entry.file_name())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn places(root: &Path, user: u32) -> Places {
        fs::create_dir_all(root.join("tmp")).unwrap();
        Places {
            user,
            run: root.join("run"),
            runtime: Some(root.join("runtime")),
            temporary: root.join("tmp"),
        }
    }

    fn own() -> u32 {
        geteuid().as_raw()
    }

    #[test]
    fn the_name_is_the_same_in_every_release() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        let hash = fnv1a(b"/srv/shop/app.toml") & 0xffff_ffff;
        assert_eq!(socket_name(Path::new("/srv/shop/app.toml")), format!("app-{hash:08x}.sock"));
    }

    #[test]
    fn names_are_plain_short_and_differ() {
        let name = socket_name(Path::new("/srv/my shop\n/ä b.v2.toml"));
        assert!(name.starts_with("__b.v2-") && name.len() == "__b.v2-01234567.sock".len(), "{name}");
        let long = socket_name(Path::new(&format!("/srv/{}.toml", "x".repeat(300))));
        assert_eq!(long.len(), STEM_MAX + "-01234567.sock".len());
        assert_ne!(socket_name(Path::new("/a/app.toml")), socket_name(Path::new("/b/app.toml")));
        assert_ne!(socket_name(Path::new("/a/app.toml")), socket_name(Path::new("/a/app.conf")));
    }

    #[test]
    fn a_path_with_parents_is_that_without() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir(root.join("deep")).unwrap();
        assert_eq!(socket_name(&root.join("deep/../app.toml")), socket_name(&root.join("app.toml")));
        // A deployment's link is no part of what is resolved.
        symlink(root.join("deep"), root.join("current")).unwrap();
        assert_ne!(socket_name(&root.join("current/app.toml")), socket_name(&root.join("deep/app.toml")));
    }

    #[test]
    fn the_server_takes_the_first_directory_that_it_can_have() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path(), own());
        let file = Path::new("/srv/app.toml");
        let name = socket_name(file);
        let user_folder = root.path().join(format!("tmp/rwsgi-{}", own()));
        assert_eq!(places.for_server(file).unwrap(), user_folder.join(&name));
        assert_eq!(fs::metadata(&user_folder).unwrap().mode() & 0o777, 0o700);
        fs::create_dir(root.path().join("runtime")).unwrap();
        assert_eq!(places.for_server(file).unwrap(), root.path().join("runtime/rwsgi").join(&name));
        fs::create_dir(root.path().join("run")).unwrap();
        assert_eq!(places.for_server(file).unwrap(), root.path().join("run/rwsgi").join(&name));
        assert_eq!(fs::metadata(root.path().join("run/rwsgi")).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn directories_that_others_control_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path(), own());
        let file = Path::new("/srv/app.toml");
        let folder = root.path().join(format!("tmp/rwsgi-{}", own()));
        let refused = |said: &str| {
            let problem = places.for_server(file).unwrap_err();
            assert!(problem.contains(said) && problem.ends_with("set control.socket"), "{problem}");
        };
        fs::create_dir(root.path().join("elsewhere")).unwrap();
        symlink(root.path().join("elsewhere"), &folder).unwrap();
        refused("is no directory");
        fs::remove_file(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        refused("is no directory");
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        refused("others may write to it");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        if own() == 0 {
            std::os::unix::fs::chown(&folder, Some(4711), None).unwrap();
            refused("belongs to another user (4711)");
        } else {
            println!("skipped: only root can give a directory to another user");
        }
    }

    #[test]
    fn the_client_looks_where_servers_put_it() {
        let root = tempfile::tempdir().unwrap();
        let file = Path::new("/srv/app.toml");
        let name = socket_name(file);
        let at = |folder: &str| root.path().join(folder).join(&name);
        let usual = [at("run/rwsgi"), at("runtime/rwsgi"), at("tmp/rwsgi-7")];
        assert_eq!(places(root.path(), 7).for_client(file), usual);
        for folder in ["run/user/7", "run/user/8", "tmp/rwsgi-0", "tmp/rwsgi-7", "tmp/rwsgi-x", "tmp/other"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let all = [
            at("run/rwsgi"),
            at("runtime/rwsgi"),
            at("tmp/rwsgi-0"),
            at("run/user/7/rwsgi"),
            at("run/user/8/rwsgi"),
            at("tmp/rwsgi-7"),
        ];
        assert_eq!(places(root.path(), 0).for_client(file), all);
    }

    #[test]
    fn a_relative_runtime_directory_is_ignored() {
        assert!(Places::new(Some("run".into())).runtime.is_none());
        assert!(Places::new(Some("/run/user/1".into())).runtime.is_some());
    }
}
