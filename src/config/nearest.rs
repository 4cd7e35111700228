//! What was probably meant by a name that is no setting.

use super::table::{self, SECTIONS, SETTINGS};

/// How alike two names must be (of 1) to ask whether one was meant.
const LIKENESS_MIN: f64 = 0.6;

/// How alike a name and its beginning are, as `warning` and `warn`.
const BEGINNING_LIKENESS: f64 = 0.7;

/// The shortest beginning that counts, in bytes.
const BEGINNING_MIN: usize = 3;

/// What is said of a section that does not exist.
pub(super) fn section(name: &str) -> String {
    match best(name, SECTIONS.iter().map(|(section, _)| *section)) {
        Some(section) => format!("unknown section (did you mean [{section}]?)"),
        None => {
            let all: Vec<_> = SECTIONS.iter().map(|(section, _)| format!("[{section}]")).collect();
            format!("unknown section (there are {})", all.join(", "))
        }
    }
}

/// What is said of a key that does not exist in its section; the section is empty for a key above all sections.
pub(super) fn key(section: &str, key: &str) -> String {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
        return format!("unknown key here ({key} belongs to [{}])", setting.section);
    }
    let everywhere = || best(key, SETTINGS.iter().map(|setting| setting.key));
    if let Some(near) = best(key, table::keys(section)).or_else(everywhere) {
        let home = SETTINGS.iter().find(|setting| setting.section == section && setting.key == near);
        let setting = home.or_else(|| SETTINGS.iter().find(|setting| setting.key == near));
        if let Some(setting) = setting {
            return format!("unknown key (did you mean {}?)", setting.name());
        }
    }
    if section.is_empty() {
        return "unknown key (every key belongs to a section, as [server])".to_owned();
    }
    let all: Vec<_> = table::keys(section).collect();
    format!("unknown key ([{section}] has {})", all.join(", "))
}

/// What is said of an environment variable of ours that names no setting.
pub(super) fn variable(name: &str) -> String {
    let all: Vec<_> = SETTINGS.iter().map(table::Setting::variable).collect();
    match best(name, all.iter().map(String::as_str)) {
        Some(near) => format!("no such setting (did you mean {near}?)"),
        None => "no such setting (rwsgi defaults shows all)".to_owned(),
    }
}

/// The word that was meant, of a few; `None` when none is like it.
pub(super) fn best<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

fn likeness(name: &str, candidate: &str) -> f64 {
    let begins = name.starts_with(candidate) || candidate.starts_with(name);
    let least =
        if begins && name.len().min(candidate.len()) >= BEGINNING_MIN { BEGINNING_LIKENESS } else { 0.0 };
    strsim::normalized_damerau_levenshtein(name, candidate).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_nothing_far() {
        let words = ["bind", "backlog", "user", "group", "umask"];
        for (name, near) in [
            ("bnid", Some("bind")),
            ("binds", Some("bind")),
            ("back_log", Some("backlog")),
            ("usr", Some("user")),
            ("grp", Some("group")),
            ("u", None),
            ("listen", None),
            ("", None),
        ] {
            assert_eq!(best(name, words.into_iter()), near, "{name}");
        }
    }
}
