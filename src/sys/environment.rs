//! The environment of this process, changed only in a freshly forked process that has one thread.

/// Sets variables of this process.
pub fn set_variables(variables: &[(String, String)]) {
    for (name, value) in variables {
        #[allow(clippy::disallowed_methods, reason = "the one place that is meant by the rule")]
        // SAFETY: called by a process that has one thread.
        unsafe {
            std::env::set_var(name, value);
        }
    }
}
