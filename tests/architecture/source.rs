//! A source file as far as the architecture goes: a lexer of a page, so that no parser is needed.

use std::path::Path;

/// One file of `src`, tests, comments and strings cut out.
pub(crate) struct Source {
    /// Relative to `src`, with `/`.
    pub(crate) path: String,
    tokens: Vec<String>,
    lines: usize,
    /// Modules in files of their own that are there for tests only.
    tests: Vec<String>,
}

/// Every product file of `src`.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, "", &mut found);
    let tests: Vec<_> = found.iter().flat_map(Source::test_modules).collect();
    found.retain(|source| {
        let inner = source.path.trim_end_matches(".rs");
        let inside = |test: &String| {
            let rest = inner.strip_prefix(test.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !tests.iter().any(inside)
    });
    assert!(found.len() > 50, "the sources are where they should be");
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), found);
        } else if name.ends_with(".rs") && !name.ends_with("_tests.rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            found.push(Source::new(&path, &text));
        }
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (tokens, tests) = without_tests(lex(text));
        Self {
            path: path.to_owned(),
            lines: text.trim().lines().count() - test_lines(text),
            tests,
            tokens: tokens.into_iter().map(|(token, _)| token).collect(),
        }
    }

    /// Where the modules lie that are there for tests only, without `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let inner = self.path.trim_end_matches(".rs");
        let folder = inner.trim_end_matches("mod").trim_end_matches('/');
        let in_folder = |name| format!("{folder}/{name}");
        self.tests.iter().map(in_folder).collect()
    }

    /// The top-level module it is in.
    pub(crate) fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Lines without tests.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// The top-level modules it names, each with what it names of them (empty: the module itself).
    pub(crate) fn uses(&self) -> Vec<(String, String)> {
        let mut uses = Vec::new();
        let at = |i: usize| self.tokens.get(i).map_or("", String::as_str);
        let root = if self.path == "main.rs" {
            "cloakroom"
        } else {
            "crate"
        };
        for i in 0..self.tokens.len() {
            if at(i + 1) != "::" || at(i.wrapping_sub(1)) == "::" {
                continue;
            }
            if at(i) == root {
                self.tree(i + 2, &mut Vec::new(), &mut uses);
            } else if at(i) == "super" {
                let supers = (0..).take_while(|n| at(i + 2 * n) == "super").count();
                if supers >= self.depth() {
                    self.tree(i + 2 * supers, &mut Vec::new(), &mut uses);
                }
            }
        }
        uses
    }

    /// How many `super` lead to the crate's root.
    fn depth(&self) -> usize {
        let inner = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(inner, "lib" | "main") {
            0
        } else {
            inner.split('/').count()
        }
    }

    /// Reads a path or a group of paths from token `i` on; returns where it ends.
    fn tree(&self, i: usize, path: &mut Vec<String>, uses: &mut Vec<(String, String)>) -> usize {
        let at = |i: usize| self.tokens.get(i).map_or("", String::as_str);
        if at(i) == "{" {
            let mut i = i + 1;
            while at(i) != "}" && i < self.tokens.len() {
                let length = path.len();
                i = self.tree(i, path, uses);
                path.truncate(length);
                if at(i) == "," {
                    i += 1;
                }
            }
            return i + 1;
        }
        path.push(at(i).to_owned());
        if at(i + 1) == "::" {
            return self.tree(i + 2, path, uses);
        }
        let item = path.get(1).cloned().unwrap_or_default();
        uses.push((path[0].clone(), item));
        // `X as Y` ends with the next comma or bracket.
        if at(i + 1) == "as" { i + 3 } else { i + 1 }
    }

    /// Whether it names this crate, also as a part of another (`rustls::crypto::aws_lc_rs`), or has
    /// this keyword.
    pub(crate) fn names_crate(&self, word: &str) -> bool {
        let at = |i: usize| self.tokens.get(i).map_or("", String::as_str);
        let named = |i: usize| match (at(i.wrapping_sub(2)), at(i.wrapping_sub(1))) {
            ("crypto", "::") => true,
            // A module of ours of the same name.
            (_, "::") => false,
            (_, before) => before == "use" || at(i + 1) == "::",
        };
        (0..self.tokens.len()).any(|i| at(i) == word && (word == "unsafe" || named(i)))
    }
}

/// Words, `::` and single characters, each with its line.
fn lex(text: &str) -> Vec<(String, usize)> {
    let bytes = text.as_bytes();
    let (mut i, mut line) = (0, 1);
    let mut tokens = Vec::new();
    while i < bytes.len() {
        let rest = &text[i..];
        let begin = i;
        let first = bytes[i];
        if rest.starts_with("//") {
            i += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            i = block_comment(bytes, i);
        } else if let Some(end) = raw_string(rest) {
            i += end;
        } else if first == b'"' || rest.starts_with("b\"") {
            i = quoted(bytes, i + usize::from(first == b'b') + 1);
        } else if let Some(end) = character(rest) {
            i += end;
        } else if first.is_ascii_alphanumeric() || first == b'_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            i += end.unwrap_or(rest.len());
            tokens.push((text[begin..i].to_owned(), line));
        } else if rest.starts_with("::") {
            i += 2;
            tokens.push(("::".to_owned(), line));
        } else {
            i += rest.chars().next().unwrap().len_utf8();
            if !first.is_ascii_whitespace() {
                tokens.push((text[begin..i].to_owned(), line));
            }
        }
        line += text[begin..i].matches('\n').count();
    }
    tokens
}

fn block_comment(bytes: &[u8], mut i: usize) -> usize {
    let mut depth = 0;
    loop {
        match bytes.get(i..i + 2) {
            Some(b"/*") => (depth, i) = (depth + 1, i + 2),
            Some(b"*/") => (depth, i) = (depth - 1, i + 2),
            Some(_) => i += 1,
            None => return bytes.len(),
        }
        if depth == 0 {
            return i;
        }
    }
}

/// The offset after the closing quote of a string whose content begins at `i`.
fn quoted(bytes: &[u8], mut i: usize) -> usize {
    while i < bytes.len() && bytes[i] != b'"' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}

/// The length of the raw string `rest` begins with.
fn raw_string(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = inner.bytes().take_while(|&b| b == b'#').count();
    let content = inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = rest.len() - content.len();
    Some(begin + content.find(&end)? + end.len())
}

/// The length of the character literal `rest` begins with; lifetimes are none.
fn character(rest: &str) -> Option<usize> {
    let prefix = usize::from(rest.starts_with("b'"));
    let inner = rest[prefix..].strip_prefix('\'')?;
    if inner.starts_with('\\') {
        let end = inner[2..].find('\'')?;
        return Some(prefix + 1 + 2 + end + 1);
    }
    let mut chars = inner.chars();
    let one = chars.next()?;
    (chars.next() == Some('\'')).then(|| prefix + 1 + one.len_utf8() + 1)
}

/// Cuts out every item after `#[cfg(test)]`; also returns those that are a file of their own.
fn without_tests(tokens: Vec<(String, usize)>) -> (Vec<(String, usize)>, Vec<String>) {
    let (mut left, mut tests) = (Vec::new(), Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        let Some(end) = test_item(&tokens, i) else {
            left.push(tokens[i].clone());
            i += 1;
            continue;
        };
        if let [.., (keyword, _), (name, _), (last, _)] = &tokens[i..end]
            && (keyword.as_str(), last.as_str()) == ("mod", ";")
        {
            tests.push(name.clone());
        }
        i = end;
    }
    (left, tests)
}

/// Lines of the items after `#[cfg(test)]`.
fn test_lines(text: &str) -> usize {
    let tokens = lex(text);
    let (mut i, mut lines) = (0, 0);
    while i < tokens.len() {
        match test_item(&tokens, i) {
            Some(end) => {
                lines += tokens[end - 1].1 - tokens[i].1 + 1;
                i = end;
            }
            None => i += 1,
        }
    }
    lines
}

/// Where the item ends whose `#[cfg(test)]` begins at token `i`.
fn test_item(tokens: &[(String, usize)], i: usize) -> Option<usize> {
    let at = |i: usize| tokens.get(i).map_or("", |(token, _)| token.as_str());
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    if !mark
        .iter()
        .enumerate()
        .all(|(n, token)| at(i + n) == *token)
    {
        return None;
    }
    let mut depth = 0;
    for end in i + mark.len()..tokens.len() {
        match at(end) {
            "{" => depth += 1,
            "}" if depth == 1 => return Some(end + 1),
            "}" => depth -= 1,
            ";" if depth == 0 => return Some(end + 1),
            _ => {}
        }
    }
    Some(tokens.len())
}
