//! Reads arbitrary text as a configuration file: every problem is one printable line that names file and line. Nothing
//! on this machine is changed: the settings are resolved, and nothing is started with them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rwsgi::config::Sources;

/// The file that the text is said to be in; it is never opened.
const FILE: &str = "app.toml";

fuzz_target!(|text: &str| {
    let sources = Sources::new(Some(FILE.into()), [], Vec::new(), "/".into(), false);
    let Err(problems) = sources.load_text(text) else { return };
    assert!(!problems.lines().is_empty(), "refused without a reason");
    let lines = text.matches('\n').count() + 1;
    for problem in problems.lines() {
        assert!(!problem.contains(char::is_control), "{problem:?}");
        let place = problem.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
        let place = place.unwrap_or_else(|| panic!("no file: {problem}"));
        // What is missing altogether has no line.
        if place.starts_with(" app.target: is not set") {
            continue;
        }
        let (line, said) = place.split_once(':').unwrap_or_else(|| panic!("no line: {problem}"));
        let line: usize = line.parse().unwrap_or_else(|_| panic!("no line: {problem}"));
        assert!((1..=lines).contains(&line), "line {line} of {lines}: {problem}");
        assert!(!said.trim().is_empty(), "{problem}");
    }
});
