//! The Forwarded field (RFC 7239 §4): a list of elements, each a set of pairs.
//!
//! `:`, `[` and `]` are taken outside quotes too (`for=192.0.2.1:80`): many proxies leave the quotes out, and it can
//! be read in one way only. White space is allowed around `;` for the same reason.

use super::OriginError;

/// What one proxy says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// `for=`: whom the proxy was called by.
    pub(super) node: Option<Vec<u8>>,
    /// `proto=`
    pub(super) proto: Option<Vec<u8>>,
    /// `host=`
    pub(super) host: Option<Vec<u8>>,
}

/// Appends the elements of one field line. A line that cannot be read to its end is refused as a whole: after a quote
/// that a client left open, nobody can tell which part a trusted proxy added.
pub(super) fn parse(line: &[u8], elements: &mut Vec<Element>) -> Result<(), OriginError> {
    let mut rest = line.trim_ascii_start();
    loop {
        let mut element = Element::default();
        let mut seen = Vec::new();
        loop {
            let (pair, tail) = parse_pair(rest)?;
            if let Some((name, value)) = pair {
                // RFC 7239 §4: no parameter more than once in an element.
                let name = name.to_ascii_lowercase();
                if seen.contains(&name) {
                    return Err(OriginError::Malformed);
                }
                match name.as_slice() {
                    b"for" => element.node = Some(value),
                    b"proto" => element.proto = Some(value),
                    b"host" => element.host = Some(value),
                    // `by` and extensions (§5.5) decide nothing here.
                    _ => {}
                }
                seen.push(name);
            }
            rest = tail.trim_ascii_start();
            match rest.strip_prefix(b";") {
                Some(tail) => rest = tail.trim_ascii_start(),
                None => break,
            }
        }
        if seen.is_empty() {
            return Err(OriginError::Malformed);
        }
        elements.push(element);
        match rest.split_first() {
            None => return Ok(()),
            Some((b',', tail)) => rest = tail.trim_ascii_start(),
            Some(_) => return Err(OriginError::Malformed),
        }
    }
}

type Pair<'a> = (&'a [u8], Vec<u8>);

/// `token "=" ( token / quoted-string )`, or nothing, and what follows.
fn parse_pair(text: &[u8]) -> Result<(Option<Pair<'_>>, &[u8]), OriginError> {
    let (name, rest) = split_while(text, is_token);
    if name.is_empty() {
        return Ok((None, rest));
    }
    let rest = rest.strip_prefix(b"=").ok_or(OriginError::Malformed)?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let (value, rest) = parse_quoted(quoted)?;
        return Ok((Some((name, value)), rest));
    }
    let (value, rest) = split_while(rest, |byte| is_token(byte) || b":[]".contains(&byte));
    if value.is_empty() {
        return Err(OriginError::Malformed);
    }
    Ok((Some((name, value.to_vec())), rest))
}

/// The rest of a quoted-string after its first quote (RFC 9110 §5.6.4), and what follows it.
fn parse_quoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), OriginError> {
    let mut value = Vec::new();
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return Ok((value, bytes.as_slice())),
            b'\\' => value.push(*bytes.next().ok_or(OriginError::Malformed)?),
            _ => value.push(byte),
        }
    }
    Err(OriginError::Malformed)
}

fn split_while(text: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&byte| !belongs(byte)).unwrap_or(text.len()))
}

/// RFC 9110 §5.6.2
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Vec<Element>, OriginError> {
        let mut elements = Vec::new();
        parse(line.as_bytes(), &mut elements).map(|()| elements)
    }

    fn element(node: &str, proto: &str, host: &str) -> Element {
        let value = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        Element { node: value(node), proto: value(proto), host: value(host) }
    }

    #[test]
    fn examples_of_rfc_7239_section_4() {
        assert_eq!(parsed("for=\"_gazonk\""), Ok(vec![element("_gazonk", "", "")]));
        assert_eq!(
            parsed("For=\"[2001:db8:cafe::17]:4711\""),
            Ok(vec![element("[2001:db8:cafe::17]:4711", "", "")])
        );
        assert_eq!(
            parsed("for=192.0.2.60;proto=http;by=203.0.113.43"),
            Ok(vec![element("192.0.2.60", "http", "")])
        );
        assert_eq!(
            parsed("for=192.0.2.43, for=198.51.100.17"),
            Ok(vec![element("192.0.2.43", "", ""), element("198.51.100.17", "", "")])
        );
    }

    #[test]
    fn quotes_hide_separators_and_backslashes_quote() {
        assert_eq!(parsed("host=\"a,b;c\\\"d\" ; proto=https"), Ok(vec![element("", "https", "a,b;c\"d")]));
        assert_eq!(
            parsed("host=a.example:80;for=1.2.3.4;"),
            Ok(vec![element("1.2.3.4", "", "a.example:80")])
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_as_a_whole() {
        for broken in [
            "",
            ",",
            "for",
            "for=",
            "=x",
            "for=a,",
            ",for=a",
            ";",
            "for =a",
            "for= a",
            "for=a b",
            "for=\"a",
            "for=\"a\\",
            "for=\"a\"b",
            "for=a;for=b",
            "for=a;FOR=a",
            "for=\"evil, for=\"192.0.2.1\"",
            "for=a,,for=b",
            "for=ä",
        ] {
            assert_eq!(parsed(broken), Err(OriginError::Malformed), "{broken:?}");
        }
    }
}
