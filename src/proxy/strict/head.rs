//! The head of a request, line by line as lines become complete.

use super::fault::Fault;
use super::field::{characters, field};
use super::target::{host, request_line};
use crate::proxy::last_head::LastHead;

/// Most headers of a request.
pub(super) const FIELDS: usize = 100;
/// The longest Content-Length: a petabyte has 16 digits.
const LENGTH_DIGITS: usize = 15;

/// How the body behind a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; none without Content-Length.
    Length(u64),
    Chunked,
}

/// A head that has not come whole. What was judged of it is not looked at again.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// Where the first line begins that was not judged.
    line: usize,
    /// No LF from there up to here.
    searched: usize,
    overlooked: bool,
    fields: Option<Fields>,
}

#[derive(Debug, Clone, Default)]
struct Fields {
    /// HTTP/1.1, not 1.0.
    current: bool,
    count: usize,
    host: bool,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
}

impl Head {
    /// As [`Head::read`], but of a head that is `last` again, which was let pass, the length alone is judged.
    pub(super) fn read_or_again(
        &mut self,
        bytes: &[u8],
        max: usize,
        last: &mut LastHead,
    ) -> Result<Option<(usize, Framing)>, Fault> {
        if let Some(length) = last.again(bytes).and_then(length) {
            return Ok(Some((last.expose_bytes().len(), Framing::Length(length))));
        }
        let read = self.read(bytes, max)?;
        if let Some((length, _)) = read {
            last.note(&bytes[..length]);
        }
        Ok(read)
    }

    /// Judges on; `bytes` begin where the head does. The length of the head and what follows it, or
    /// `None` until it is there whole.
    fn read(&mut self, bytes: &[u8], max: usize) -> Result<Option<(usize, Framing)>, Fault> {
        loop {
            if self.fields.is_none() {
                self.first_byte(bytes)?;
            }
            let Some(found) = memchr::memchr(b'\n', &bytes[self.searched..]) else {
                self.searched = bytes.len();
                return if bytes.len() > max {
                    Err(Fault::HeadTooLarge)
                } else {
                    Ok(None)
                };
            };
            let end = self.searched + found;
            if end >= max {
                return Err(Fault::HeadTooLarge);
            }
            let line = bytes[self.line..end]
                .strip_suffix(b"\r")
                .ok_or(Fault::BareLf)?;
            (self.line, self.searched) = (end + 1, end + 1);
            if !line.is_empty() {
                self.judge(line)?;
            } else if let Some(fields) = &self.fields {
                return Ok(Some((end + 1, fields.framing()?)));
            } else if std::mem::replace(&mut self.overlooked, true) {
                return Err(Fault::EmptyLines);
            }
        }
    }

    /// Who speaks something else is told at once, not when a line is complete, which may be never.
    fn first_byte(&self, bytes: &[u8]) -> Result<(), Fault> {
        match bytes.get(self.line) {
            None | Some(b'A'..=b'Z' | b'\r' | b'\n') => Ok(()),
            Some(_) => Err(Fault::Method),
        }
    }

    fn judge(&mut self, line: &[u8]) -> Result<(), Fault> {
        characters(line)?;
        match &mut self.fields {
            None => {
                self.fields = Some(Fields {
                    current: request_line(line)?,
                    ..Fields::default()
                });
                Ok(())
            }
            Some(fields) => fields.add(line),
        }
    }
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (name, value) = field(line)?;
        self.count += 1;
        if self.count > FIELDS {
            return Err(Fault::TooManyFields);
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            4 if is("host") => {
                if std::mem::replace(&mut self.host, true) {
                    return Err(Fault::SecondHost);
                }
                host(value)
            }
            6 if is("expect") => {
                let again = std::mem::replace(&mut self.expects, true);
                if again || !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Fault::Expectation);
                }
                Ok(())
            }
            14 if is("content-length") => {
                if self.length.is_some() {
                    return Err(Fault::SecondLength);
                }
                self.length = Some(length(value).ok_or(Fault::LengthInvalid)?);
                Ok(())
            }
            17 if is("transfer-encoding") => {
                let again = std::mem::replace(&mut self.chunked, true);
                if again || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Coding);
                }
                if self.current {
                    Ok(())
                } else {
                    Err(Fault::CodingTooEarly)
                }
            }
            _ => Ok(()),
        }
    }

    fn framing(&self) -> Result<Framing, Fault> {
        match (self.host, self.length, self.chunked) {
            (false, ..) => Err(Fault::NoHost),
            (_, Some(_), true) => Err(Fault::LengthAndCoding),
            (_, None, true) => Ok(Framing::Chunked),
            (_, length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// Digits, without a zero before them: there are readers who take those for octal.
fn length(value: &[u8]) -> Option<u64> {
    let plain = value.iter().all(u8::is_ascii_digit)
        && (1..=LENGTH_DIGITS).contains(&value.len())
        && (value[0] != b'0' || value.len() == 1);
    let add = |sum: u64, &digit: &u8| sum * 10 + u64::from(digit - b'0');
    plain.then(|| value.iter().fold(0, add))
}
