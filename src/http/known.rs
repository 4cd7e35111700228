//! The names of request fields that clients and proxies usually send, so that who handles a field compares a number
//! instead of a text.
//!
//! A name is known by the four words of its lower-case bytes: a multiplication leads to the one entry that it can be,
//! and a comparison of words settles it. The table is computed and checked at compile time.

use super::words::WORD;

/// Words that hold every known name. Names are filled up with zeros.
pub(super) const WORDS: usize = 4;

/// A name in lower case, filled up with zeros.
pub(super) type NameWords = [u64; WORDS];

/// Spreads the known names over [`SLOTS`] without a collision; found by trying, and checked when the table is built.
const MULTIPLIER: u64 = 0x843e_3e7a_87c2_3729;
const SLOTS: usize = 256;

/// No known name: empty names do not exist.
const NO_NAME: NameWords = [0; WORDS];

macro_rules! known_fields {
    ($($variant:ident $name:literal,)*) => {
        /// A field name that requests usually have.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum KnownField {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
        }

        impl KnownField {
            /// All of them, each at its index.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            const NAMES: [&'static str; Self::ALL.len()] = [$($name),*];
        }
    };
}

known_fields! {
    Accept "accept",
    AcceptCharset "accept-charset",
    AcceptEncoding "accept-encoding",
    AcceptLanguage "accept-language",
    AccessControlRequestHeaders "access-control-request-headers",
    AccessControlRequestMethod "access-control-request-method",
    Authorization "authorization",
    CacheControl "cache-control",
    Connection "connection",
    ContentEncoding "content-encoding",
    ContentLength "content-length",
    ContentType "content-type",
    Cookie "cookie",
    Date "date",
    Dnt "dnt",
    Expect "expect",
    Forwarded "forwarded",
    From "from",
    FrontEndHttps "front-end-https",
    Host "host",
    IfMatch "if-match",
    IfModifiedSince "if-modified-since",
    IfNoneMatch "if-none-match",
    IfRange "if-range",
    IfUnmodifiedSince "if-unmodified-since",
    KeepAlive "keep-alive",
    MaxForwards "max-forwards",
    Origin "origin",
    Pragma "pragma",
    Priority "priority",
    ProxyAuthorization "proxy-authorization",
    ProxyConnection "proxy-connection",
    Range "range",
    Referer "referer",
    SecChUa "sec-ch-ua",
    SecChUaMobile "sec-ch-ua-mobile",
    SecChUaPlatform "sec-ch-ua-platform",
    SecFetchDest "sec-fetch-dest",
    SecFetchMode "sec-fetch-mode",
    SecFetchSite "sec-fetch-site",
    SecFetchUser "sec-fetch-user",
    SecGpc "sec-gpc",
    Te "te",
    Trailer "trailer",
    Traceparent "traceparent",
    Tracestate "tracestate",
    TransferEncoding "transfer-encoding",
    Upgrade "upgrade",
    UpgradeInsecureRequests "upgrade-insecure-requests",
    UserAgent "user-agent",
    Via "via",
    XCsrftoken "x-csrftoken",
    XForwardedFor "x-forwarded-for",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    XForwardedPrefix "x-forwarded-prefix",
    XForwardedProto "x-forwarded-proto",
    XForwardedProtocol "x-forwarded-protocol",
    XForwardedScheme "x-forwarded-scheme",
    XForwardedSsl "x-forwarded-ssl",
    XRealIp "x-real-ip",
    XRequestId "x-request-id",
    XRequestedWith "x-requested-with",
}

impl KnownField {
    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The place in [`Self::ALL`], for tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The known field of this name, in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        // A zero at the end would be taken for what names are filled up with.
        if name.last() == Some(&0) {
            return None;
        }
        let mut bytes = [0; WORD * WORDS];
        let place = bytes.get_mut(..name.len())?;
        place.copy_from_slice(name);
        place.make_ascii_lowercase();
        Self::of_words(&words_of(&bytes))
    }

    /// The known field of a name in words of lower case.
    pub(super) fn of_words(words: &NameWords) -> Option<Self> {
        let (name, field) = &TABLE[slot(words)];
        if name == words { *field } else { None }
    }
}

/// A set of known fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownFields(u64);

impl KnownFields {
    /// The set of these fields.
    #[must_use]
    pub const fn of(fields: &[KnownField]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < fields.len() {
            bits |= 1 << fields[index].index();
            index += 1;
        }
        Self(bits)
    }

    /// Whether a field is in the set.
    #[must_use]
    pub const fn contains(self, field: KnownField) -> bool {
        self.0 >> field.index() & 1 == 1
    }

    /// Whether the sets have a field in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Puts a field into the set.
    pub(super) fn insert(&mut self, field: KnownField) {
        self.0 |= 1 << field.index();
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the shift leaves as many bits as SLOTS has")]
const fn slot(words: &NameWords) -> usize {
    let mixed = words[0] ^ words[1].rotate_left(7) ^ words[2].rotate_left(13) ^ words[3].rotate_left(29);
    (mixed.wrapping_mul(MULTIPLIER) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

const fn words_of(bytes: &[u8; WORD * WORDS]) -> NameWords {
    let mut words = NO_NAME;
    let mut at = bytes.len();
    while at > 0 {
        at -= 1;
        words[at / WORD] = words[at / WORD] << 8 | bytes[at] as u64;
    }
    words
}

/// The name and the field of each slot.
static TABLE: [(NameWords, Option<KnownField>); SLOTS] = {
    assert!(KnownField::ALL.len() <= u64::BITS as usize, "a set has a bit for each");
    let mut table = [(NO_NAME, None); SLOTS];
    let mut index = 0;
    while index < KnownField::ALL.len() {
        let field = KnownField::ALL[index];
        let name = field.name().as_bytes();
        let mut bytes = [0; WORD * WORDS];
        let mut at = 0;
        while at < name.len() {
            assert!(name[at].is_ascii_lowercase() || name[at] == b'-', "names of letters and hyphens");
            bytes[at] = name[at];
            at += 1;
        }
        let words = words_of(&bytes);
        assert!(table[slot(&words)].1.is_none(), "two names share a slot: look for another MULTIPLIER");
        table[slot(&words)] = (words, Some(field));
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_no_other() {
        for (index, field) in KnownField::ALL.into_iter().enumerate() {
            assert_eq!(field.index(), index);
            assert_eq!(KnownField::of(field.name().as_bytes()), Some(field));
            assert_eq!(KnownField::of(field.name().to_ascii_uppercase().as_bytes()), Some(field));
            assert_eq!(KnownField::of(format!("{}x", field.name()).as_bytes()), None);
            assert_eq!(KnownField::of(field.name().replace('-', "_").as_bytes()), {
                (!field.name().contains('-')).then_some(field)
            });
        }
        for other in
            [&b""[..], b"x", b"\0", b"host\0", b"content-length-of-everything-there-is-here", b"h\xd3st"]
        {
            assert_eq!(KnownField::of(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn sets() {
        let mut set = KnownFields::of(&[KnownField::Host, KnownField::ALL[KnownField::ALL.len() - 1]]);
        assert!(set.contains(KnownField::Host) && !set.contains(KnownField::Accept));
        assert!(!set.intersects(KnownFields::of(&[KnownField::Accept, KnownField::Cookie])));
        set.insert(KnownField::Accept);
        assert!(set.intersects(KnownFields::of(&[KnownField::Accept])));
        assert!(!KnownFields::default().intersects(set));
    }
}
