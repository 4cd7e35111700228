//! The rules on fields that concern the whole message, each field looked at once; and the way from a scanned head to a
//! [`RequestHead`] for heads that came in pieces or look unusual: httparse reads their field section.

use httparse::{EMPTY_HEADER, Header};

use super::error::Reject;
use super::field::{ConnectionOptions, check_expectation};
use super::framing::Framing;
use super::host::is_authority;
use super::known::{KnownField, KnownFields};
use super::request::{FieldSpan, RequestBodyLength, RequestHead, Span, Version};
use super::request_line::RequestLine;

/// Heads with up to so many fields are parsed without a temporary allocation; browsers send about twenty.
const FIELDS_ON_STACK: usize = 48;

/// Reads `bytes`, a whole scanned head with `field_count` fields that begin at `section_start`.
///
/// # Errors
/// The rule that the head breaks.
pub(super) fn read(
    bytes: &[u8],
    line: &RequestLine,
    section_start: usize,
    field_count: usize,
    into: &mut RequestHead,
) -> Result<(), Reject> {
    into.clear();
    let mut facts = Facts::new(line.version);
    if field_count <= FIELDS_ON_STACK {
        read_fields(bytes, section_start, &mut [EMPTY_HEADER; FIELDS_ON_STACK], &mut facts, into)?;
    } else {
        read_fields(bytes, section_start, &mut vec![EMPTY_HEADER; field_count], &mut facts, into)?;
    }
    facts.finish(bytes, line, section_start, into)
}

fn read_fields<'b>(
    bytes: &'b [u8],
    section_start: usize,
    slots: &mut [Header<'b>],
    facts: &mut Facts,
    into: &mut RequestHead,
) -> Result<(), Reject> {
    // The scanner has checked every line, so httparse finds nothing wrong; if the two ever disagreed, the
    // request would be refused.
    let section = &bytes[section_start..];
    let fields = match httparse::parse_headers(section, slots) {
        Ok(httparse::Status::Complete((consumed, fields))) if consumed == section.len() => fields,
        Ok(_) | Err(_) => return Err(Reject::FieldName),
    };
    for field in fields {
        let name = field.name.as_bytes();
        // `A_B` and `A-B` are one variable in the environ of WSGI: only one of them may get there.
        if name.contains(&b'_') {
            continue;
        }
        let value = Span::of(bytes, field.value)?;
        let field_span = FieldSpan { name: Span::of(bytes, name)?, value, known: KnownField::of(name) };
        facts.add(field_span, field.value, into)?;
    }
    Ok(())
}

/// The fields that a rule concerns.
const RULED: KnownFields = KnownFields::of(&[
    KnownField::Host,
    KnownField::Connection,
    KnownField::ContentLength,
    KnownField::TransferEncoding,
    KnownField::Expect,
]);

/// What the fields of one head say, one after the other.
#[derive(Debug)]
pub(super) struct Facts {
    version: Version,
    framing: Framing,
    connection: ConnectionOptions,
    expects_continue: bool,
}

impl Facts {
    /// Nothing yet.
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            framing: Framing::default(),
            connection: ConnectionOptions::default(),
            expects_continue: false,
        }
    }

    /// Takes in a field of that value and adds it to the head.
    ///
    /// # Errors
    /// The rule that the field breaks.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        field: FieldSpan,
        value: &[u8],
        into: &mut RequestHead,
    ) -> Result<(), Reject> {
        if let Some(known) = field.known {
            if RULED.contains(known) {
                self.note(known, value, field.value, into)?;
            }
            into.known.insert(known);
        }
        into.fields.push(field);
        Ok(())
    }

    #[inline(never)]
    fn note(
        &mut self,
        known: KnownField,
        value: &[u8],
        span: Span,
        into: &mut RequestHead,
    ) -> Result<(), Reject> {
        if known == KnownField::Host {
            // RFC 9112 §3.2: two Host fields are refused in every version.
            if into.host.is_some() {
                return Err(Reject::HostRepeated);
            }
            into.host = Some(span);
            if !is_authority(value) {
                return Err(Reject::HostInvalid);
            }
        } else if known == KnownField::Connection {
            self.connection.add(value);
        } else if known == KnownField::ContentLength {
            self.framing.add_content_length(value)?;
        } else if known == KnownField::TransferEncoding {
            self.framing.add_transfer_encoding(value)?;
        } else if known == KnownField::Expect && self.version == Version::Http11 {
            check_expectation(value)?;
            self.expects_continue = true;
        }
        Ok(())
    }

    /// Decides what follows from all fields and completes the head.
    ///
    /// # Errors
    /// The rule that the fields break together.
    pub(super) fn finish(
        &self,
        bytes: &[u8],
        line: &RequestLine,
        section_start: usize,
        into: &mut RequestHead,
    ) -> Result<(), Reject> {
        into.body_length = self.framing.resolve(self.version)?;
        if into.host.is_none() && self.version == Version::Http11 {
            return Err(Reject::HostMissing);
        }
        // RFC 9112 §3.2.2: with an absolute-form target the Host field, which must be there and well-formed all the
        // same, is ignored.
        into.host = line.authority.or(into.host);
        into.keep_alive = self.connection.persists(self.version == Version::Http11);
        // RFC 9110 §10.1.1: nothing to wait for without a body.
        into.expects_continue = self.expects_continue && into.body_length != RequestBodyLength::None;
        into.section = Span::of(bytes, &bytes[section_start..bytes.len() - 2])?;
        into.line = *line;
        into.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
