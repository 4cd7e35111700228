//! The house rules that a machine can check. Each rule is a test; a failure names file and line and what to do.
//!
//! Code is looked at with comments and literals blanked out, so that a rule never trips over prose.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Lines of a file from which on a split is due, and from which on it is demanded.
const LINES_NOTED: usize = 500;
const LINES_MAX: usize = 800;

/// The table of layers in `src/lib.rs`: a module, and which modules of the crate it may name.
const LAYERS: [(&str, &[&str]); 12] = [
    ("http", &[]),
    ("sys", &[]),
    ("net", &["http", "sys"]),
    ("config", &["net", "sys"]),
    ("log", &["config", "sys"]),
    ("ipc", &["config", "net", "sys"]),
    ("metrics", &["ipc", "sys"]),
    ("app", &["config", "http", "net", "sys"]),
    ("master", &["config", "ipc", "log", "metrics", "net", "sys"]),
    ("worker", &["app", "config", "http", "ipc", "log", "net", "sys"]),
    ("template", &["app", "config", "ipc", "log", "net", "sys", "worker"]),
    ("python", &["app", "config", "http", "log", "sys"]),
];

/// What is outside the table, with the reason.
const EXCEPTIONS: [(&str, &str); 3] = [
    // Trust in proxies is a setting that is applied to addresses.
    ("src/net/origin", "config"),
    // Which versions are expected is a setting.
    ("src/net/proxy_protocol", "config"),
    // `rwsgi check` must refuse an access format that cannot be parsed.
    ("src/config/", "log::format"),
];

/// One line of a file that breaks a rule.
fn broken(path: &Path, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", path.display())
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

/// The files with this ending below a folder, with paths as in the repository. None if the folder is not there.
fn files(folder: &str, ending: &str) -> io::Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        if !root.join(&folder).is_dir() {
            continue;
        }
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && name != "__pycache__" {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> io::Result<String> {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

fn rust_files() -> io::Result<Vec<PathBuf>> {
    let mut all = files("src", ".rs")?;
    all.extend(files("tests", ".rs")?);
    Ok(all)
}

/// Rust code with comments and the insides of string and character literals blanked out; lines stay where they are.
fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !ends_in_name(&code)) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].iter().find(|prefix| text.starts_with(**prefix))?;
    let hashes = text[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let start = prefix.len() + hashes + 1;
    if text.as_bytes().get(start - 1) != Some(&b'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()))
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a `'` begins a character and no lifetime.
fn is_character(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(end)) => end == '\'',
        _ => false,
    }
}

fn ends_in_name(code: &str) -> bool {
    code.chars().next_back().is_some_and(|character| character.is_alphanumeric() || character == '_')
}

/// The paths below `crate::` that code names, with their lines; a group (`crate::{a, b::c}`) gives one each.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, matched) in code.match_indices("crate::") {
        if ends_in_name(&code[..at]) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let after = &code[at + matched.len()..];
        match after.strip_prefix('{') {
            Some(group) => found.extend(group_members(group).into_iter().map(|path| (line, path))),
            None => found.push((line, path_at(after))),
        }
    }
    found
}

fn group_members(group: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth > 0 => {}
            ',' | '}' => {
                members.push(path_at(group[start..at].trim()));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn path_at(text: &str) -> String {
    text.chars()
        .take_while(|character| character.is_alphanumeric() || matches!(character, '_' | ':'))
        .collect::<String>()
        .trim_end_matches(':')
        .to_owned()
}

/// The module of `src/` that a file belongs to: `http` for `src/http/body.rs`, `app` for `src/app.rs`.
fn module_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").ok()?.components().next()?;
    Some(first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned())
}

fn may_name(path: &Path, module: &str, named: &str) -> bool {
    let root = named.split("::").next().unwrap_or_default();
    let by_table =
        LAYERS.iter().find(|(layer, _)| *layer == module).is_some_and(|(_, names)| names.contains(&root));
    let file = path.to_string_lossy();
    let by_exception = EXCEPTIONS.iter().any(|(start, except)| {
        file.starts_with(start)
            && named.strip_prefix(except).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    root == module || by_table || by_exception
}

#[test]
fn every_file_says_what_it_is() -> io::Result<()> {
    let mut bad = Vec::new();
    for path in rust_files()? {
        if !read(&path)?.starts_with("//! ") {
            bad.push(broken(&path, 1, "begin with `//! ` and say what the file is and what is not here"));
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn files_can_be_read_in_one_sitting() -> io::Result<()> {
    let mut bad = Vec::new();
    for path in rust_files()? {
        let lines = read(&path)?.lines().count();
        if lines > LINES_MAX {
            bad.push(broken(&path, lines, &format!("more than {LINES_MAX} lines: split it by subject")));
        } else if lines > LINES_NOTED {
            println!("note: {} has {lines} lines: a split is due", path.display());
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn modules_name_only_lower_layers() -> io::Result<()> {
    let mut bad = Vec::new();
    for path in files("src", ".rs")? {
        let Some(module) =
            module_of(&path).filter(|module| !["lib", "main", "cli"].contains(&module.as_str()))
        else {
            continue;
        };
        if !LAYERS.iter().any(|(layer, _)| *layer == module) {
            bad.push(broken(
                &path,
                1,
                "add the module to the table in src/lib.rs and to LAYERS in tests/tidy.rs",
            ));
        }
        for (line, named) in crate_paths(&code_of(&read(&path)?)) {
            if !may_name(&path, &module, &named) {
                bad.push(broken(
                    &path,
                    line,
                    &format!("`{module}` must not name `crate::{named}` (the layers in src/lib.rs): move the code up, or \
                              hand the value in"),
                ));
            }
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn every_layer_is_in_the_table_of_lib_rs() -> io::Result<()> {
    let table = read(Path::new("src/lib.rs"))?;
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("//! | ")).collect();
    for (layer, _) in LAYERS {
        let name = format!("`{layer}`");
        let listed =
            rows.iter().any(|row| row.split('|').nth(2).is_some_and(|modules| modules.contains(&name)));
        assert!(listed, "src/lib.rs: the table of layers has no row for {name}");
    }
    Ok(())
}

#[test]
fn python_is_named_only_in_the_bridge() -> io::Result<()> {
    let mut bad = Vec::new();
    for path in rust_files()?.iter().filter(|path| !path.starts_with("src/python")) {
        for (index, line) in code_of(&read(path)?).lines().enumerate() {
            if line.contains("pyo3") {
                bad.push(broken(
                    path,
                    index + 1,
                    "pyo3 is named only in src/python/ and build.rs: go through src/app.rs",
                ));
            }
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn unsafe_is_opened_only_in_the_audit_lists() -> io::Result<()> {
    let mut bad = Vec::new();
    for path in rust_files()? {
        if path == Path::new("src/lib.rs") || path == Path::new("src/python/mod.rs") {
            continue;
        }
        for (index, line) in code_of(&read(&path)?).lines().enumerate() {
            if line.contains("allow(unsafe_code") || line.contains("expect(unsafe_code") {
                bad.push(broken(
                    &path,
                    index + 1,
                    "open `unsafe` in src/lib.rs or src/python/mod.rs, with a reason",
                ));
            }
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn only_reactors_read_the_clock() -> io::Result<()> {
    let mut bad = Vec::new();
    for path in files("src", ".rs")? {
        let is_reactor = path.ends_with("reactor.rs") || path.iter().any(|part| part == "reactor");
        let is_test =
            path.iter().any(|part| part.to_string_lossy().contains("tests") || part == "simulation.rs");
        if is_reactor || is_test {
            continue;
        }
        let code = code_of(&read(&path)?);
        let product = code.lines().take_while(|line| !line.contains("#[cfg(test)]"));
        for (index, _) in product.enumerate().filter(|(_, line)| line.contains("Instant::now")) {
            bad.push(broken(&path, index + 1, "Instant::now: take the time as an argument"));
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn nothing_is_left_undone_and_nobody_sleeps() -> io::Result<()> {
    let in_code = [
        ("thread::sleep", "wait for a message, a phase or a log record with a deadline"),
        ("todo!(", "write it, or leave the feature out"),
        ("unimplemented!(", "write it, or leave the feature out"),
    ];
    let in_text = [
        (["TO", "DO"].concat(), "do it, or open an issue"),
        (["FIX", "ME"].concat(), "mend it, or open an issue"),
        (["time.", "sleep"].concat(), "wait for an event with a deadline"),
    ];
    let mut texts = rust_files()?;
    texts.extend(files("src", ".py")?);
    texts.extend(files("tests", ".py")?);
    // An application has to sleep to be slow.
    texts.retain(|path| !path.starts_with("tests/apps"));
    let mut bad = Vec::new();
    for path in texts {
        let text = read(&path)?;
        for (index, line) in text.lines().enumerate() {
            for (word, advice) in in_text.iter().filter(|(word, _)| line.contains(word.as_str())) {
                bad.push(broken(&path, index + 1, &format!("{word}: {advice}")));
            }
        }
        if path.extension().is_some_and(|ending| ending == "rs") {
            for (index, line) in code_of(&text).lines().enumerate() {
                for (word, advice) in in_code.iter().filter(|(word, _)| line.contains(word)) {
                    bad.push(broken(&path, index + 1, &format!("{word}: {advice}")));
                }
            }
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn samples_are_toml() -> io::Result<()> {
    let mut samples = files("config", ".toml")?;
    samples.extend(files("examples", "app.toml")?);
    assert!(
        samples.contains(&PathBuf::from("config/app.toml")),
        "config/app.toml is missing: run `rwsgi defaults`"
    );
    let mut bad = Vec::new();
    for path in samples {
        let text = read(&path)?;
        if let Err(error) = toml::from_str::<toml::Table>(&text) {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            bad.push(broken(&path, line, error.message()));
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn every_test_application_says_what_it_does() -> io::Result<()> {
    let mut bad = Vec::new();
    for path in files("tests/apps", ".py")? {
        let text = read(&path)?;
        let first =
            text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
        if !first.trim_start_matches('r').starts_with("\"\"\"") {
            bad.push(broken(
                &path,
                1,
                "begin with a docstring that names the one behaviour of this application",
            ));
        }
    }
    assert_none(&bad);
    Ok(())
}

/// The file that a test's place in `docs/wsgi.md` stands for.
fn place_of_test(place: &str) -> Option<PathBuf> {
    let (root, module) = place.split_once('/').unwrap_or((place, ""));
    match root {
        "python" => Some(format!("src/python/tests/{module}.rs").into()),
        "integration" => Some(format!("tests/integration/{module}.rs").into()),
        "http" | "net" => Some(format!("src/{place}/tests.rs").into()),
        "worker" => Some(format!("src/worker/tests/{module}.rs").into()),
        _ => None,
    }
}

/// The tests that a line of a document names: code spans like `place::function`.
fn tests_named(line: &str) -> Vec<(PathBuf, String)> {
    let spans = line.split('`').skip(1).step_by(2);
    let tests = spans.filter_map(|span| span.split_once("::"));
    tests.filter_map(|(place, name)| Some((place_of_test(place)?, name.to_owned()))).collect()
}

/// The names of the `#[test]` functions of a file.
fn tests_of(path: &Path) -> io::Result<Vec<String>> {
    let source = read(path)?;
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let functions = lines.windows(2).filter(|pair| pair[0] == "#[test]");
    let name = |line: &str| line.strip_prefix("fn ")?.split('(').next().map(str::to_owned);
    Ok(functions.filter_map(|pair| name(pair[1])).collect())
}

#[test]
fn every_clause_of_pep_3333_names_tests_that_exist() -> io::Result<()> {
    let path = Path::new("docs/wsgi.md");
    let mut bad = Vec::new();
    let mut rows = 0;
    let mut in_clauses = false;
    for (index, line) in read(path)?.lines().enumerate() {
        let named = tests_named(line);
        for (file, test) in &named {
            if !tests_of(file)?.contains(test) {
                bad.push(broken(path, index + 1, &format!("{} has no test `{test}`", file.display())));
            }
        }
        if !line.starts_with('|') {
            in_clauses = false;
        } else if line.ends_with("| Test |") {
            in_clauses = true;
        } else if in_clauses && !line.starts_with("|---") {
            rows += 1;
            if named.is_empty() {
                bad.push(broken(path, index + 1, "name the test that shows this clause"));
            }
        }
    }
    assert!(rows > 50, "{} has lost its tables: {rows} rows", path.display());
    assert_none(&bad);
    Ok(())
}

/// The reasons for which a request is refused, with their status, as `src/http/error.rs` maps them.
fn refusals() -> io::Result<Vec<(String, String)>> {
    let source = code_of(&read(Path::new("src/http/error.rs"))?);
    let body = source.split("impl Reject {").nth(1).and_then(|text| text.split("pub fn status").nth(1));
    let arms = body.and_then(|text| text.split("pub fn reason").next()).unwrap_or_default();
    let mut refusals = Vec::new();
    let mut pending = Vec::new();
    for word in arms.split(|character: char| !character.is_alphanumeric() && character != ':') {
        if let Some(name) = word.strip_prefix("Self::") {
            pending.push(name.to_owned());
        } else if word.len() == 3 && word.parse::<u16>().is_ok() {
            refusals.extend(pending.drain(..).map(|name| (name, word.to_owned())));
        }
    }
    Ok(refusals)
}

#[test]
fn every_reason_to_refuse_a_request_is_documented() -> io::Result<()> {
    let refusals = refusals()?;
    let source = read(Path::new("src/http/error.rs"))?;
    let variants = source.split("pub enum Reject {").nth(1).and_then(|text| text.split("\n}").next());
    let variants = variants.unwrap_or_default().lines().filter_map(|line| line.trim().strip_suffix(','));
    let variants: Vec<_> = variants.filter(|line| !line.starts_with("//")).collect();
    assert!(variants.len() > 40 && variants.len() == refusals.len(), "{variants:?} {refusals:?}");

    let document = read(Path::new("docs/http.md"))?;
    let mut bad = Vec::new();
    for (name, status) in refusals {
        let rows: Vec<_> = document.lines().filter(|line| line.contains(&format!("| `{name}` |"))).collect();
        match rows[..] {
            [row] if row.contains(&format!("| {status} |")) => {}
            [_] => bad.push(format!("docs/http.md: the row of `{name}` must say {status}")),
            _ => bad.push(format!("docs/http.md: {} rows for `{name}`: one is wanted", rows.len())),
        }
    }
    assert_none(&bad);
    Ok(())
}

#[test]
fn every_setting_of_http_is_documented_with_its_default() -> io::Result<()> {
    // Made from the table of settings, which a test of its own compares it with.
    let reference = read(Path::new("docs/configuration.md"))?;
    let document = read(Path::new("docs/http.md"))?;
    let mut bad = Vec::new();
    let mut settings = 0;
    for part in reference.split("### `http.").skip(1) {
        let key = part.split('`').next().unwrap_or_default();
        let default = part.lines().find_map(|line| line.strip_prefix("- Default: ")).unwrap_or_default();
        settings += 1;
        if !document.contains(&format!("| `{key}` | {default} |")) {
            bad.push(format!("docs/http.md: a row `| `{key}` | {default} |` is wanted"));
        }
    }
    assert!(settings > 10, "docs/configuration.md has {settings} settings of http");
    assert_none(&bad);
    Ok(())
}

#[test]
fn the_rules_see_code_and_no_prose() {
    let source = "let a = 'x'; // crate::b\nlet s = \"crate::c \\\" crate::d\"; /* crate::e /* \n */ */ use crate::f::G;\n\
                  fn g<'a>(h: &'a str) { r#\"crate::i \" \"# ; '\"'; crate::j::k() }\nuse crate::{l, m::{n, o}, p::q};\n\
                  pub(crate) use mycrate::r;";
    let named = crate_paths(&code_of(source));
    let named: Vec<_> = named.iter().map(|(line, path)| (*line, path.as_str())).collect();
    assert_eq!(named, [(3, "f::G"), (4, "j::k"), (5, "l"), (5, "m"), (5, "p::q")]);
}

#[test]
fn the_layers_allow_what_the_table_says() {
    let allowed = |path: &str, named: &str| {
        let path = Path::new(path);
        may_name(path, &module_of(path).unwrap(), named)
    };
    assert!(allowed("src/http/body.rs", "http::error"));
    assert!(!allowed("src/http/body.rs", "net"));
    assert!(
        allowed("src/net/origin/tests.rs", "config::Proxy")
            && !allowed("src/net/listener.rs", "config::Proxy")
    );
    assert!(
        allowed("src/config/checks.rs", "log::format::AccessFormat")
            && !allowed("src/config/checks.rs", "log")
    );
    assert!(allowed("src/worker/mod.rs", "app::Exchange") && !allowed("src/worker/mod.rs", "python"));
    assert!(!allowed("src/master/mod.rs", "http") && !allowed("src/master/mod.rs", "app"));
    assert!(allowed("src/app.rs", "config::Settings") && !allowed("src/app.rs", "log"));
}
