//! The process's environment and its directory. Changes are for the moments when the process has one thread.

use std::env;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The current directory as the shell names it, if that is the same: below a symbolic link that a deployment moves, a
/// reload then finds the new release.
///
/// # Errors
/// It is gone, or cannot be read.
pub fn current_directory() -> io::Result<PathBuf> {
    let real = env::current_dir()?;
    let Some(named) = env::var_os("PWD").map(PathBuf::from) else { return Ok(real) };
    let is_same = match (named.metadata(), real.metadata()) {
        (Ok(named), Ok(real)) => (named.dev(), named.ino()) == (real.dev(), real.ino()),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    };
    Ok(if named.is_absolute() && is_same { named } else { real })
}

/// Sets variables. Only while the process has one thread: the C library's `getenv` takes no lock.
///
/// A name that no environment can hold (empty, with `=` or NUL) or a value with NUL is left out with a warning; the
/// configuration refuses them before.
pub fn set_variables(variables: &[(String, String)]) {
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            log::warn!("app.environment: {name:?} cannot be set: no environment can hold it");
            continue;
        }
        // SAFETY: the process has one thread (the documented condition).
        #[allow(clippy::disallowed_methods, reason = "this is the function that the lint points to")]
        unsafe {
            env::set_var(name, value);
        };
    }
}

/// Removes variables. Only while the process has one thread.
pub fn remove_variables(names: &[&str]) {
    for name in names {
        // SAFETY: the process has one thread (the documented condition).
        unsafe { env::remove_var(name) };
    }
}
