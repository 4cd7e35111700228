//! Rules of single settings beyond their type: addresses, the mount point, field values, URL paths. Pure.

use std::path::Path;

use crate::log::format::AccessFormat;
use crate::net::Bind;

use super::resolved::CheckTarget;
use super::written::{Given, Raw};
use super::{bind, values};

/// `server.bind`: at least one address, none twice.
pub(super) fn binds(given: &Given, base: &Path) -> Result<Vec<Bind>, String> {
    if let Raw::Integer(_) = given.raw {
        return Err(bind::port_alone(&given.written));
    }
    let items = values::list(given)?;
    let mut binds: Vec<Bind> = Vec::new();
    for item in &items {
        let bind = bind::parse(item, base)
            .map_err(|said| if items.len() > 1 { format!("\"{item}\" {said}") } else { said })?;
        // Port 0 is another free port each time.
        let is_fresh = matches!(&bind, Bind::Tcp(address) if address.port() == 0);
        if !is_fresh && binds.contains(&bind) {
            return Err(format!("has \"{item}\" twice: remove one of the two"));
        }
        binds.push(bind);
    }
    if binds.is_empty() {
        return Err(format!("names no address{}", values::remedy(given)));
    }
    Ok(binds)
}

/// `metrics.bind`: an address, or nothing.
pub(super) fn metrics_bind(given: &Given, base: &Path) -> Result<Option<Bind>, String> {
    if let Raw::Integer(_) = given.raw {
        return Err(bind::port_alone(&given.written));
    }
    let text = values::text(given)?;
    if text.is_empty() {
        return Ok(None);
    }
    match bind::parse(text, base)? {
        Bind::Descriptor(_) => {
            Err("is a descriptor, which only server.bind takes: write an address, as \"127.0.0.1:9100\""
                .to_owned())
        }
        bind @ (Bind::Tcp(_) | Bind::Name(..) | Bind::Unix(_)) => Ok(Some(bind)),
    }
}

/// `app.mount`: empty, or a path without a slash at its end.
pub(super) fn mount(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    if !path.starts_with('/') {
        return Err(format!("must begin with a slash: write \"/{path}\""));
    }
    if let Some(mark) = path.chars().find(|c| matches!(c, '?' | '#')) {
        return Err(format!("has a {mark}: write the path alone, as \"/prefix\""));
    }
    if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("has a space or control character: write a path, as \"/prefix\"".to_owned());
    }
    if path[1..].split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(
            "has an empty, . or .. segment: write the path as clients see it, as \"/prefix\"".to_owned()
        );
    }
    Ok(path.to_owned())
}

/// `reload.check`: a path, or a URL whose host and scheme the application is to see.
pub(super) fn check_target(text: &str) -> Result<CheckTarget, String> {
    let (https, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, Some(rest)),
        Some(("https", rest)) => (true, Some(rest)),
        Some(_) | None => (false, None),
    };
    let (host, path) = match rest {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("localhost", text),
    };
    let path = if path.is_empty() && rest.is_some() { "/" } else { path };
    if host.is_empty() || !path.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be a path (\"/health\") or a URL (\"http://www.example.org/health\")".to_owned());
    }
    Ok(CheckTarget { path: path.to_owned(), host: host.to_owned(), https })
}

/// `server.process_name`.
pub(super) fn process_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty: write a name, as \"rwsgi\"".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character: write a name on one line".to_owned());
    }
    Ok(text.to_owned())
}

/// A field value that may be sent (RFC 9110 §5.5): visible ASCII, spaces between.
pub(super) fn field(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && text.trim() == text {
        Ok(text.to_owned())
    } else {
        Err("cannot be a header's value: write printable ASCII without spaces around it".to_owned())
    }
}

/// `log.access_format`.
pub(super) fn access_format(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty: write \"combined\", \"json\" or a format of atoms".to_owned()),
        "combined" | "json" => Ok(text.to_owned()),
        format => AccessFormat::parse(format).map(|_| format.to_owned()),
    }
}

/// `log.access_exclude`: paths, or `/prefix/*`.
pub(super) fn url_paths(items: &[&str]) -> Result<Vec<String>, String> {
    items
        .iter()
        .map(|item| {
            let exact = item.strip_suffix('*').unwrap_or(item);
            if !item.starts_with('/') {
                Err(format!("has \"{item}\": a path begins with a slash, \"/{item}\""))
            } else if exact.contains('*') || (exact.len() < item.len() && !exact.ends_with('/')) {
                Err(format!("has \"{item}\": a star stands only at the end, after a slash, as \"/static/*\""))
            } else if exact.contains(['?', '#']) {
                Err(format!("has \"{item}\": the query is not looked at, write the path alone"))
            } else {
                Ok((*item).to_owned())
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        for (text, prefix) in [("", ""), ("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a/b//", "/a/b")] {
            assert_eq!(mount(text), Ok(prefix.to_owned()), "{text}");
        }
        for (text, said) in [
            ("a", "must begin with a slash: write \"/a\""),
            ("/a?b", "has a ?: write the path alone, as \"/prefix\""),
            ("/a#b", "has a #: write the path alone, as \"/prefix\""),
            ("/a b", "has a space or control character: write a path, as \"/prefix\""),
            ("/a/../b", "has an empty, . or .. segment: write the path as clients see it, as \"/prefix\""),
            ("/..", "has an empty, . or .. segment: write the path as clients see it, as \"/prefix\""),
            ("/a//b", "has an empty, . or .. segment: write the path as clients see it, as \"/prefix\""),
        ] {
            assert_eq!(mount(text), Err(said.to_owned()), "{text}");
        }
    }

    #[test]
    fn server_header_values() {
        for text in ["", "rwsgi", "a b (c)/1.0"] {
            assert_eq!(field(text), Ok(text.to_owned()));
        }
        for text in ["a\r\nX: y", " a", "a ", "é", "a\tb", "\u{7f}"] {
            assert!(field(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn process_names() {
        assert!(process_name("shop").is_ok());
        for text in ["", " ", "a\nb", "a\0"] {
            assert!(process_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn excluded_paths() {
        let good = ["/", "/healthz", "/static/*", "/*"];
        assert_eq!(url_paths(&good), Ok(good.map(str::to_owned).to_vec()));
        for (item, said) in [
            ("healthz", "has \"healthz\": a path begins with a slash, \"/healthz\""),
            ("/a*", "has \"/a*\": a star stands only at the end, after a slash, as \"/static/*\""),
            ("/*/a", "has \"/*/a\": a star stands only at the end, after a slash, as \"/static/*\""),
            ("/a?b", "has \"/a?b\": the query is not looked at, write the path alone"),
        ] {
            assert_eq!(url_paths(&[item]), Err(said.to_owned()), "{item}");
        }
    }
}
