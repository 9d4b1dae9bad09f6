//! Checks what was written, with no more memory than there are chains.
//!
//! 1. Files are read in the order given; a chain may go on in the next one, and several may be in one.
//! 2. Every record has to follow the one before it in its chain ([`chain`]).
//! 3. A line that is not whole is what its writer says it left behind, or a finding.
//! 4. With anchors, a chain must reach as far as the store says, and no chain may be missing.
//!
//! What cannot be found: that the end of a chain was cut off which no anchor covers yet, at most a minute
//! of it; and whatever is done by somebody who holds the keyring.

mod chain;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use report::{ChainSeen, Finding, Report, Wrong};

use super::line::{Head, Line, MARK, Stump, hex};
use super::own::Said;
use crate::vault::{Anchor, Keyring, OpenError, TrailMac, WriterId};
use chain::{Chain, Verdict};

/// A longer line is not a record: what is recorded is bounded well below.
const LINE_MAX: usize = 1 << 20;
/// Torn lines that may wait for their writer to say that it left them.
const STUMPS: usize = 1000;

/// What the store says of all chains.
pub type Anchors = Vec<(WriterId, Result<Anchor, OpenError>)>;

type Known = BTreeMap<WriterId, Result<Anchor, OpenError>>;

/// What else is to be known.
#[derive(Default)]
pub struct Options {
    /// Chains may begin in the middle: their earlier files are gone.
    pub from_middle: bool,
    /// What the store knew before anything was read.
    pub anchors: Anchors,
    /// This machine, and the full paths of the files as their writers know them: chains that were written
    /// there have to be in them.
    pub written_to: (String, BTreeSet<String>),
    /// How long the store remembers.
    pub anchors_for: Duration,
}

/// Where something is.
#[derive(Clone, Copy)]
struct Place {
    file: usize,
    line: u64,
}

/// A chain, and what was seen of it.
struct Seen {
    chain: Chain,
    host: Option<String>,
    pid: Option<u32>,
    first: u64,
    /// Whether the first could not be checked, since what it follows is not there.
    is_first_unproven: bool,
    /// The last record, and where it is.
    last: (u64, Place),
    closed_at: Option<u64>,
    lost: u64,
    anchor: Option<Anchor>,
    /// The latest record that says the store knew of it: where, its number, the one known of, and when.
    said_anchored: Option<(Place, u64, u64, String)>,
}

struct Torn {
    place: Place,
    writer: Option<WriterId>,
    seq: Option<u64>,
}

/// Checks files.
pub struct Verifier<'a> {
    ring: &'a Keyring,
    options: Options,
    anchors: Known,
    files: Vec<String>,
    chains: BTreeMap<WriterId, Seen>,
    torn: Vec<Torn>,
    /// When the first record was written, by its own word.
    begins: Option<u64>,
    findings: Vec<(Place, Finding)>,
    report: Report,
}

impl<'a> Verifier<'a> {
    /// Checks with the keys of `ring`.
    #[must_use]
    pub fn new(ring: &'a Keyring, mut options: Options) -> Self {
        Self {
            ring,
            anchors: std::mem::take(&mut options.anchors).into_iter().collect(),
            options,
            files: Vec::new(),
            chains: BTreeMap::new(),
            torn: Vec::new(),
            begins: None,
            findings: Vec::new(),
            report: Report::default(),
        }
    }

    /// Reads a file, called `name` in what is found.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, name: &str, mut file: impl BufRead) -> io::Result<()> {
        self.files.push(name.to_owned());
        let mut place = Place {
            file: self.files.len() - 1,
            line: 0,
        };
        let mut line = Vec::new();
        while next_line(&mut file, &mut line)? {
            place.line += 1;
            if line.len() > LINE_MAX {
                self.find(place, None, None, Wrong::NoRecord);
            } else if !line.is_empty() {
                self.line(place, &line);
            }
        }
        Ok(())
    }

    fn line(&mut self, place: Place, text: &[u8]) {
        let mark = MARK.as_bytes();
        let marks: Vec<_> = memchr::memmem::find_iter(text, mark).collect();
        match (&marks[..], Line::parse(text)) {
            ([0], Some(record)) => self.record(place, &record),
            // Somebody else's record, written after one that was not finished.
            ([first, ..], _) => {
                let ends = marks[1..].iter().copied().chain([text.len()]);
                if *first > 0 {
                    self.piece(place, &text[..*first]);
                }
                let last = marks[marks.len() - 1];
                for (&at, end) in marks.iter().zip(ends) {
                    let piece = &text[at..end];
                    match Line::parse(piece) {
                        Some(record) => {
                            self.record(place, &record);
                            if at != last {
                                self.tear(place, Some(record.writer), Some(record.seq));
                            }
                        }
                        None => self.piece(place, piece),
                    }
                }
            }
            ([], _) => self.piece(place, text),
        }
    }

    /// What is not a whole record.
    fn piece(&mut self, place: Place, piece: &[u8]) {
        match Stump::parse(piece) {
            Some(stump) => self.tear(place, stump.writer, stump.seq),
            None => self.find(place, None, None, Wrong::NoRecord),
        }
    }

    fn tear(&mut self, place: Place, writer: Option<WriterId>, seq: Option<u64>) {
        if self.torn.len() < STUMPS {
            self.torn.push(Torn { place, writer, seq });
        } else {
            self.find(place, writer, seq, Wrong::Torn);
        }
    }

    fn record(&mut self, place: Place, line: &Line<'_>) {
        self.report.records += 1;
        if self.begins.is_none() {
            let at = line.read().map(|said: Said| said.at).unwrap_or_default();
            self.begins = Some(seconds(&at).unwrap_or_default());
        }
        let seen = self.chains.entry(line.writer).or_insert_with(|| {
            let anchor = self.anchors.get(&line.writer);
            let anchor = anchor.and_then(|anchor| anchor.clone().ok());
            Seen::new(TrailMac::new(self.ring, &line.writer), line, place, anchor)
        });
        let verdict = seen.chain.judge(line);
        seen.is_first_unproven |= verdict == Verdict::Middle { proven: false };
        if line.seq >= seen.last.0 {
            seen.last = (line.seq, place);
        }
        let wrong = match verdict {
            Verdict::Good | Verdict::Middle { proven: true } => self.take_note(place, line),
            _ => Vec::new(),
        };
        for what in wrong {
            self.find(place, Some(line.writer), Some(line.seq), what);
        }
        let wrong = match verdict {
            Verdict::Wrong(what) => Some(what),
            Verdict::Middle { .. } if !self.options.from_middle => Some(Wrong::Beginning),
            Verdict::Middle { .. } | Verdict::Good => None,
        };
        if let Some(what) = wrong {
            self.find(place, Some(line.writer), Some(line.seq), what);
        }
    }

    /// Of a record that was proven: what it says of its chain, and what is wrong with that.
    fn take_note(&mut self, place: Place, line: &Line<'_>) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let Some(seen) = self.chains.get_mut(&line.writer) else {
            return wrong;
        };
        if seen.closed_at.is_some_and(|close| line.seq > close) {
            wrong.push(Wrong::AfterClose);
        }
        let known = seen.anchor.as_ref().filter(|known| known.seq == line.seq);
        if known.is_some_and(|known| known.mac != hex(&line.mac)) {
            wrong.push(Wrong::Forked);
        }
        let event = line.event();
        if !matches!(event, b"open" | b"close" | b"anchor" | b"lost") {
            return wrong;
        }
        let said: Said = line.read().unwrap_or_default();
        match event {
            b"open" => (seen.host, seen.pid) = (Some(said.host), Some(said.pid)),
            b"close" => seen.closed_at = Some(line.seq),
            b"anchor" => seen.said_anchored = Some((place, line.seq, said.anchored, said.at)),
            _ => {
                seen.lost += said.records;
                self.report.lost += said.records;
                self.excuse(line.writer, said.torn);
            }
        }
        wrong
    }

    /// Of the torn lines so far, `count` were left by `writer`.
    fn excuse(&mut self, writer: WriterId, count: u64) {
        for _ in 0..count {
            let own = |torn: &Torn| torn.writer == Some(writer);
            let at = self.torn.iter().position(own);
            let at = at.or_else(|| self.torn.iter().position(|torn| torn.writer.is_none()));
            at.map(|at| self.torn.remove(at));
        }
    }

    fn find(&mut self, place: Place, writer: Option<WriterId>, seq: Option<u64>, what: Wrong) {
        let finding = Finding {
            file: Some(self.files[place.file].clone()),
            line: Some(place.line),
            writer,
            seq,
            what,
        };
        if self.findings.len() < 1000 {
            self.findings.push((place, finding));
        } else {
            self.report.unlisted += 1;
        }
    }

    /// What was found. `anchors_now` is what the store knows after everything was read: a writer may have
    /// gone on meanwhile. `None` when the store was not asked.
    #[must_use]
    pub fn finish(mut self, anchors_now: Option<Anchors>) -> Report {
        let anchors_now: Option<Known> = anchors_now.map(|now| now.into_iter().collect());
        for torn in std::mem::take(&mut self.torn) {
            self.find(torn.place, torn.writer, torn.seq, Wrong::Torn);
        }
        let chains = std::mem::take(&mut self.chains);
        for (writer, seen) in &chains {
            let (last, place) = seen.last;
            if seen.chain.head().is_none() && self.options.from_middle {
                self.find(place, Some(*writer), Some(last), Wrong::Unproven);
            }
            if let Some(anchored) = seen.cut_off() {
                self.find(place, Some(*writer), Some(last), Wrong::CutOff { anchored });
            }
            if let Some((place, seq, anchored)) = self.put_back(writer, seen, anchors_now.as_ref())
            {
                let what = Wrong::AnchorPutBack { anchored };
                self.find(place, Some(*writer), Some(seq), what);
            }
        }
        self.findings
            .sort_by_key(|(place, _)| (place.file, place.line));
        for (_, finding) in std::mem::take(&mut self.findings) {
            self.report.add(finding);
        }
        for finding in self.not_there(&chains) {
            self.report.add(finding);
        }
        let chains = chains.into_iter();
        self.report.chains = chains.map(|(writer, seen)| seen.shown(writer)).collect();
        self.report
    }

    /// Whether the store knows less than a record says it did.
    fn put_back(
        &self,
        writer: &WriterId,
        seen: &Seen,
        anchors_now: Option<&Known>,
    ) -> Option<(Place, u64, u64)> {
        let (place, seq, anchored, at) = seen.said_anchored.as_ref()?;
        let knows = match anchors_now?.get(writer) {
            // That it does not open is a finding of its own.
            Some(Err(_)) => true,
            Some(Ok(anchor)) => anchor.seq >= *anchored,
            None => {
                let age = now().saturating_sub(seconds(at)?);
                age > self.options.anchors_for.as_secs()
            }
        };
        (!knows).then_some((*place, *seq, *anchored))
    }

    /// Chains that should be in these files, or of which the store knows nothing that can be read.
    fn not_there(&self, chains: &BTreeMap<WriterId, Seen>) -> Vec<Finding> {
        let (host, files) = &self.options.written_to;
        let here = |anchor: &Anchor| {
            anchor.host == *host
                && anchor
                    .file
                    .as_ref()
                    .is_some_and(|file| files.contains(file))
        };
        // Those that ended before what was given begins, when that is how it is.
        let before = |anchor: &Anchor| {
            let begins = self.begins.unwrap_or(u64::MAX);
            self.options.from_middle && anchor.at < begins
        };
        let mut findings = Vec::new();
        for (writer, anchor) in &self.anchors {
            let finding = |seq, file, what| Finding {
                file,
                line: None,
                writer: Some(*writer),
                seq,
                what,
            };
            match anchor {
                Ok(anchor) if !chains.contains_key(writer) && here(anchor) && !before(anchor) => {
                    let file = anchor.file.clone();
                    findings.push(finding(Some(anchor.seq), file, Wrong::NotThere));
                }
                Ok(_) => {}
                Err(_) => findings.push(finding(None, None, Wrong::AnchorUnreadable)),
            }
        }
        findings
    }
}

impl Seen {
    fn new(mac: TrailMac, line: &Line<'_>, place: Place, anchor: Option<Anchor>) -> Self {
        Self {
            chain: Chain::new(mac),
            host: None,
            pid: None,
            first: line.seq,
            is_first_unproven: false,
            last: (line.seq, place),
            closed_at: None,
            lost: 0,
            anchor,
            said_anchored: None,
        }
    }

    fn cut_off(&self) -> Option<u64> {
        let anchored = self.anchor.as_ref()?.seq;
        (anchored > self.last.0).then_some(anchored)
    }

    fn shown(self, writer: WriterId) -> ChainSeen {
        let head: Option<Head> = self.chain.head();
        ChainSeen {
            writer,
            host: self.host,
            pid: self.pid,
            first: self.first,
            first_unproven: self.is_first_unproven,
            last: self.last.0,
            closed: self.closed_at.is_some() && self.closed_at == head.map(|head| head.seq),
            anchored: self.anchor.map(|anchor| anchor.seq),
            lost: self.lost,
        }
    }
}

/// Reads a line without its newline; of one that is too long, only so much that it is seen to be.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let found = file.fill_buf()?;
        if found.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', found);
        let part = &found[..end.unwrap_or(found.len())];
        let room = (LINE_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = end.map_or(found.len(), |end| end + 1);
        file.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

fn seconds(at: &str) -> Option<u64> {
    let at = humantime::parse_rfc3339(at).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
