//! Where a request body is gathered: in memory up to `http.body_memory`, then in an unlinked temporary file.

use std::fs::File;
use std::io::{self, Seek, Write};

use bytes::{Bytes, BytesMut};

use crate::app::Body;

/// Most bytes that are set aside for a body before any of it has arrived, however long it says it is.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// A body that is being gathered.
#[derive(Debug)]
pub(super) enum Spool {
    /// In memory.
    Memory {
        /// What has arrived.
        bytes: BytesMut,
        /// From how many bytes on it goes to a file.
        bytes_max: usize,
    },
    /// In a file.
    File {
        /// The file, already unlinked.
        file: File,
        /// How many bytes it has.
        length: u64,
    },
}

impl Spool {
    /// A body of which `expected` bytes are announced (0 when that is not known).
    pub(super) fn new(expected: u64, bytes_max: usize) -> Self {
        let reserved = usize::try_from(expected).unwrap_or(usize::MAX).min(RESERVED_BYTES_MAX).min(bytes_max);
        Self::Memory { bytes: BytesMut::with_capacity(reserved), bytes_max }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// The temporary file cannot be made or written (disk full).
    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory { bytes, bytes_max } if bytes.len() + piece.len() <= *bytes_max => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
            Self::Memory { bytes, .. } => {
                let mut file = tempfile::tempfile()?;
                file.write_all(bytes)?;
                file.write_all(piece)?;
                let length = (bytes.len() + piece.len()) as u64;
                *self = Self::File { file, length };
                Ok(())
            }
            Self::File { file, length } => {
                file.write_all(piece)?;
                *length += piece.len() as u64;
                Ok(())
            }
        }
    }

    /// The complete body.
    ///
    /// # Errors
    /// The file cannot be rewound.
    pub(super) fn finish(self) -> io::Result<Body> {
        match self {
            Self::Memory { bytes, .. } => Ok(Body::Memory(bytes.freeze())),
            Self::File { mut file, length } => {
                file.rewind()?;
                Ok(Body::Spooled { file, length })
            }
        }
    }
}

/// The body of a request that has none.
pub(super) fn no_body() -> Body {
    Body::Memory(Bytes::new())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_body_moves_to_a_file_when_it_passes_the_limit_and_loses_nothing() {
        let mut spool = Spool::new(0, 10);
        for piece in [&b"01234"[..], b"56789", b"abcdef", b"g"] {
            spool.write(piece).unwrap();
        }
        let Body::Spooled { mut file, length } = spool.finish().unwrap() else { panic!("expected a file") };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), length), ("0123456789abcdefg", 17));
    }

    #[test]
    fn a_body_of_just_the_limit_stays_in_memory() {
        let mut spool = Spool::new(10, 10);
        spool.write(b"0123456789").unwrap();
        let Body::Memory(bytes) = spool.finish().unwrap() else { panic!("expected memory") };
        assert_eq!(&bytes[..], b"0123456789");
    }

    #[test]
    fn an_announced_length_reserves_no_more_than_a_bounded_amount() {
        let Spool::Memory { bytes, .. } = Spool::new(u64::MAX, usize::MAX) else { panic!("expected memory") };
        assert!(bytes.capacity() <= RESERVED_BYTES_MAX);
    }
}
