//! Numbers in JSON text, found by what stands before them: enough for messages that we make ourselves.

use memchr::memmem;

/// The number that follows the first `label` in `text`.
pub fn number_after(text: &[u8], label: &[u8]) -> Option<u64> {
    let at = memmem::find(text, label)? + label.len();
    number(&text[at..])
}

/// The number that `text` begins with.
pub fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 19 {
        return None;
    }
    let value = |value: u64, byte: &u8| value * 10 + u64::from(byte - b'0');
    Some(text[..digits].iter().fold(0, value))
}

/// Writes `value` over `place`, with leading zeros.
pub fn write_number(place: &mut [u8], mut value: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_after_their_label_and_written_to_their_width() {
        assert_eq!(
            number_after(b"{\"id\":17,\"user\":4}", b"\"user\":"),
            Some(4)
        );
        assert_eq!(number_after(b"{\"id\":x}", b"\"id\":"), None);
        let mut place = *b"______";
        write_number(&mut place, 42);
        assert_eq!(&place, b"000042");
    }
}
