//! `MODULE[:CALLABLE]`, checked as far as it can be without Python. Pure.

use super::resolved::{Hook, Target};

const CALLABLE: &str = "application";

/// Reads a target; the callable is `application` when none is written.
///
/// # Errors
/// One clause: what is wrong and what to write.
pub(super) fn parse(text: &str) -> Result<Target, String> {
    let (module, callable) = text.split_once(':').unwrap_or((text, CALLABLE));
    let first = module.trim();
    if first.contains('/') || first.contains('\\') || first.ends_with(".py") {
        return Err(file_name(first, callable));
    }
    if module.is_empty() {
        return Err(format!("names no module: write MODULE:CALLABLE, as \"app:{CALLABLE}\""));
    }
    if !is_dotted(module) {
        return Err(format!(
            "\"{module}\" is not the name of a Python module: write names joined with dots, as \"site.wsgi:{CALLABLE}\""
        ));
    }
    if callable.is_empty() {
        return Err(format!(
            "names no callable after the colon: write \"{module}\" or \"{module}:{CALLABLE}\""
        ));
    }
    if !is_dotted(callable) && !is_call(callable) {
        return Err(format!(
            "\"{callable}\" is neither the name of a callable nor a call: write \"{module}:{CALLABLE}\" or \
             \"{module}:create_app()\""
        ));
    }
    Ok(Target { module: module.to_owned(), callable: callable.to_owned() })
}

/// Reads `MODULE:FUNCTION`.
///
/// # Errors
/// One clause: what is wrong and what to write.
pub(super) fn hook(text: &str) -> Result<Hook, String> {
    match text.split_once(':') {
        Some((module, function)) if is_dotted(module) && is_dotted(function) => {
            Ok(Hook { module: module.to_owned(), function: function.to_owned() })
        }
        Some(_) | None => {
            Err("is not MODULE:FUNCTION: write names, as \"site.hooks:worker_start\"".to_owned())
        }
    }
}

/// What is said of a file name: the module's name instead.
fn file_name(path: &str, callable: &str) -> String {
    let stem = path.strip_suffix(".py").unwrap_or(path).trim_start_matches("./").trim_end_matches('/');
    let relative = !path.starts_with('/') && !stem.contains("..");
    let module = if relative { stem.replace(['/', '\\'], ".") } else { String::new() };
    let module = if is_dotted(&module) { module } else { stem.rsplit('/').next().unwrap_or(stem).to_owned() };
    let module = if is_dotted(&module) { module } else { "app".to_owned() };
    let callable = if callable.is_empty() { CALLABLE } else { callable };
    let place = if relative { "" } else { ", and its folder as app.directory" };
    format!("is a file name: write the module's name, \"{module}:{callable}\"{place}")
}

/// Python identifiers joined with dots.
fn is_dotted(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && characters.all(|c| c == '_' || c.is_alphanumeric())
}

/// An attribute path and one pair of parentheses that ends the text; what is between them is Python's to judge.
fn is_call(text: &str) -> bool {
    text.split_once('(')
        .is_some_and(|(name, rest)| is_dotted(name) && rest.strip_suffix(')').is_some_and(is_balanced))
}

/// Whether brackets and quotes pair up.
fn is_balanced(arguments: &str) -> bool {
    let mut open = Vec::new();
    let mut quote = None;
    let mut escaped = false;
    for c in arguments.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(mark) if c == mark => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' => quote = Some(c),
                '(' => open.push(')'),
                '[' => open.push(']'),
                '{' => open.push('}'),
                ')' | ']' | '}' if open.pop() != Some(c) => return false,
                _ => {}
            },
        }
    }
    open.is_empty() && quote.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_callables() {
        for (text, module, callable) in [
            ("app", "app", "application"),
            ("app:app", "app", "app"),
            ("site.wsgi", "site.wsgi", "application"),
            ("site.wsgi:web.wsgi_app", "site.wsgi", "web.wsgi_app"),
            ("app:create_app()", "app", "create_app()"),
            ("app:make.app(\"a:b\", debug=False)", "app", "make.app(\"a:b\", debug=False)"),
            ("app:f('(', [1, {2: 3}], \"\\\"\")", "app", "f('(', [1, {2: 3}], \"\\\"\")"),
            ("_a1.b_2:_c", "_a1.b_2", "_c"),
            ("größe:été", "größe", "été"),
        ] {
            let target = Target { module: module.to_owned(), callable: callable.to_owned() };
            assert_eq!(parse(text), Ok(target), "{text}");
        }
    }

    #[test]
    fn a_file_name_is_answered_with_the_module() {
        for (text, said) in [
            ("app.py", "\"app:application\""),
            ("app.py:main", "\"app:main\""),
            ("./app.py:app", "\"app:app\""),
            ("site/app.py:app", "\"site.app:app\""),
            ("site/app", "\"site.app:application\""),
            ("/srv/site/app.py:app", "\"app:app\", and its folder as app.directory"),
            ("../app.py", "\"app:application\", and its folder as app.directory"),
            ("my-site.py", "\"app:application\""),
        ] {
            assert_eq!(
                parse(text),
                Err(format!("is a file name: write the module's name, {said}")),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, said) in [
            ("", "names no module: write MODULE:CALLABLE, as \"app:application\""),
            (":app", "names no module: write MODULE:CALLABLE, as \"app:application\""),
            ("app:", "names no callable after the colon: write \"app\" or \"app:application\""),
            (
                "my-app",
                "\"my-app\" is not the name of a Python module: write names joined with dots, as \
                 \"site.wsgi:application\"",
            ),
        ] {
            assert_eq!(parse(text), Err(said.to_owned()), "{text}");
        }
        for text in [
            "app:1x",
            "app:a b",
            "app:a:b",
            "app:f(",
            "app:f)",
            "app:f()()",
            "app:f(]",
            "app:f(')",
            "app:f().x",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("is neither the name of a callable nor a call"), "{text}: {error}");
        }
        for text in ["1app", "a..b", ".app", "app.", "a b", " app"] {
            assert!(parse(text).unwrap_err().contains("is not the name of a Python module"), "{text}");
        }
    }
}
