//! Runs `tests/corpus/config`: each case is the text of a file and what is said of it.

#[allow(clippy::duplicate_mod, reason = "layers share no module, and only tests read the corpus")]
#[path = "../../../tests/corpus/reader.rs"]
mod reader;

use super::*;

#[test]
fn corpus() {
    for case in reader::load_plain("config").unwrap() {
        let text = String::from_utf8(case.input).unwrap();
        let sources = Sources::new(Some("app.toml".into()), [], Vec::new(), "/".into(), false);
        let seen = match sources.load_text(&text) {
            Ok(_) => vec!["sound".to_owned()],
            Err(problems) => problems.lines().iter().map(|line| format!("problem {line}")).collect(),
        };
        let as_expected = seen.len() == case.expected.len()
            && seen.iter().zip(&case.expected).all(|(seen, expected)| seen.starts_with(expected));
        assert!(as_expected, "{}: {seen:#?}", case.name);
    }
}
