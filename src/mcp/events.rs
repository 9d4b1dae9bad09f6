//! Event streams (WHATWG HTML 9.2) as they come: bytes in, events out.

use bytes::Bytes;
use memchr::memchr2;

/// One event. Those without data count too: a server says by them where to go on (MCP 2025-11-25,
/// basic/transports "Sending Messages to the Server").
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `event`; empty for a message.
    pub kind: String,
    /// `data`, its lines joined.
    pub data: Bytes,
}

/// An event is longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Reads one stream.
pub struct Events {
    longest: usize,
    /// A line of which the end has not come.
    line: Vec<u8>,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    started: bool,
    kind: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    any: bool,
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<u64>,
}

impl Events {
    /// A new stream, each event of which may have so many bytes of data and of a line.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            line: Vec::new(),
            after_cr: false,
            started: false,
            kind: Vec::new(),
            data: Vec::new(),
            has_data: false,
            any: false,
            id: None,
            last_id: None,
            retry: None,
        }
    }

    /// The id of the last event that had one, for `Last-Event-ID`.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Milliseconds to wait before asking again, if the server said so.
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Reads on; what events ended in `chunk` are put into `found`.
    ///
    /// # Errors
    /// An event is too long; nothing more is to be pushed then.
    pub fn push(&mut self, mut chunk: &[u8], found: &mut Vec<Event>) -> Result<(), TooLong> {
        while !chunk.is_empty() {
            if std::mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
                chunk = &chunk[1..];
                continue;
            }
            let end = memchr2(b'\n', b'\r', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if self.line.len() + part.len() > self.longest {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else {
                return Ok(());
            };
            self.after_cr = chunk[end] == b'\r';
            chunk = &chunk[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.line_ended(&line, found)?;
        }
        Ok(())
    }

    fn line_ended(&mut self, line: &[u8], found: &mut Vec<Event>) -> Result<(), TooLong> {
        let first = !std::mem::replace(&mut self.started, true);
        let line = match line.strip_prefix("\u{feff}".as_bytes()) {
            Some(rest) if first => rest,
            _ => line,
        };
        if line.is_empty() {
            self.dispatch(found);
            return Ok(());
        }
        let colon = line.iter().position(|&b| b == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.add_data(value)?,
            b"event" => {
                self.kind = value.to_vec();
                self.any = true;
            }
            b"id" if !value.contains(&0) => {
                self.id = std::str::from_utf8(value).ok().map(str::to_owned);
                self.any = true;
            }
            b"retry" => {
                let digits = std::str::from_utf8(value).ok();
                let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
                self.retry = digits.and_then(|d| d.parse().ok()).or(self.retry);
            }
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, value: &[u8]) -> Result<(), TooLong> {
        if self.data.len() + value.len() >= self.longest {
            return Err(TooLong);
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        (self.has_data, self.any) = (true, true);
        Ok(())
    }

    fn dispatch(&mut self, found: &mut Vec<Event>) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        if let Some(id) = self.id.take() {
            // An empty id takes back what was said before.
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        self.has_data = false;
        found.push(Event {
            kind: String::from_utf8_lossy(&std::mem::take(&mut self.kind)).into_owned(),
            data: std::mem::take(&mut self.data).into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], step: usize) -> (Vec<(String, String)>, Events) {
        let mut events = Events::new(16);
        let mut found = Vec::new();
        for piece in stream.chunks(step) {
            events.push(piece, &mut found).unwrap();
        }
        let told = found.into_iter().map(|event| {
            let data = String::from_utf8(event.data.to_vec()).unwrap();
            (event.kind, data)
        });
        (told.collect(), events)
    }

    // Fails when events without data are dropped: they say where to go on.
    #[test]
    fn a_stream_is_read_whatever_the_pieces_and_the_ends_of_lines() {
        let stream = "\u{feff}: hello\n\nid: 7\ndata: \nretry: 100\n\nevent: message\ndata: {\ndata:}\n\n\
                      event: endpoint\r\ndata: /m\r\n\r\rid\rdata\r\rdata: cut off";
        let expected = [("", ""), ("message", "{\n}"), ("endpoint", "/m"), ("", "")];
        for step in [1, 2, 3, 5, 1000] {
            let (told, events) = read(stream.as_bytes(), step);
            let told: Vec<_> = told.iter().map(|(k, d)| (k.as_str(), d.as_str())).collect();
            assert_eq!(told, expected, "{step}");
            assert_eq!(events.retry(), Some(100));
            assert_eq!(events.last_id(), None, "the last event takes it back");
        }
        let (_, events) = read(b"id: a\ndata: 1\n\nid: b\ndata: cut", 3);
        assert_eq!(events.last_id(), Some("a"), "an event cut off has no id");
        let (_, events) = read(b"id: a\0b\ndata: 1\n\nretry: 1x\nretry: 5\n\n", 3);
        assert_eq!((events.last_id(), events.retry()), (None, Some(5)));
    }

    // Fails when only lines, or only the data, are bounded.
    #[test]
    fn what_an_event_may_hold_is_bounded() {
        for stream in [
            &b"data: 123456789012"[..],
            b"data: 12345678\ndata: 12345678\n",
            b": 123456789012345",
        ] {
            let mut events = Events::new(16);
            let pushed = stream
                .chunks(4)
                .try_for_each(|piece| events.push(piece, &mut Vec::new()));
            assert_eq!(pushed, Err(TooLong));
        }
    }
}
