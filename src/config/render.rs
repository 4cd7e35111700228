//! The reference of all settings, rendered from the table: `config/app.toml` and `docs/configuration.md`.

use std::fmt::Write;

use super::table::{Fallback, SECTIONS, SETTINGS, Setting};

/// Where a comment of the reference file is broken, in columns.
const COMMENT_COLUMNS: usize = 100;

const TOML_HEAD: &str = "\
# The reference configuration of rwsgi: every setting with its default.
#
# Run it with: rwsgi -c app.toml; check it with: rwsgi check -c app.toml
# Lines that are commented out show an example of a setting that has no fixed default, or \"off\".
# Durations are written \"30s\", \"500ms\", \"2m\", \"1h\", \"1d\" or as sums, \"1m30s\"; sizes \"64KiB\", \"1MiB\",
# \"10MB\", \"512B\" or as a number of bytes.
# The environment (RWSGI_<SECTION>_<KEY>) overrides this file, the command line overrides both.
";

const MARKDOWN_HEAD: &str = "\
# Configuration

<!-- Made by `rwsgi defaults --format markdown`; edit the table of settings instead. -->

Settings come from the configuration file (`rwsgi -c app.toml`), the environment and the command line; a later one of \
these overrides an earlier one. Everything has a default except `app.target`. Unknown sections and keys are errors, and \
so are variables that begin with `RWSGI_` and a section's name but name no setting. All problems are reported at once, \
each with its place; `rwsgi check -c app.toml` reports them without starting, and imports the application as well.

How values are written:

- **Durations** are strings with units: `\"30s\"`, `\"500ms\"`, `\"2m\"`, `\"1h\"`, `\"1d\"`, and sums such as \
`\"1m30s\"`; at most `\"30d\"`. A number without a unit is an error.
- **Sizes** are strings with units, `\"512B\"`, `\"10MB\"` (powers of 1000), `\"64KiB\"`, `\"1MiB\"`, `\"1GiB\"` (powers of \
1024), or a number of bytes.
- **Relative paths** in the file are relative to the file's folder; in the environment and on the command line they \
are relative to the current directory.
- **Lists** in the environment and on the command line are separated by commas (`app.pythonpath` by colons); an \
option of a list may also be repeated.
";

/// The commented reference file.
#[must_use]
pub fn toml() -> String {
    let mut out = TOML_HEAD.to_owned();
    for (section, about) in SECTIONS {
        let _infallible = write!(out, "\n# {about}\n[{section}]\n");
        for setting in SETTINGS.iter().filter(|setting| setting.section == *section) {
            out.push('\n');
            for line in wrapped(setting.doc, COMMENT_COLUMNS - 2) {
                let _infallible = writeln!(out, "# {line}");
            }
            let line = match setting.default {
                Fallback::Value("\"off\"") => format!("# {} = \"off\"", setting.key),
                Fallback::Value(value) => format!("{} = {value}", setting.key),
                Fallback::Computed { words, example } => {
                    format!("# Default: {words}.\n# {} = {example}", setting.key)
                }
                Fallback::Required { example } => format!("{} = {example}", setting.key),
            };
            let _infallible = writeln!(out, "{line}");
        }
    }
    out
}

/// The reference for readers.
#[must_use]
pub fn markdown() -> String {
    let mut out = MARKDOWN_HEAD.to_owned();
    for (section, about) in SECTIONS {
        let _infallible = write!(out, "\n## `[{section}]`\n\n{about}\n");
        for setting in SETTINGS.iter().filter(|setting| setting.section == *section) {
            let _infallible = write!(
                out,
                "\n### `{}`\n\n{}\n\n- Type: {}\n- Default: {}\n- Command line: {}\n- Environment: `{}`\n",
                setting.name(),
                setting.doc,
                setting.kind.words(),
                default_words(setting),
                flag_words(setting),
                setting.variable(),
            );
        }
    }
    out
}

fn default_words(setting: &Setting) -> String {
    match setting.default {
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Computed { words, example } => format!("{words} (example: `{example}`)"),
        Fallback::Required { example } => format!("none, it must be set (example: `{example}`)"),
    }
}

fn flag_words(setting: &Setting) -> String {
    let Some(flag) = setting.flag else { return "the argument `MODULE[:CALLABLE]`".to_owned() };
    let mut words = format!("`--{} {}`", flag.long, flag.value);
    if let Some(short) = flag.short {
        let _infallible = write!(words, ", `-{short}`");
    }
    for alias in flag.aliases {
        let _infallible = write!(words, ", `--{alias}`");
    }
    words
}

/// Breaks a paragraph into lines of at most `columns` characters, at spaces.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn assert_current(file: &str, rendered: &str, command: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(on_disk == rendered, "{file} is stale; make it anew with: {command}");
    }

    #[test]
    fn the_reference_file_is_up_to_date() {
        assert_current("config/app.toml", &toml(), "cargo run -- defaults > config/app.toml");
    }

    #[test]
    fn the_documentation_is_up_to_date() {
        let command = "cargo run -- defaults --format markdown > docs/configuration.md";
        assert_current("docs/configuration.md", &markdown(), command);
    }

    #[test]
    fn the_reference_file_holds_the_defaults_and_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let sources = super::super::Sources::new(
                Some(path.clone()),
                [],
                Vec::new(),
                directory.path().to_owned(),
                false,
            );
            let mut settings = sources.load().unwrap();
            settings.server.bind_is_default = true;
            format!("{settings:#?}")
        };
        assert_eq!(load(&toml()), load("[app]\ntarget = \"app:application\"\n"));
    }

    #[test]
    fn examples_of_the_reference_are_toml() {
        let uncommented: String = toml()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if SETTINGS.iter().any(|setting| rest.starts_with(&format!("{} = ", setting.key))) =>
                {
                    rest
                }
                _ => line,
            })
            .fold(String::new(), |text, line| text + line + "\n");
        let found = super::super::file::parse(&uncommented, Path::new("app.toml"));
        assert_eq!(found.problems, []);
        assert_eq!(found.given.len(), SETTINGS.len());
    }

    #[test]
    fn every_setting_is_complete_and_no_flag_is_used_twice() {
        let mut flags = vec!["config", "help", "version"];
        let mut letters = vec!['c', 'h', 'V'];
        for setting in SETTINGS {
            assert!(SECTIONS.iter().any(|(section, _)| *section == setting.section), "{}", setting.name());
            assert!(setting.doc.ends_with('.'), "{}", setting.name());
            if let Some(flag) = setting.flag {
                flags.push(flag.long);
                flags.extend(flag.aliases);
                letters.extend(flag.short);
            }
        }
        let count = (flags.len(), letters.len());
        flags.sort_unstable();
        flags.dedup();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!((flags.len(), letters.len()), count);
    }
}
