//! Cheap changes to seeds.

/// The longest input made.
const LONGEST: usize = 4096;

/// What parsers stumble over.
const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"1e999",
    b"-0",
    b"\r\n",
    b"\n",
    b"\n\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"=",
    b"''",
    b"\"\"\"",
    b"$-1\r\n",
    b"*-1\r\n",
    b">2\r\n",
    b"_\r\n",
    b"${",
    b"}",
    b"clk_",
    b"PROXY ",
    b"data: ",
    b"id:",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b"\xe2\x84\xaa",
    b"\xc5\xbf",
    b"9223372036854775808",
    b"65536",
    b"%00",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
];

/// Inputs without end, the same for the same start.
pub(super) struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    pub(super) fn new(start: u64, seeds: &'a [Vec<u8>]) -> Self {
        Self {
            state: start | 1,
            seeds,
        }
    }

    /// A seed with one to eight changes.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed().to_vec();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (start, end) = self.range(input.len());
        match self.below(10) {
            0 => self.at(input, |byte, by| *byte ^= 1 << (by & 7)),
            1 => self.at(input, |byte, by| *byte = by),
            2 => self.at(input, |byte, by| {
                *byte = byte.wrapping_add(by & 3).wrapping_sub(1)
            }),
            3 => drop(input.drain(start..end)),
            4 => input.truncate(end),
            5 => {
                let times = 1 + self.below(8);
                let part = input[start..end].repeat(times);
                input.splice(start..start, part);
            }
            6 => {
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(start..start, token.iter().copied());
            }
            7 => {
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(start..end, token.iter().copied());
            }
            8 => {
                let other = self.seed();
                let (from, to) = self.range(other.len());
                input.splice(start..end, other[from..to].iter().copied());
            }
            _ => {
                let part = input[start..end].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, part);
            }
        }
    }

    fn seed(&mut self) -> &'a [u8] {
        &self.seeds[self.below(self.seeds.len())]
    }

    fn at(&mut self, input: &mut [u8], change: impl FnOnce(&mut u8, u8)) {
        if !input.is_empty() {
            let by = self.below(256) as u8;
            change(&mut input[self.below(input.len())], by);
        }
    }

    /// A range, short ones more often.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let start = self.below(length + 1);
        let most = [4, 16, 64, LONGEST][self.below(4)];
        (start, length.min(start + self.below(most)))
    }

    fn below(&mut self, end: usize) -> usize {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (number as usize) % end
    }
}
