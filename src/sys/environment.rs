//! Changes of the process's environment, for the moments when the process has one thread.

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
            std::env::set_var(name, value);
        };
    }
}

/// Removes variables. Only while the process has one thread.
pub fn remove_variables(names: &[&str]) {
    for name in names {
        // SAFETY: the process has one thread (the documented condition).
        unsafe { std::env::remove_var(name) };
    }
}
