//! The atoms of an access format, as gunicorn names them: `%(h)s`, `%({referer}i)s`, and what they stand for.

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text between atoms.
    Literal(String),
    /// A value of the entry.
    Atom(Atom),
}

/// A value of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Atom {
    RemoteAddress,
    Nothing,
    User,
    Time,
    RequestLine,
    Method,
    Target,
    Path,
    Query,
    Protocol,
    Status,
    BodyBytes,
    BodyBytesOrDash,
    Seconds,
    Milliseconds,
    Microseconds,
    DecimalSeconds,
    Process,
    RequestId,
    /// Name in lower case.
    RequestField(String),
    /// Name in lower case.
    ResponseField(String),
}

/// The atoms that stand for one value; `%({name}i)s`, `%({name}o)s` and `%({name}e)s` besides.
const NAMES: &str = "h l u t r m U q H s B b f a T M D L p id";

/// The variables of the environ that an entry knows.
const VARIABLES: &str = "REQUEST_METHOD RAW_URI REQUEST_URI QUERY_STRING SERVER_PROTOCOL REMOTE_ADDR REMOTE_USER \
                         CONTENT_TYPE CONTENT_LENGTH HTTP_*";

/// Splits a format into its pieces.
///
/// # Errors
/// One sentence: what is wrong and what to write instead.
pub(super) fn parse_pieces(format: &str) -> Result<Vec<Piece>, String> {
    if format.trim().is_empty() {
        return Err("the format is empty: write combined, json or atoms such as %(h)s".to_owned());
    }
    if let Some(control) = format.chars().find(|character| character.is_control() && *character != '\t') {
        return Err(format!("the format holds the control character {control:?}: a line is one record"));
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('%') {
            literal.push('%');
            rest = tail;
            continue;
        }
        let (name, tail) = split_atom(after)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Atom(atom(name)?));
        rest = tail;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Atom(_))) {
        return Err(format!("{format:?} has no atoms: write combined, json or atoms such as %(h)s"));
    }
    Ok(pieces)
}

/// The name of the atom whose `%` stands before `after`, and what follows the atom.
fn split_atom(after: &str) -> Result<(&str, &str), String> {
    let Some(open) = after.strip_prefix('(') else {
        let letter: String = after.chars().take(1).collect();
        return Err(match letter.as_str() {
            "" => "the format ends in %: write %% for a percent sign".to_owned(),
            _ if NAMES.split(' ').any(|name| name == letter) => {
                format!("%{letter} is not an atom: write %({letter})s")
            }
            _ => format!("%{letter} is not an atom: write %(name)s, or %% for a percent sign"),
        });
    };
    let Some((name, tail)) = open.split_once(')') else {
        return Err(format!("%({open} has no closing parenthesis: write %(name)s"));
    };
    match tail.strip_prefix('s') {
        Some(tail) => Ok((name, tail)),
        None => Err(format!("%({name}) must end in s: write %({name})s")),
    }
}

fn atom(name: &str) -> Result<Atom, String> {
    if let Some((inner, kind)) = name.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        return keyed_atom(name, inner, kind);
    }
    Ok(match name {
        "h" => Atom::RemoteAddress,
        "l" => Atom::Nothing,
        "u" => Atom::User,
        "t" => Atom::Time,
        "r" => Atom::RequestLine,
        "m" => Atom::Method,
        "U" => Atom::Path,
        "q" => Atom::Query,
        "H" => Atom::Protocol,
        "s" => Atom::Status,
        "B" => Atom::BodyBytes,
        "b" => Atom::BodyBytesOrDash,
        "f" => Atom::RequestField("referer".to_owned()),
        "a" => Atom::RequestField("user-agent".to_owned()),
        "T" => Atom::Seconds,
        "M" => Atom::Milliseconds,
        "D" => Atom::Microseconds,
        "L" => Atom::DecimalSeconds,
        "p" => Atom::Process,
        "id" => Atom::RequestId,
        _ => return Err(unknown(name)),
    })
}

fn keyed_atom(name: &str, inner: &str, kind: &str) -> Result<Atom, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if inner.is_empty() || !inner.bytes().all(is_token) {
        return Err(format!("%({name})s: {inner:?} is not a name"));
    }
    match kind {
        "i" => Ok(Atom::RequestField(inner.to_ascii_lowercase())),
        "o" => Ok(Atom::ResponseField(inner.to_ascii_lowercase())),
        "e" => variable(&inner.to_ascii_uppercase())
            .ok_or_else(|| format!("%({name})s: the log does not see {inner}: it knows {VARIABLES}")),
        _ => Err(format!(
            "%({name})s is not an atom: write %({{{inner}}}i)s for a request header, o for a response header, e for a \
             variable of the environ"
        )),
    }
}

fn variable(name: &str) -> Option<Atom> {
    match name {
        "REQUEST_METHOD" => Some(Atom::Method),
        "RAW_URI" | "REQUEST_URI" => Some(Atom::Target),
        "QUERY_STRING" => Some(Atom::Query),
        "SERVER_PROTOCOL" => Some(Atom::Protocol),
        "REMOTE_ADDR" => Some(Atom::RemoteAddress),
        "REMOTE_USER" => Some(Atom::User),
        "CONTENT_TYPE" => Some(Atom::RequestField("content-type".to_owned())),
        "CONTENT_LENGTH" => Some(Atom::RequestField("content-length".to_owned())),
        _ => {
            let field = name.strip_prefix("HTTP_").filter(|field| !field.is_empty())?;
            Some(Atom::RequestField(field.replace('_', "-").to_ascii_lowercase()))
        }
    }
}

/// The sentence for an unknown atom. Names are one or two letters, so nearness is letter case and common letters.
fn unknown(name: &str) -> String {
    let nearest = NAMES
        .split(' ')
        .map(|known| (strsim::jaro(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.6)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, known)) => format!("%({name})s is not an atom: did you mean %({known})s?"),
        None => format!("%({name})s is not an atom: there are {NAMES}, and {{name}}i, {{name}}o, {{name}}e"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(format: &str) -> String {
        parse_pieces(format).unwrap_err()
    }

    #[test]
    fn every_name_that_the_messages_list_is_an_atom() {
        for name in NAMES.split(' ') {
            assert_eq!(parse_pieces(&format!("%({name})s")).map(|pieces| pieces.len()), Ok(1), "{name}");
        }
        for name in VARIABLES.split_whitespace() {
            let name = name.replace('*', "X_FORWARDED_FOR");
            assert_eq!(parse_pieces(&format!("%({{{name}}}e)s")).map(|pieces| pieces.len()), Ok(1), "{name}");
        }
    }

    #[test]
    fn literals_atoms_and_percent_signs() {
        let field = |name: &str| Piece::Atom(Atom::RequestField(name.to_owned()));
        let literal = |text: &str| Piece::Literal(text.to_owned());
        assert_eq!(
            parse_pieces("100%% %(s)s%({X-Real-IP}i)s é%({http_x_y}e)s").unwrap(),
            [literal("100% "), Piece::Atom(Atom::Status), field("x-real-ip"), literal(" é"), field("x-y")]
        );
        assert_eq!(
            parse_pieces("%({Server}o)s.").unwrap(),
            [Piece::Atom(Atom::ResponseField("server".to_owned())), literal(".")]
        );
    }

    #[test]
    fn errors_say_what_to_write() {
        assert_eq!(error("%(R)s"), "%(R)s is not an atom: did you mean %(r)s?");
        assert_eq!(error("%(ib)s"), "%(ib)s is not an atom: did you mean %(id)s?");
        assert!(error("%(x)s").starts_with("%(x)s is not an atom: there are h l u t "));
        assert_eq!(error("%h"), "%h is not an atom: write %(h)s");
        assert_eq!(error("50%"), "the format ends in %: write %% for a percent sign");
        assert_eq!(error("%ä"), "%ä is not an atom: write %(name)s, or %% for a percent sign");
        assert_eq!(error("%(D)d"), "%(D) must end in s: write %(D)s");
        assert_eq!(error("%(h"), "%(h has no closing parenthesis: write %(name)s");
        assert!(
            error("%({PATH_INFO}e)s")
                .starts_with("%({PATH_INFO}e)s: the log does not see PATH_INFO: it knows ")
        );
        assert!(error("%({referer}x)s").starts_with("%({referer}x)s is not an atom: write %({referer}i)s "));
        assert_eq!(error("%({a b}i)s"), "%({a b}i)s: \"a b\" is not a name");
        assert!(error("combinde").contains("has no atoms"));
        assert!(error(" ").contains("empty"));
        assert!(error("%(h)s\n").contains("control character"));
    }
}
