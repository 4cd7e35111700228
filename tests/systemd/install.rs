//! What is installed on the machine: rwsgi and its units as a package does it, and the sites.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{binary, root};
use crate::tools;

/// A site with one page for each thing that is asked of it.
const SITE: &str = include_str!("site.py");

/// Settings that make the test quick, and what the Python of this machine needs; nothing that weakens what is tested.
const QUICK: &str = "[Service]\nRestartSec=500ms\nWatchdogSec=2s\nLimitCORE=0\n";

/// The configuration of `rwsgi.service`.
pub(crate) const APP: &str = "\
[app]
target = \"site_under_test\"
directory = \"/srv/site\"
[server]
bind = \"unix:/run/rwsgi/app.sock\"
[workers]
count = 2
";

/// The configuration of `rwsgi@shop.service`; the sockets come from systemd.
pub(crate) const SHOP: &str = "\
[app]
target = \"site_under_test\"
directory = \"/srv/site\"
[workers]
count = 1
";

const DJANGO: &str = "\
[app]
target = \"site_config.wsgi\"
directory = \"/srv/django\"
pythonpath = [\"/srv/packages\"]
environment = { DJANGO_DATABASE = \"/var/lib/rwsgi/django/db.sqlite3\" }
[server]
bind = \"unix:/run/rwsgi/django.sock\"
[workers]
count = 2
";

/// A second socket for `rwsgi@shop.service`, with a name of its own.
const ADMIN_SOCKET: &str = "\
[Socket]
ListenStream=127.0.0.1:8080
FileDescriptorName=admin
Service=rwsgi@shop.service
";

/// A folder with `install`, to be copied over the root of the machine, and `shared`.
pub(crate) fn files() -> TempDir {
    let work = tempfile::Builder::new().prefix("rwsgi-systemd-").tempdir().unwrap();
    fs::create_dir(work.path().join("shared")).unwrap();
    let target = work.path().join("install");
    let write = |path: &str, text: &str| {
        let file = target.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    for unit in ["rwsgi.service", "rwsgi@.service", "rwsgi.socket", "rwsgi@.socket"] {
        write(&format!("usr/lib/systemd/system/{unit}"), &unit_file(unit));
    }
    write("usr/lib/sysusers.d/rwsgi.conf", &unit_file("rwsgi.sysusers"));
    write("usr/lib/tmpfiles.d/rwsgi.conf", &unit_file("rwsgi.tmpfiles"));
    let python = for_python();
    if !python.is_empty() {
        crate::say(
            "the Python of this machine is in a home directory: ProtectHome=tmpfs, with it, takes the place of yes",
        );
    }
    for unit in ["rwsgi", "rwsgi@"] {
        let text = format!("{QUICK}{python}");
        write(&format!("etc/systemd/system/{unit}.service.d/test.conf"), &text);
    }
    write("etc/systemd/system/shop-admin.socket", ADMIN_SOCKET);
    write("etc/rwsgi/app.toml", APP);
    write("etc/rwsgi/shop.toml", SHOP);
    write("etc/rwsgi/django.toml", DJANGO);
    write("srv/site/site_under_test.py", &site("first"));
    fs::create_dir_all(target.join("usr/bin")).unwrap();
    fs::copy(binary(), target.join("usr/bin/rwsgi")).unwrap();
    copy_django(&target);
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
    work
}

/// The site, which says on `/` which release it is.
pub(crate) fn site(release: &str) -> String {
    format!("RELEASE = {release:?}\n{SITE}")
}

fn unit_file(name: &str) -> String {
    fs::read_to_string(root().join("systemd").join(name)).unwrap()
}

/// The packages of the tests' virtual environment.
pub(crate) fn packages() -> PathBuf {
    let text = python("import sysconfig; print(sysconfig.get_path('purelib'))");
    PathBuf::from(text.trim())
}

/// A Python in a home directory is out of reach under `ProtectHome=yes`; then it is shown, alone.
fn for_python() -> String {
    let prefix = python("import sys; print(sys.base_prefix)");
    let prefix = prefix.trim();
    if ["/root/", "/home/"].iter().any(|home| prefix.starts_with(home)) {
        eprintln!(
            "the Python of this machine is in {prefix}: ProtectHome=tmpfs with it instead of ProtectHome=yes"
        );
        format!("ProtectHome=tmpfs\nBindReadOnlyPaths={prefix}\n")
    } else {
        String::new()
    }
}

fn python(code: &str) -> String {
    tools::python(Path::new("/"), &["-c", code], &[])
}

/// The Django example, with its database where the service may write.
fn copy_django(target: &Path) {
    let example = root().join("examples/django");
    copy(&example, &target.join("srv/django"));
    let state = target.join("var/lib/rwsgi/django");
    fs::create_dir_all(&state).unwrap();
    let database = state.join("db.sqlite3");
    tools::python(&example, &["manage.py", "migrate", "--verbosity=0"], &[("DJANGO_DATABASE", &database)]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
