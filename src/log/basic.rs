//! The user of basic authentication (RFC 7617), for the access log. The password is not checked: that is the
//! application's or the proxy's business.

/// The user name in the value of an Authorization header; `None` when there is none or it cannot be read.
#[must_use]
pub fn basic_user(authorization: &[u8]) -> Option<String> {
    let space = authorization.iter().position(|&byte| byte == b' ')?;
    let (scheme, credentials) = authorization.split_at(space);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let decoded = decode_base64(credentials.trim_ascii())?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let user = &decoded[..colon];
    if user.is_empty() {
        return None;
    }
    // RFC 7617 §2.1 leaves the charset open; what is not UTF-8 is taken for Latin-1.
    Some(
        std::str::from_utf8(user)
            .map_or_else(|_| user.iter().copied().map(char::from).collect(), str::to_owned),
    )
}

/// RFC 4648 §4, padding optional; `None` for anything that is not base64.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let unpadded = match text {
        [rest @ .., b'=', b'='] | [rest @ .., b'='] if text.len() % 4 == 0 => rest,
        _ => text,
    };
    let mut out = Vec::with_capacity(unpadded.len() / 4 * 3 + 2);
    for group in unpadded.chunks(4) {
        let mut bits = 0;
        for &byte in group {
            bits = bits << 6 | u32::from(sextet(byte)?);
        }
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => out.extend(&bytes[1..]),
            3 => out.extend(&bytes[1..3]),
            2 => out.push(bytes[1]),
            _ => return None,
        }
    }
    Some(out)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_vectors_of_rfc_4648_section_10() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
        ] {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(decode_base64(b"Zg").as_deref(), Some(&b"f"[..]), "without padding");
        for broken in ["Z", "Zg=", "Zm9v!", "=Zg=", "Zm 9v", "===="] {
            assert_eq!(decode_base64(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn the_user_is_what_stands_before_the_first_colon() {
        assert_eq!(basic_user(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(), Some("Aladdin"));
        assert_eq!(basic_user(b"bAsIc  YTpiOmM=").as_deref(), Some("a"));
        assert_eq!(basic_user(b"Basic 5Dpw").as_deref(), Some("\u{e4}"), "Latin-1");
        assert_eq!(basic_user(b"Basic w6Q6cA==").as_deref(), Some("\u{e4}"), "UTF-8");
    }

    #[test]
    fn anything_else_has_no_user() {
        for value in
            [&b""[..], b"Basic", b"Basic ", b"Bearer QWxhZGRpbjpv", b"Basic OnB3", b"Basic Zm9v", b"Basic %%"]
        {
            assert_eq!(basic_user(value), None, "{}", String::from_utf8_lossy(value));
        }
    }
}
