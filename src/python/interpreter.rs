//! Starts and ends the embedded interpreter (CPython "Python Initialization Configuration").
//!
//! Invariant: [`start`] runs once, in a process that has one thread, and returns with the interpreter lock
//! released, so that any thread can attach.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libc::{c_int, wchar_t};
use pyo3::ffi;

use crate::app::{LoadError, LoadErrorKind};
use crate::config;

/// The Python that this program was built with; empty if the build did not know it.
const BUILD_PYTHON: &str = env!("RWSGI_PYTHON");

/// Starts the interpreter with the virtualenv of the application.
pub(super) fn start(app: &config::App) -> Result<(), LoadError> {
    if let Some(virtualenv) = &app.virtualenv {
        check_virtualenv(virtualenv, &embedded_version()).map_err(configuration_error)?;
    }
    let executable = app.virtualenv.as_ref().map(|virtualenv| python_of(virtualenv)).or_else(base_python);
    initialize(executable.as_deref()).map_err(configuration_error)?;
    // SAFETY: this thread has just initialised the interpreter and is attached to it.
    unsafe { ffi::PyEval_SaveThread() };
    Ok(())
}

/// Ends the interpreter: joins the threads that are no daemons, runs `atexit`, flushes the standard streams.
/// Python objects that are dropped later are leaked.
pub(super) fn finalize() {
    // SAFETY: the interpreter is running; attaches the thread that initialised it.
    unsafe { ffi::PyGILState_Ensure() };
    // SAFETY: this thread is attached.
    let flushed = unsafe { ffi::Py_FinalizeEx() } == 0;
    if !flushed {
        log::warn!("standard output of the application could not be flushed");
    }
}

/// `3.11` of the library that is linked.
pub(super) fn embedded_version() -> String {
    // SAFETY: returns a static string and may be called before initialisation.
    let version = unsafe { ffi::Py_GetVersion() };
    // SAFETY: the string is static and ends with NUL.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy();
    major_minor(&version)
}

fn major_minor(version: &str) -> String {
    let numbers = version.split(|character: char| !character.is_ascii_digit());
    numbers.take(2).collect::<Vec<_>>().join(".")
}

fn configuration_error(summary: String) -> LoadError {
    LoadError { kind: LoadErrorKind::Configuration, summary, traceback: None }
}

fn python_of(virtualenv: &Path) -> PathBuf {
    virtualenv.join("bin/python")
}

/// Refuses what is no virtualenv, and one that was made with another Python: its compiled packages would not load.
pub(super) fn check_virtualenv(virtualenv: &Path, embedded: &str) -> Result<(), String> {
    let remedy = format!(
        "make it with Python {embedded} (python{embedded} -m venv {}), or build rwsgi with \
         PYO3_PYTHON set to the Python of the virtualenv",
        virtualenv.display()
    );
    let settings_file = virtualenv.join("pyvenv.cfg");
    let settings = std::fs::read_to_string(&settings_file).map_err(|error| {
        format!(
            "app.virtualenv = {}: not a virtualenv: {}: {error}: {remedy}",
            virtualenv.display(),
            settings_file.display()
        )
    })?;
    if !python_of(virtualenv).exists() {
        return Err(format!(
            "app.virtualenv = {}: its bin/python is missing (was the Python that made it removed?): {remedy}",
            virtualenv.display()
        ));
    }
    match virtualenv_version(&settings) {
        Some(version) if version != embedded => Err(format!(
            "app.virtualenv = {}: it is of Python {version}, but rwsgi embeds Python {embedded}: {remedy}",
            virtualenv.display()
        )),
        Some(_) | None => Ok(()),
    }
}

/// `version = 3.11.7` (venv) or `version_info = 3.11.7.final.0` (virtualenv, uv), as `3.11`.
fn virtualenv_version(settings: &str) -> Option<String> {
    virtualenv_setting(settings, &["version", "version_info"]).map(major_minor)
}

/// A value of `pyvenv.cfg`, by the first of these names that is there.
fn virtualenv_setting<'a>(settings: &'a str, names: &[&str]) -> Option<&'a str> {
    settings.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        names.iter().any(|name| key.trim().eq_ignore_ascii_case(name)).then_some(value.trim())
    })
}

/// The executable for `sys.executable` without a virtualenv. Never this program: `multiprocessing` and
/// `subprocess` start `sys.executable`.
fn base_python() -> Option<PathBuf> {
    let name = format!("python{}", embedded_version());
    let built_with = outside_virtualenv(Path::new(BUILD_PYTHON), &name);
    if built_with.is_absolute() && built_with.exists() {
        return Some(built_with);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(&name)).find(|candidate| candidate.exists())
}

/// The Python that a virtualenv's Python was made from, or `python` itself: the program may have been built in a
/// virtualenv, which is of no concern to applications.
fn outside_virtualenv(python: &Path, name: &str) -> PathBuf {
    let settings = python.parent().and_then(Path::parent).map(|root| root.join("pyvenv.cfg"));
    let settings = settings.and_then(|file| std::fs::read_to_string(file).ok());
    let home = settings.as_deref().and_then(|settings| virtualenv_setting(settings, &["home"]));
    home.map_or_else(|| python.to_path_buf(), |home| Path::new(home).join(name))
}

fn initialize(executable: Option<&Path>) -> Result<(), String> {
    // SAFETY: PyConfig consists of integers and pointers, for which zero is a valid value.
    let mut config: ffi::PyConfig = unsafe { std::mem::zeroed() };
    // SAFETY: `config` is writable memory of the right type.
    unsafe { ffi::PyConfig_InitPythonConfig(&raw mut config) };
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    let result = configure(&mut config, executable).and_then(|()| {
        // SAFETY: `config` was initialised above.
        check(unsafe { ffi::Py_InitializeFromConfig(&raw const config) })
    });
    // SAFETY: `config` was initialised above and is not used any more.
    unsafe { ffi::PyConfig_Clear(&raw mut config) };
    result.map_err(|why| format!("Python {} cannot be started: {why}", embedded_version()))
}

fn configure(config: &mut ffi::PyConfig, executable: Option<&Path>) -> Result<(), String> {
    let name = c"rwsgi";
    let mut arguments = [name.as_ptr()];
    // SAFETY: one argument that ends with NUL; Python copies it.
    check(unsafe { ffi::PyConfig_SetBytesArgv(&raw mut *config, 1, arguments.as_mut_ptr()) })?;
    let Some(executable) = executable else { return Ok(()) };
    let executable = CString::new(executable.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // Both: CPython 3.9 and 3.10 find their prefix from the name, 3.11 and later from the executable.
    let name_field: *mut *mut wchar_t = &raw mut config.program_name;
    set_string(config, name_field, &executable)?;
    let executable_field: *mut *mut wchar_t = &raw mut config.executable;
    set_string(config, executable_field, &executable)
}

fn set_string(config: &mut ffi::PyConfig, field: *mut *mut wchar_t, value: &CStr) -> Result<(), String> {
    // SAFETY: `field` is a field of `config`; Python copies the string.
    check(unsafe { ffi::PyConfig_SetBytesString(&raw mut *config, field, value.as_ptr()) })
}

fn check(status: ffi::PyStatus) -> Result<(), String> {
    // SAFETY: a status by value.
    let failed: c_int = unsafe { ffi::PyStatus_Exception(status) };
    if failed == 0 {
        return Ok(());
    }
    if status.err_msg.is_null() {
        return Err(format!("it asked to exit with code {}", status.exitcode));
    }
    // SAFETY: the message of a failed status is a static string that ends with NUL.
    Err(unsafe { CStr::from_ptr(status.err_msg) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{check_virtualenv, major_minor, outside_virtualenv, virtualenv_version};

    #[test]
    fn a_build_in_a_virtualenv_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("bin/python3");
        assert_eq!(outside_virtualenv(&python, "python3.11"), python);
        std::fs::write(folder.path().join("pyvenv.cfg"), "home = /opt/python/bin\nversion = 3.11.7\n")
            .unwrap();
        assert_eq!(outside_virtualenv(&python, "python3.11"), Path::new("/opt/python/bin/python3.11"));
    }

    #[test]
    fn versions_are_read_from_both_spellings() {
        assert_eq!(major_minor("3.11.7 (main, Nov 1 2026)"), "3.11");
        assert_eq!(major_minor("3.13.0rc1"), "3.13");
        assert_eq!(virtualenv_version("home = /usr/bin\nversion = 3.9.2\n").as_deref(), Some("3.9"));
        assert_eq!(virtualenv_version("version_info = 3.12.1.final.0").as_deref(), Some("3.12"));
        assert_eq!(virtualenv_version("home = /usr/bin").as_deref(), None);
    }

    #[test]
    fn a_virtualenv_of_another_version_is_refused_with_both_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = check_virtualenv(folder.path(), "3.11").unwrap_err();
        assert!(missing.contains("not a virtualenv"), "{missing}");

        std::fs::write(folder.path().join("pyvenv.cfg"), "version = 3.8.1\n").unwrap();
        let no_python = check_virtualenv(folder.path(), "3.11").unwrap_err();
        assert!(no_python.contains("its bin/python is missing"), "{no_python}");

        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::write(folder.path().join("bin/python"), "").unwrap();
        let other = check_virtualenv(folder.path(), "3.11").unwrap_err();
        assert!(other.contains("it is of Python 3.8, but rwsgi embeds Python 3.11"), "{other}");
        assert!(other.contains("PYO3_PYTHON"), "{other}");

        assert_eq!(check_virtualenv(folder.path(), "3.8"), Ok(()));
    }
}
