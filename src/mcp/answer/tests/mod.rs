//! What changes and what does not; whole and cut anywhere; up to the limits and beyond.

mod documents;
mod events;
mod limits;
mod messages;
mod tools;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Hides the tools named, and of the others `key` of every tool, `only_t1` of `t1`, `é` of tools
/// without a name.
#[derive(Debug, Clone, Copy)]
struct Marks {
    tools: &'static [&'static str],
    hides: bool,
    legacy: bool,
    seals: bool,
}

const ALL: Marks = Marks {
    tools: &[],
    hides: true,
    legacy: true,
    seals: true,
};

const MODERN: Marks = Marks {
    legacy: false,
    ..ALL
};

/// Hides `t2` and what has no name, as the layer does where there are rules for tools.
const FEWER: Marks = Marks {
    tools: &["", "t2"],
    ..ALL
};

impl Rules for Marks {
    fn hides_any(&self) -> bool {
        self.hides || !self.tools.is_empty()
    }

    fn hides_tool(&self, tool: &str) -> bool {
        assert!(self.hides_any(), "nobody asks if nothing is hidden");
        self.tools.contains(&tool)
    }

    fn hides(&self, tool: &str, argument: &str) -> bool {
        assert!(self.hides_any(), "nobody asks if nothing is hidden");
        self.hides
            && (argument == "key"
                || (argument == "only_t1" && tool == "t1")
                || (argument == "é" && tool.is_empty()))
    }

    fn seal_event(&self, id: &[u8]) -> Vec<u8> {
        if self.seals {
            [b"<", id, b">"].concat()
        } else {
            id.to_vec()
        }
    }

    fn seal_task(&self, id: &str) -> String {
        format!("<{id}>")
    }

    fn legacy(&self) -> bool {
        self.legacy
    }

    fn endpoint(&self, reference: &str) -> Option<String> {
        if reference.is_empty() {
            return Some("/ours".to_owned());
        }
        Some(format!("/ours{}", reference.strip_prefix("/theirs")?))
    }
}

type Outcome = (Vec<u8>, Result<(), AnswerError>);

const NO_LIMIT: usize = usize::MAX;

fn run_json<'a>(rules: Marks, max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let chunks: Vec<_> = chunks.into_iter().collect();
    let (out, end) = run_pieces(rules, max, &chunks);
    // What is here whole is read in another way, and must be the same.
    if let [body] = chunks[..] {
        let whole = whole_json(&rules, &Bytes::copy_from_slice(body), max);
        assert_eq!(whole.map(|out| out.concat()), end.map(|()| out.clone()));
    }
    (out, end)
}

fn run_pieces(rules: Marks, max: usize, chunks: &[&[u8]]) -> Outcome {
    let mut answer = JsonAnswer::new(rules, max);
    let mut out = Vec::new();
    for chunk in chunks {
        if let Err(error) = answer.push(Bytes::copy_from_slice(chunk), &mut out) {
            return (Vec::new(), Err(error));
        }
    }
    (out.concat(), answer.finish())
}

fn run_events<'a>(rules: Marks, max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut answer = EventAnswer::new(rules, max);
    let mut out = Vec::new();
    for chunk in chunks {
        if let Err(error) = answer.push(Bytes::copy_from_slice(chunk), &mut out) {
            return (Vec::new(), Err(error));
        }
    }
    (out.concat(), answer.finish())
}

/// The outcome of `run`, which must be the same wherever the input is cut once, and in pieces of 1 to
/// 7 bytes.
fn however_cut(input: &[u8], run: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> Outcome) -> Outcome {
    let whole = run(&mut [input].into_iter());
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        let cut = run(&mut [head, tail].into_iter());
        assert_eq!(
            cut,
            whole,
            "cut at {at} of {:?}",
            String::from_utf8_lossy(input)
        );
    }
    for size in 1..=7 {
        assert_eq!(run(&mut input.chunks(size)), whole, "in pieces of {size}");
    }
    whole
}

fn json(input: &[u8]) -> Outcome {
    however_cut(input, |chunks| run_json(ALL, NO_LIMIT, chunks))
}

fn events(rules: Marks, input: &[u8]) -> Outcome {
    however_cut(input, |chunks| run_events(rules, NO_LIMIT, chunks))
}

/// `input` cut at `cuts`.
fn pieces<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 0..8)
}
