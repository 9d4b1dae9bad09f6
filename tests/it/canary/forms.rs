//! Something that must not be found, in every form in which bytes are usually written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

/// Something that must not be found.
pub(super) struct Canary {
    name: &'static str,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    pub(super) fn new(name: &'static str, value: &str) -> Self {
        let bytes = value.as_bytes();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let json = serde_json::to_string(value).unwrap();
        let mut forms = vec![
            ("raw", bytes.to_vec()),
            ("upper-case hex", hex.to_uppercase().into_bytes()),
            ("hex", hex.into_bytes()),
            ("percent-encoded", percent(bytes).into_bytes()),
            (
                "lower-case percent-encoded",
                lower_escapes(&percent(bytes)).into_bytes(),
            ),
            (
                "form",
                url::form_urlencoded::byte_serialize(bytes)
                    .collect::<String>()
                    .into(),
            ),
            ("query of a URL", query_of_url(value).into_bytes()),
            ("debug", format!("{value:?}").trim_matches('"').into()),
            ("JSON", json.trim_matches('"').into()),
            (
                "bytes",
                format!("{bytes:?}").trim_matches(['[', ']']).into(),
            ),
        ];
        // However often it was escaped, these are left as they are.
        let parts = value.split(|c: char| c == '"' || c == '\\' || c.is_control());
        let telling = parts.filter(|part| part.len() >= 8);
        forms.extend(telling.map(|part| ("a part", part.into())));
        for alignment in 0..3 {
            let padded = [&b"   "[..alignment], bytes].concat();
            let text = STANDARD.encode(padded);
            // The first group depends on what stands before, the last on what comes after.
            let middle = &text[4..text.len() - 4];
            forms.push(("base64", middle.into()));
            let url = middle.replace('+', "-").replace('/', "_");
            forms.push(("base64url", url.into()));
        }
        Self { name, forms }
    }

    #[track_caller]
    pub(super) fn absent(&self, place: &str, bytes: &[u8]) {
        for (form, needle) in &self.forms {
            let Some(at) = memmem::find(bytes, needle) else {
                continue;
            };
            let around = &bytes[at.saturating_sub(100)..bytes.len().min(at + 200)];
            let around = String::from_utf8_lossy(around);
            panic!("{} in {place}, {form}: {around}", self.name);
        }
    }
}

pub(super) fn percent(bytes: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let escape = |&b: &u8| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    bytes.iter().map(escape).collect()
}

fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        lower.push('%');
        lower.push_str(&part[..2].to_ascii_lowercase());
        lower.push_str(&part[2..]);
    }
    lower
}

/// As browsers write it, who escape little.
fn query_of_url(value: &str) -> String {
    let url = url::Url::parse(&format!("http://x/?{value}")).unwrap();
    url.query().unwrap_or_default().to_owned()
}
