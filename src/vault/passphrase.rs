//! A file sealed under a passphrase: for moving to another installation, whose keyring is another.
//!
//! ```text
//! magic (20 bytes) | rounds (u32, big endian) | salt (32 bytes) | piece | piece | … | last piece
//! ```
//! The key is PBKDF2-HMAC-SHA-512 of the passphrase. A piece is up to 64 KiB under AES-256-GCM, bound to all
//! before the pieces, to its number, and to whether it is the last: see `crypto::StreamAead`.

use std::io::{self, Read, Write};
use std::num::NonZeroU32;

use zeroize::Zeroizing;

use super::crypto::{KeyBytes, StreamAead, fill_random};

/// The shortest passphrase, in bytes.
pub const PASSPHRASE_MIN: usize = 12;

const MAGIC: &[u8; 20] = b"cloakroom export v1\n";
const SALT: usize = 32;
const HEAD: usize = MAGIC.len() + 4 + SALT;
/// Three times what OWASP's Password Storage Cheat Sheet asks for: this is done once per file.
const ROUNDS: u32 = 630_000;
/// What a file may ask for: more would keep whoever opens it waiting for minutes.
const ROUNDS_MAX: u32 = 20_000_000;
const PIECE: usize = 64 << 10;

/// Why a sealed file is not made or not opened.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// Too easily guessed by who has the file.
    #[error("the passphrase is too short: {PASSPHRASE_MIN} characters or more")]
    Short,
    /// Something else.
    #[error("this is not what `cloakroom export` wrote")]
    NotOurs,
    /// Not under this passphrase, or not the bytes that were written.
    #[error("it does not open: the passphrase is another, or the file was changed or cut off")]
    Closed,
    /// The system's words.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<PassphraseError> for io::Error {
    fn from(error: PassphraseError) -> Self {
        match error {
            PassphraseError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Seals what is written to it. Nothing is whole before [`PassphraseWriter::finish`].
pub struct PassphraseWriter<W> {
    to: W,
    key: StreamAead,
    head: [u8; HEAD],
    number: u64,
    piece: Zeroizing<Vec<u8>>,
}

impl<W: Write> PassphraseWriter<W> {
    /// Begins a file under `passphrase`.
    ///
    /// # Errors
    /// When the passphrase is too short or nothing can be written.
    pub fn new(mut to: W, passphrase: &[u8]) -> Result<Self, PassphraseError> {
        if passphrase.len() < PASSPHRASE_MIN {
            return Err(PassphraseError::Short);
        }
        let mut head = [0; HEAD];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[MAGIC.len()..HEAD - SALT].copy_from_slice(&ROUNDS.to_be_bytes());
        fill_random(&mut head[HEAD - SALT..]);
        to.write_all(&head)?;
        let key = key(passphrase, &head).ok_or(PassphraseError::NotOurs)?;
        let piece = Zeroizing::new(Vec::with_capacity(PIECE + StreamAead::OVERHEAD));
        Ok(Self {
            to,
            key,
            head,
            number: 0,
            piece,
        })
    }

    /// Writes the last piece.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_piece(true)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn write_piece(&mut self, is_last: bool) -> io::Result<()> {
        self.key
            .seal(self.number, is_last, &self.head, &mut self.piece);
        self.number += 1;
        self.to.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

impl<W: Write> Write for PassphraseWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not before there is more: the last piece is never empty, unless all is.
        if self.piece.len() == PIECE && !bytes.is_empty() {
            self.write_piece(false)?;
        }
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what [`PassphraseWriter`] sealed, a piece at a time. Its end is one that was sealed as such.
pub struct PassphraseReader<R> {
    from: R,
    key: StreamAead,
    head: [u8; HEAD],
    number: u64,
    piece: Zeroizing<Vec<u8>>,
    read: usize,
    /// The first byte after the piece, which tells whether it is the last.
    next: Option<u8>,
    is_over: bool,
}

impl<R: Read> PassphraseReader<R> {
    /// Whether a file that begins so was made by [`PassphraseWriter`].
    #[must_use]
    pub fn is_one(beginning: &[u8]) -> bool {
        beginning.starts_with(MAGIC)
    }

    /// Opens a file under `passphrase`. Whether it is the right one shows when it is read.
    ///
    /// # Errors
    /// When it is no such file, or cannot be read.
    pub fn new(mut from: R, passphrase: &[u8]) -> Result<Self, PassphraseError> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head).map_err(|why| match why.kind() {
            io::ErrorKind::UnexpectedEof => PassphraseError::NotOurs,
            _ => why.into(),
        })?;
        let key = key(passphrase, &head).ok_or(PassphraseError::NotOurs)?;
        let next = one(&mut from)?;
        Ok(Self {
            from,
            key,
            head,
            number: 0,
            piece: Zeroizing::new(Vec::with_capacity(PIECE + StreamAead::OVERHEAD)),
            read: 0,
            next,
            is_over: false,
        })
    }

    fn next_piece(&mut self) -> Result<(), PassphraseError> {
        const SEALED: usize = PIECE + StreamAead::OVERHEAD;
        self.piece.clear();
        self.read = 0;
        self.piece.extend(self.next);
        let rest = (SEALED - self.piece.len()) as u64;
        (&mut self.from).take(rest).read_to_end(&mut self.piece)?;
        self.next = one(&mut self.from)?;
        self.is_over = self.next.is_none();
        let opened = self
            .key
            .open(self.number, self.is_over, &self.head, &mut self.piece);
        if !opened {
            self.piece.clear();
            return Err(PassphraseError::Closed);
        }
        self.number += 1;
        Ok(())
    }
}

impl<R: Read> Read for PassphraseReader<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() && !self.is_over {
            self.next_piece()?;
        }
        let rest = &self.piece[self.read..];
        let taken = rest.len().min(to.len());
        to[..taken].copy_from_slice(&rest[..taken]);
        self.read += taken;
        Ok(taken)
    }
}

/// `None` when the file is none of ours, or asks for too much.
fn key(passphrase: &[u8], head: &[u8; HEAD]) -> Option<StreamAead> {
    let rest = head.strip_prefix(MAGIC)?;
    let (rounds, salt) = rest.split_first_chunk()?;
    let rounds = u32::from_be_bytes(*rounds);
    let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= ROUNDS_MAX)?;
    Some(StreamAead::new(&KeyBytes::from_passphrase(
        passphrase, salt, rounds,
    )))
}

fn one(from: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match from.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &[u8] = b"correct horse battery";

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut writer = PassphraseWriter::new(Vec::new(), PASSPHRASE).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn opened(file: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut reader = PassphraseReader::new(file, passphrase).map_err(|e| e.to_string())?;
        reader.read_to_end(&mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }

    #[test]
    fn what_was_sealed_opens_at_every_edge_of_a_piece() {
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE] {
            let plain = vec![7; len];
            let file = sealed(&plain);
            assert!(PassphraseReader::<&[u8]>::is_one(&file));
            assert_eq!(opened(&file, PASSPHRASE).unwrap(), plain, "{len}");
        }
    }

    // Fails when the head is no part of what is bound, or the last piece is not marked.
    #[test]
    fn a_changed_cut_or_longer_file_does_not_open() {
        let file = sealed(&vec![7; PIECE + 100]);
        assert!(opened(&file, b"another passphrase").is_err());
        for at in [0, 25, HEAD - 1, HEAD, HEAD + PIECE, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            // The high bytes of the rounds are not tried: that would take minutes.
            assert!(opened(&changed, PASSPHRASE).is_err(), "byte {at}");
        }
        let first = HEAD + PIECE + StreamAead::OVERHEAD;
        for cut in [0, 10, HEAD, first, first + 1, file.len() - 1] {
            assert!(opened(&file[..cut], PASSPHRASE).is_err(), "cut at {cut}");
        }
        let longer = [&file[..], b"x"].concat();
        assert!(opened(&longer, PASSPHRASE).is_err());
        let without_first = [&file[..HEAD], &file[first..]].concat();
        assert!(opened(&without_first, PASSPHRASE).is_err());
    }

    #[test]
    fn a_short_passphrase_and_endless_work_are_refused() {
        let made = PassphraseWriter::new(Vec::new(), b"hunter2");
        assert!(matches!(made.err(), Some(PassphraseError::Short)));
        let mut file = sealed(b"");
        file[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let read = PassphraseReader::new(&file[..], PASSPHRASE);
        assert!(matches!(read.err(), Some(PassphraseError::NotOurs)));
    }
}
