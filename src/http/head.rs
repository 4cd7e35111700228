//! From a complete, scanned head to a [`RequestHead`]: httparse reads the field section, then the rules on fields
//! that concern the whole message are applied, each field looked at once.

use bytes::Bytes;
use httparse::{EMPTY_HEADER, Header};

use super::error::Reject;
use super::field::{ConnectionOptions, check_expectation};
use super::framing::Framing;
use super::host::is_authority;
use super::request::{FieldSpan, RequestBodyLength, RequestHead, Span, Version};
use super::request_line::RequestLine;

/// Heads with up to so many fields are parsed without a temporary allocation; browsers send about twenty.
const FIELDS_ON_STACK: usize = 48;

/// Parses `bytes`, a whole head with `field_count` fields that begin at `fields_start`.
///
/// # Errors
/// The rule that the head breaks.
pub(super) fn parse(
    bytes: Bytes,
    line: RequestLine,
    fields_start: usize,
    field_count: usize,
) -> Result<RequestHead, Reject> {
    let facts = if field_count <= FIELDS_ON_STACK {
        Facts::read(&bytes, &line, fields_start, &mut [EMPTY_HEADER; FIELDS_ON_STACK])?
    } else {
        Facts::read(&bytes, &line, fields_start, &mut vec![EMPTY_HEADER; field_count])?
    };
    let Facts { fields, host, framing, connection, expects_continue } = facts;
    let body_length = framing.resolve(line.version)?;
    let host = resolve_host(&line, host)?;
    Ok(RequestHead {
        bytes,
        line,
        fields,
        host,
        body_length,
        keep_alive: connection.persists(line.version == Version::Http11),
        // RFC 9110 §10.1.1: nothing to wait for without a body.
        expects_continue: expects_continue && body_length != RequestBodyLength::None,
    })
}

/// What the fields of one head say.
#[derive(Debug, Default)]
struct Facts {
    fields: Vec<FieldSpan>,
    host: Option<Span>,
    framing: Framing,
    connection: ConnectionOptions,
    expects_continue: bool,
}

impl Facts {
    fn read<'b>(
        bytes: &'b [u8],
        line: &RequestLine,
        fields_start: usize,
        slots: &mut [Header<'b>],
    ) -> Result<Self, Reject> {
        // The scanner has checked every line, so httparse finds nothing wrong; if the two ever disagreed, the
        // request would be refused.
        let section = &bytes[fields_start..];
        let fields = match httparse::parse_headers(section, slots) {
            Ok(httparse::Status::Complete((consumed, fields))) if consumed == section.len() => fields,
            Ok(_) | Err(_) => return Err(Reject::FieldName),
        };
        let mut facts = Self { fields: Vec::with_capacity(fields.len()), ..Self::default() };
        for field in fields {
            let name = field.name.as_bytes();
            // `A_B` and `A-B` are one variable in the environ of WSGI: only one of them may get there.
            if name.contains(&b'_') {
                continue;
            }
            let value = Span::of(bytes, field.value)?;
            facts.note(name, field.value, value, line.version)?;
            facts.fields.push(FieldSpan { name: Span::of(bytes, name)?, value });
        }
        Ok(facts)
    }

    fn note(&mut self, name: &[u8], value: &[u8], span: Span, version: Version) -> Result<(), Reject> {
        // The length sorts out nearly all names before any letter is compared.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                // RFC 9112 §3.2: two Host fields are refused in every version.
                if self.host.is_some() {
                    return Err(Reject::HostRepeated);
                }
                self.host = Some(span);
                if !is_authority(value) {
                    return Err(Reject::HostInvalid);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") && version == Version::Http11 => {
                check_expectation(value)?;
                self.expects_continue = true;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection.add(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.framing.add_content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.framing.add_transfer_encoding(value)?
            }
            _ => {}
        }
        Ok(())
    }
}

/// The host that is asked for. RFC 9112 §3.2.2: with an absolute-form target the Host field, which must be there and
/// well-formed all the same, is ignored.
fn resolve_host(line: &RequestLine, host: Option<Span>) -> Result<Option<Span>, Reject> {
    if host.is_none() && line.version == Version::Http11 {
        return Err(Reject::HostMissing);
    }
    Ok(line.authority.or(host))
}
