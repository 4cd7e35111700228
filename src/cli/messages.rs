//! What is told before there is a log: on standard error, with the program's name in front.

use std::io::{Write, stderr};

use crate::config::Problems;

/// The answer to `rwsgi` without anything to run.
pub(super) const NOTHING_TO_RUN: &str = "\
nothing to run: name an application or a configuration file

  rwsgi app:application          serve the callable `application` of the module `app`
  rwsgi -c app.toml              serve what the file says (rwsgi defaults prints one)

rwsgi --help shows all options.";

/// Writes an error message. Standard error may be closed; then there is nobody to tell.
pub(super) fn error(text: &str) {
    writeln!(stderr().lock(), "rwsgi: {text}").ok();
}

/// Writes a warning: nothing is wrong, but it may become so.
pub(super) fn warning(text: &str) {
    writeln!(stderr().lock(), "rwsgi: warning: {text}").ok();
}

/// Writes everything that is wrong with a configuration.
pub(super) fn problems(problems: &Problems) {
    error(&format!("{} in the configuration:\n{problems}", problems.count()));
}
