//! What somebody who can change the files, and has no key, can do to them.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::super::line::Chain as Writing;
use super::super::members;
use super::super::own::Own;
use super::*;

/// What several writers wrote, a record each.
struct Trail {
    ring: Keyring,
    writers: Vec<Writing>,
    lines: Vec<Vec<u8>>,
}

impl Trail {
    fn new(writers: usize) -> Self {
        let ring = Keyring::generate();
        let writer = |_| {
            let id = WriterId::generate();
            Writing::new(id, TrailMac::new(&ring, &id))
        };
        let writers = (0..writers).map(writer).collect();
        Self {
            ring,
            writers,
            lines: Vec::new(),
        }
    }

    /// Two writers, each with a first record, three more, and a last.
    fn of_two() -> Self {
        let mut trail = Self::new(2);
        trail.open(0);
        trail.open(1);
        for (at, tool) in ["a", "b\u{7f}\"", "c", "d", "e", "f"].iter().enumerate() {
            let record = json!({ "event": "start", "request": at, "tools": [tool] });
            trail.write([0, 1, 1, 0, 0, 1][at], &record);
        }
        trail.write(1, &Own::Close);
        trail.write(0, &Own::Close);
        trail
    }

    fn open(&mut self, writer: usize) {
        let open = Own::Open {
            host: "host-1".to_owned(),
            pid: 7,
            version: "0",
            key: "index:i1".to_owned(),
            sink: "file",
            file: Some("/a.jsonl".to_owned()),
            follows: None,
        };
        self.write(writer, &open);
    }

    fn write(&mut self, writer: usize, record: &impl serde::Serialize) {
        let mut line = Vec::new();
        let members = |out: &mut Vec<u8>| members::any(record, out);
        self.writers[writer].append(SystemTime::now(), members, &mut line);
        self.lines.push(line);
    }

    fn id(&self, writer: usize) -> WriterId {
        self.writers[writer].writer()
    }

    fn text(&self) -> Vec<u8> {
        self.lines.concat()
    }

    /// Which line a byte of the text is in, from 1.
    fn line_of(&self, byte: usize) -> u64 {
        let mut end = 0;
        let ends = self.lines.iter().map(|line| {
            end += line.len();
            end
        });
        ends.filter(|end| *end <= byte).count() as u64 + 1
    }

    fn check(&self, text: &[u8]) -> Report {
        self.check_with(&[text], Options::default())
    }

    fn check_with(&self, files: &[&[u8]], options: Options) -> Report {
        let mut verifier = Verifier::new(&self.ring, options);
        for (index, text) in files.iter().enumerate() {
            verifier.read(&format!("f{index}"), *text).unwrap();
        }
        verifier.finish(None)
    }

    fn joined(&self, order: &[usize]) -> Vec<u8> {
        order
            .iter()
            .flat_map(|at| self.lines[*at].clone())
            .collect()
    }

    fn anchor(&self, writer: usize, ended: bool) -> (WriterId, Result<Anchor, OpenError>) {
        let head = self.writers[writer].head().unwrap();
        let anchor = Anchor {
            seq: head.seq,
            mac: hex(&head.mac),
            at: now(),
            host: "host-1".to_owned(),
            sink: "file".to_owned(),
            file: Some("/a.jsonl".to_owned()),
            ended,
        };
        (self.id(writer), Ok(anchor))
    }
}

fn found(report: &Report) -> Vec<(u64, Wrong)> {
    let findings = report.findings.iter();
    findings
        .map(|f| (f.line.unwrap_or_default(), f.what))
        .collect()
}

#[test]
fn what_was_written_is_well() {
    let trail = Trail::of_two();
    let report = trail.check(&trail.text());
    assert!(report.is_well(), "{:?}", report.findings);
    assert_eq!((report.records, report.chains.len()), (10, 2));
    assert!(
        report
            .chains
            .iter()
            .all(|chain| chain.closed && chain.last == 4)
    );
    let other = Keyring::generate();
    let mut verifier = Verifier::new(&other, Options::default());
    verifier.read("f", &*trail.text()).unwrap();
    assert_eq!(verifier.finish(None).findings.len(), 10, "another keyring");
}

// Fails when the tag is over less than the line, or compared in part.
#[test]
fn every_byte_that_is_changed_is_found_at_its_record() {
    let trail = Trail::of_two();
    let text = trail.text();
    for at in 0..text.len() {
        for to in [text[at] ^ 1, text[at] ^ 0x20, b'\n', b'0', b'"', 0] {
            let mut changed = text.clone();
            changed[at] = to;
            if changed == text {
                continue;
            }
            let report = trail.check(&changed);
            let line = report.findings.first().and_then(|first| first.line);
            // Where a line begins with a newline, the rest of it is the next.
            let begins = to == b'\n' && (at == 0 || text[at - 1] == b'\n');
            let expected = trail.line_of(at) + u64::from(begins);
            assert_eq!(line, Some(expected), "byte {at} to {to}");
        }
    }
}

#[test]
fn every_byte_that_is_removed_is_found_at_its_record() {
    let trail = Trail::of_two();
    let text = trail.text();
    // Without the newline at the very end nothing that was said is gone.
    for at in 0..text.len() - 1 {
        let mut changed = text.clone();
        changed.remove(at);
        let report = trail.check(&changed);
        let line = report.findings.first().and_then(|first| first.line);
        assert_eq!(line, Some(trail.line_of(at)), "byte {at}");
    }
    assert!(trail.check(&text[..text.len() - 1]).is_well());
}

// Fails when the number of a record is not looked at, or a record is taken twice.
#[test]
fn lines_removed_repeated_swapped_or_brought_in_are_found_there() {
    let trail = Trail::of_two();
    let all: Vec<usize> = (0..trail.lines.len()).collect();
    // Of writer 0: lines 0 2 5 6 9, of writer 1: 1 3 4 7 8.
    let mut order = all.clone();
    order.remove(5);
    let missing = Wrong::Missing { from: 2 };
    assert_eq!(found(&trail.check(&trail.joined(&order))), [(6, missing)]);
    let mut order = all.clone();
    order.insert(6, 5);
    let again = [(7, Wrong::OutOfPlace)];
    assert_eq!(found(&trail.check(&trail.joined(&order))), again);
    // Two of different writers may stand either way, two of the same may not.
    let mut order = all.clone();
    order.swap(4, 5);
    assert!(trail.check(&trail.joined(&order)).is_well());
    order.swap(6, 4);
    let report = trail.check(&trail.joined(&order));
    assert_eq!(found(&report), [(5, missing)], "and the rest follows");
    // A record of another chain of the same installation, under this one's name.
    let mut text = trail.joined(&all[..7]);
    let forged = String::from_utf8(trail.lines[7].clone()).unwrap();
    let forged = forged.replace(&trail.id(1).to_string(), &trail.id(0).to_string());
    text.extend(forged.as_bytes());
    let report = trail.check(&text);
    assert_eq!(report.findings[0].line, Some(8));
    assert_eq!(report.findings[0].writer, Some(trail.id(0)));
    // A first record of somebody who has no key.
    let mut text = trail.text();
    let nobody = Trail::of_two();
    text.extend(&nobody.lines[0]);
    assert_eq!(found(&trail.check(&text)), [(11, Wrong::Changed)]);
}

// Fails when anchors are not compared with where a chain ends.
#[test]
fn what_was_cut_off_at_any_byte_is_found_by_the_anchor() {
    let trail = Trail::of_two();
    let text = trail.text();
    let with = || Options {
        anchors: vec![trail.anchor(0, true), trail.anchor(1, true)],
        written_to: ("host-1".to_owned(), BTreeSet::from(["/a.jsonl".to_owned()])),
        ..Options::default()
    };
    assert!(trail.check_with(&[&text], with()).is_well());
    for cut in 0..text.len() - 1 {
        let report = trail.check_with(&[&text[..cut]], with());
        let ends = |f: &Finding| matches!(f.what, Wrong::CutOff { anchored: 4 } | Wrong::NotThere);
        assert!(report.findings.iter().any(ends), "cut at {cut}");
    }
    // Without the store it is found only where it was within a record.
    let whole = trail.joined(&[0, 1, 2]);
    let report = trail.check(&whole);
    assert!(report.is_well() && report.chains.iter().all(|chain| !chain.closed));
    assert_eq!(
        found(&trail.check(&whole[..whole.len() - 9])),
        [(3, Wrong::Torn)]
    );
}

#[test]
fn the_store_and_a_chain_must_say_the_same() {
    let mut trail = Trail::new(1);
    trail.open(0);
    let (id, anchor) = trail.anchor(0, false);
    let mut forked = anchor.clone();
    forked.as_mut().unwrap().mac = "00".repeat(32);
    let with = |anchor| Options {
        anchors: vec![(id, anchor)],
        ..Options::default()
    };
    let report = trail.check_with(&[&trail.text()], with(forked));
    assert_eq!(found(&report), [(1, Wrong::Forked)]);
    let report = trail.check_with(&[&trail.text()], with(Err(OpenError::Seal)));
    assert_eq!(found(&report), [(0, Wrong::AnchorUnreadable)]);
    // Somebody put back, or deleted, what the store knew: the chain itself says so.
    trail.write(0, &json!({ "event": "start" }));
    trail.write(0, &Own::Anchor { anchored: 1 });
    let finish = |now: Anchors, remembered| {
        let options = Options {
            anchors_for: Duration::from_secs(remembered),
            ..Options::default()
        };
        let mut verifier = Verifier::new(&trail.ring, options);
        verifier.read("f", &*trail.text()).unwrap();
        found(&verifier.finish(Some(now)))
    };
    let put_back = [(3, Wrong::AnchorPutBack { anchored: 1 })];
    assert_eq!(finish(vec![(id, anchor)], 3600), put_back);
    assert_eq!(finish(Vec::new(), 3600), put_back);
    assert!(finish(vec![trail.anchor(0, false)], 3600).is_empty());
}

#[test]
fn a_chain_goes_on_in_the_next_file_and_may_begin_in_an_earlier_one() {
    let trail = Trail::of_two();
    let (first, second) = (
        trail.joined(&[0, 1, 2, 3]),
        trail.joined(&[4, 5, 6, 7, 8, 9]),
    );
    let whole = trail.check_with(&[&first, &second], Options::default());
    assert!(whole.is_well(), "{:?}", whole.findings);
    let from_middle = |from_middle| Options {
        from_middle,
        ..Options::default()
    };
    let report = trail.check_with(&[&second], from_middle(false));
    assert_eq!(
        found(&report),
        [(1, Wrong::Beginning), (2, Wrong::Beginning)]
    );
    assert_eq!(report.findings[0].seq, Some(2));
    let report = trail.check_with(&[&second], from_middle(true));
    assert!(report.is_well(), "{:?}", report.findings);
    assert!(report.chains.iter().all(|chain| chain.first_unproven));
    // One record of nobody's proves nothing.
    let alone = trail.check_with(&[&trail.lines[9]], from_middle(true));
    assert_eq!(found(&alone), [(1, Wrong::Unproven)]);
    let swapped = trail.check_with(&[&second, &first], from_middle(true));
    assert!(!swapped.is_well());
}

// Fails when the tag in the record is believed without being checked.
#[test]
fn the_first_record_of_a_new_file_is_checked_without_the_file_before() {
    let mut trail = Trail::new(1);
    trail.open(0);
    let after = hex(&trail.writers[0].head().unwrap().mac);
    trail.write(0, &Own::Reopen { after });
    trail.write(0, &json!({ "event": "start", "user": "alice" }));
    let options = || Options {
        from_middle: true,
        ..Options::default()
    };
    assert!(trail.check(&trail.text()).is_well());
    let second = trail.joined(&[1, 2]);
    assert!(trail.check_with(&[&second], options()).is_well());
    assert!(trail.check_with(&[&trail.lines[1]], options()).is_well());
    let at = second.windows(6).position(|w| w == b"reopen").unwrap() + 20;
    let mut changed = second.clone();
    changed[at] ^= 1;
    let report = trail.check_with(&[&changed], options());
    assert_eq!(found(&report), [(1, Wrong::Changed)]);
}

// Fails when a torn line is excused without its writer's word, or a whole one by it.
#[test]
fn a_torn_line_is_what_its_writer_says_it_is() {
    let mut trail = Trail::new(2);
    trail.open(0);
    trail.open(1);
    let head = trail.writers[0].head();
    trail.write(0, &json!({ "event": "start", "user": "alice" }));
    trail.writers[0].rewind(head);
    let torn = trail.lines.pop().unwrap();
    let lost = Own::Lost {
        records: 3,
        torn: 1,
    };
    let begin = trail.text();
    trail.lines.clear();
    trail.write(0, &lost);
    for cut in 1..torn.len() - 1 {
        // The writer begins a new line; or another was there before, and knew of nothing.
        let own = [&begin, &torn[..cut], b"\n", &trail.lines[0]].concat();
        let report = trail.check(&own);
        assert!(report.is_well(), "cut at {cut}: {:?}", report.findings);
        assert_eq!((report.lost, report.chains.len()), (3, 2));
        let undeclared = [&begin, &torn[..cut], b"\n"].concat();
        assert_eq!(found(&trail.check(&undeclared)), [(3, Wrong::Torn)]);
    }
    let mut other = trail.writers.remove(1);
    let mut record = Vec::new();
    let members = |out: &mut Vec<u8>| out.extend_from_slice(br#","event":"start""#);
    other.append(SystemTime::now(), members, &mut record);
    let glued = [&begin, &torn[..60], &record, &trail.lines[0]].concat();
    let report = trail.check(&glued);
    assert!(report.is_well(), "{:?}", report.findings);
    assert_eq!(report.records, 4);
    let garbage = [&begin, &b"what?\n"[..], &trail.lines[0]].concat();
    assert_eq!(found(&trail.check(&garbage)), [(3, Wrong::NoRecord)]);
}

#[test]
fn nothing_follows_a_close_and_no_line_is_endless() {
    let mut trail = Trail::of_two();
    trail.write(0, &json!({ "event": "start" }));
    assert_eq!(
        found(&trail.check(&trail.text())),
        [(11, Wrong::AfterClose)]
    );
    let mut text = trail.joined(&[0]);
    text.extend(vec![b'x'; LINE_MAX + 5]);
    text.push(b'\n');
    text.extend(&trail.lines[2]);
    assert_eq!(found(&trail.check(&text)), [(2, Wrong::NoRecord)]);
}

/// One thing done to a text, at places that are parts of its length.
fn edited(text: &[u8], (what, from, to, at): (u8, u16, u16, u16)) -> Vec<u8> {
    let place = |part: u16| usize::from(part) * text.len() / usize::from(u16::MAX);
    let (from, to) = (place(from.min(to)), place(from.max(to)));
    let at = place(at);
    let line = |at: usize| {
        text[..at]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |n| n + 1)
    };
    let (from, to, at) = if what & 1 == 0 {
        (from, to, at)
    } else {
        (line(from), line(to), line(at))
    };
    let part = &text[from..to];
    match what / 2 % 3 {
        0 => [&text[..from], &text[to..]].concat(),
        1 => [&text[..at], part, &text[at..]].concat(),
        _ => {
            let rest = [&text[..from], &text[to..]].concat();
            let at = at.min(rest.len());
            [&rest[..at], part, &rest[at..]].concat()
        }
    }
}

proptest::proptest! {
    // Whatever is removed, repeated or moved, in whole lines or not: it is found, unless every chain still
    // says the same.
    #[test]
    fn whatever_is_done_is_found_unless_nothing_is(edits in proptest::collection::vec(proptest::prelude::any::<(u8, u16, u16, u16)>(), 1..4)) {
        let trail = Trail::of_two();
        let text = edits.iter().fold(trail.text(), |text, edit| edited(&text, *edit));
        let options = Options {
            anchors: vec![trail.anchor(0, true), trail.anchor(1, true)],
            written_to: ("host-1".to_owned(), BTreeSet::from(["/a.jsonl".to_owned()])),
            ..Options::default()
        };
        let report = trail.check_with(&[&text], options);
        let chains = |text: &[u8]| {
            let text = String::from_utf8_lossy(text).into_owned();
            let lines = text.lines().filter(|line| !line.is_empty());
            let (first, second): (Vec<_>, Vec<_>) = lines
                .map(str::to_owned)
                .partition(|line| line.contains(&trail.id(0).to_string()));
            (first, second)
        };
        let same = chains(&text) == chains(&trail.text());
        proptest::prop_assert_eq!(report.is_well(), same, "{:?}", report.findings);
    }
}
