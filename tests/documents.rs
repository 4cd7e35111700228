//! Documents lead where they say: each relative link has its file, each anchor its heading, and each setting that a page names
//! exists. Its own test, since it reads prose, while `tidy` reads code.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders with pages; those below them are not looked at.
const FOLDERS: [&str; 6] = ["", "docs", "packaging", "examples", "fuzz", "tests/corpus"];
/// Endings of file names that look like settings, as `app.toml`.
const NO_SETTINGS: [&str; 7] = ["toml", "py", "rs", "md", "conf", "sock", "svg"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> io::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 15, "{pages:?}");
    Ok(pages)
}

/// The lines of a page that are not inside a block of code, with their numbers.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (number, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// What stands between backticks in a line (`true`), and what does not (`false`).
fn pieces(line: &str) -> impl Iterator<Item = (bool, &str)> {
    line.split('`').enumerate().map(|(index, piece)| (index % 2 == 1, piece))
}

/// The targets of the links in a line.
fn links(line: &str) -> Vec<String> {
    let plain: String = pieces(line).map(|(is_code, piece)| if is_code { "" } else { piece }).collect();
    let targets = plain.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
            kept.map(|it| if it == ' ' { '-' } else { it }).collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() -> io::Result<()> {
    let mut bad = Vec::new();
    for page in pages()? {
        let text = fs::read_to_string(&page)?;
        for (line, target) in
            prose(&text).iter().flat_map(|(line, text)| links(text).into_iter().map(move |it| (line, it)))
        {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let leads =
                file.exists() && (anchor.is_empty() || anchors(&fs::read_to_string(&file)?).contains(anchor));
            if !leads {
                bad.push(format!("{}:{line}: {target}", page.display()));
            }
        }
    }
    assert!(bad.is_empty(), "links that lead nowhere:\n{}", bad.join("\n"));
    Ok(())
}

#[test]
fn every_setting_that_is_named_exists() -> io::Result<()> {
    let reference = fs::read_to_string(root().join("docs/configuration.md"))?;
    let known: BTreeSet<&str> =
        reference.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let sections: BTreeSet<&str> = known.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    assert!(known.contains("server.bind"), "{known:?}");
    let mut bad = Vec::new();
    for page in pages()? {
        let text = fs::read_to_string(&page)?;
        for (line, text) in prose(&text) {
            for (_, code) in pieces(text).filter(|(is_code, _)| *is_code) {
                let end = code
                    .find(|it: char| !it.is_ascii_lowercase() && !matches!(it, '.' | '_'))
                    .unwrap_or(code.len());
                let name = &code[..end];
                let Some((section, key)) = name.split_once('.') else { continue };
                if sections.contains(section) && !NO_SETTINGS.contains(&key) && !known.contains(name) {
                    bad.push(format!("{}:{line}: {name}", page.display()));
                }
            }
        }
    }
    assert!(bad.is_empty(), "settings that do not exist:\n{}", bad.join("\n"));
    Ok(())
}

#[test]
fn links_in_code_are_none() {
    assert_eq!(links("see [a](b.md#c) and `x[0](y)`, [d](e)"), ["b.md#c", "e"]);
    assert_eq!(prose("a\n```\nb\n```\nc"), [(1, "a"), (5, "c")]);
    assert!(anchors("## 400, 404: `x`").contains("400-404-x"));
}
