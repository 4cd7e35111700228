//! How the body of a request is delimited: Content-Length and Transfer-Encoding (RFC 9112 §6). This is where
//! requests are smuggled, so nothing is repaired and nothing is guessed.

use super::error::Reject;
use super::request::{RequestBodyLength, Version};
use super::syntax::{decimal, is_token, list};

/// The framing fields of one head, taken in one by one.
#[derive(Debug, Default)]
pub(super) struct Framing {
    content_length: Option<u64>,
    encoding: Option<Encoding>,
}

/// The transfer codings seen so far, over all Transfer-Encoding fields: they make one list (RFC 9110 §5.3).
#[derive(Debug, Default)]
struct Encoding {
    chunked: u32,
    others: u32,
    last_is_chunked: bool,
}

impl Framing {
    /// Takes in one Content-Length field.
    ///
    /// # Errors
    /// RFC 9110 §8.6 lets a recipient accept `5, 5` and repeated equal fields; we refuse both, and any sign.
    pub(super) fn add_content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.content_length.is_some() {
            return Err(Reject::ContentLengthRepeated);
        }
        self.content_length = Some(decimal(value).ok_or(Reject::ContentLengthInvalid)?);
        Ok(())
    }

    /// Takes in one Transfer-Encoding field.
    ///
    /// # Errors
    /// RFC 9112 §6.1, §7: an element that is empty or no plain name (parameters, quotes). No coding that is in use
    /// has parameters.
    pub(super) fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reject> {
        let encoding = self.encoding.get_or_insert_with(Encoding::default);
        for coding in list(value) {
            if !is_token(coding) {
                return Err(Reject::EncodingInvalid);
            }
            encoding.last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
            if encoding.last_is_chunked {
                encoding.chunked += 1;
            } else {
                encoding.others += 1;
            }
        }
        Ok(())
    }

    /// Decides (RFC 9112 §6.3).
    ///
    /// # Errors
    /// Both fields together, Transfer-Encoding on HTTP/1.0, or codings other than one `chunked`.
    pub(super) fn resolve(&self, version: Version) -> Result<RequestBodyLength, Reject> {
        let Some(encoding) = &self.encoding else {
            return Ok(match self.content_length {
                None | Some(0) => RequestBodyLength::None,
                Some(length) => RequestBodyLength::Length(length),
            });
        };
        if self.content_length.is_some() {
            return Err(Reject::LengthAndEncoding);
        }
        if version == Version::Http10 {
            return Err(Reject::EncodingOnHttp10);
        }
        if encoding.chunked > 1 {
            return Err(Reject::ChunkedRepeated);
        }
        if !encoding.last_is_chunked {
            return Err(Reject::EncodingNotChunked);
        }
        if encoding.others > 0 {
            return Err(Reject::EncodingUnsupported);
        }
        Ok(RequestBodyLength::Chunked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(lengths: &[&str], encodings: &[&str], version: Version) -> Result<RequestBodyLength, Reject> {
        let mut framing = Framing::default();
        for value in lengths {
            framing.add_content_length(value.as_bytes())?;
        }
        for value in encodings {
            framing.add_transfer_encoding(value.as_bytes())?;
        }
        framing.resolve(version)
    }

    #[test]
    fn content_length() {
        let length = |values: &[&str]| framing(values, &[], Version::Http11);
        assert_eq!(length(&[]), Ok(RequestBodyLength::None));
        assert_eq!(length(&["0"]), Ok(RequestBodyLength::None));
        assert_eq!(length(&["5"]), Ok(RequestBodyLength::Length(5)));
        assert_eq!(length(&["005"]), Ok(RequestBodyLength::Length(5)));
        assert_eq!(length(&["5", "5"]), Err(Reject::ContentLengthRepeated));
        for bad in [
            "",
            "+5",
            "-5",
            "5, 5",
            "5,",
            "0x5",
            "5 5",
            "5.0",
            "1e1",
            "5_0",
            "18446744073709551616",
            "\u{665}",
        ] {
            assert_eq!(length(&[bad]), Err(Reject::ContentLengthInvalid), "{bad}");
        }
    }

    #[test]
    fn transfer_encoding() {
        let encoding = |values: &[&str]| framing(&[], values, Version::Http11);
        for good in ["chunked", "Chunked", "CHUNKED"] {
            assert_eq!(encoding(&[good]), Ok(RequestBodyLength::Chunked), "{good}");
        }
        for bad in
            ["", ",chunked", "chunked,", "chunked;q=1", "\"chunked\"", "'chunked", "chun ked", "chunked\u{b}"]
        {
            let refused = encoding(&[bad]).err();
            assert!(matches!(refused, Some(Reject::EncodingInvalid | Reject::EncodingNotChunked)), "{bad}");
        }
        for bad in ["xchunked", "identity", "gzip", "chunked, identity", "chunked, gzip", "x"] {
            assert_eq!(encoding(&[bad]), Err(Reject::EncodingNotChunked), "{bad}");
        }
        for bad in ["gzip, chunked", "xchunked,chunked", "identity, chunked"] {
            assert_eq!(encoding(&[bad]), Err(Reject::EncodingUnsupported), "{bad}");
        }
        assert_eq!(encoding(&["chunked, chunked"]), Err(Reject::ChunkedRepeated));
        assert_eq!(encoding(&["chunked", "Chunked"]), Err(Reject::ChunkedRepeated));
        assert_eq!(encoding(&["chunked", "gzip", "chunked"]), Err(Reject::ChunkedRepeated));
        assert_eq!(encoding(&["gzip", "chunked"]), Err(Reject::EncodingUnsupported));
        assert_eq!(encoding(&["chunked", "identity"]), Err(Reject::EncodingNotChunked));
    }

    #[test]
    fn both_and_old_versions() {
        assert_eq!(framing(&["5"], &["chunked"], Version::Http11), Err(Reject::LengthAndEncoding));
        assert_eq!(framing(&["0"], &["chunked"], Version::Http10), Err(Reject::LengthAndEncoding));
        assert_eq!(framing(&[], &["chunked"], Version::Http10), Err(Reject::EncodingOnHttp10));
        assert_eq!(framing(&["5"], &[], Version::Http10), Ok(RequestBodyLength::Length(5)));
    }
}
