//! Moments as other systems write them.

use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::draft::Refusal;

/// The last second RFC 3339 can write; what is larger is most likely milliseconds.
const LAST: u64 = 253_402_300_799;

/// Unix seconds of a number of them, or of a text of ISO 8601. Without a zone it is UTC.
pub(super) fn seconds(what: &str, value: &Value) -> Result<Option<u64>, Refusal> {
    let found = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => of_text(text),
        Value::Number(number) => of_number(number.as_f64()),
        _ => None,
    };
    found.map(Some).ok_or_else(|| {
        Refusal::new(format!(
            "`{what}` is not a time: write ISO 8601, such as 2027-01-31T12:00:00Z, or unix seconds"
        ))
    })
}

fn of_number(number: Option<f64>) -> Option<u64> {
    let number = number.filter(|n| (0.0..=LAST as f64).contains(n))?;
    Some(number as u64)
}

fn of_text(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return of_number(Some(number));
    }
    if !text.is_ascii() || text.len() < 10 {
        return None;
    }
    let (date, time) = text.split_at(10);
    let (clock, ahead) = zone(time)?;
    let clock = clock.split('.').next()?;
    let clock = match clock.len() {
        0 => "T00:00:00".to_owned(),
        // Hours and minutes.
        6 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let time = humantime::parse_rfc3339_weak(&format!("{date}{clock}")).ok()?;
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    seconds.checked_add_signed(-ahead)
}

/// The part before the zone, and how many seconds the zone is ahead of UTC.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let (clock, zone) = time.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let number = |text: &str| text.parse::<i64>().ok().filter(|n| *n < 60);
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits)?, 0),
        4 => (number(&digits[..2])?, number(&digits[2..])?),
        _ => return None,
    };
    Some((clock.trim_end(), sign * (hours * 3600 + minutes * 60)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_of_writing_a_moment_is_the_same_moment() {
        for value in [
            json!(1_769_860_800),
            json!(1_769_860_800.75),
            json!("1769860800"),
            json!("2026-01-31T12:00:00Z"),
            json!("2026-01-31T12:00:00"),
            json!("2026-01-31 12:00:00.123456+00"),
            json!("2026-01-31T14:00:00.123456+02:00"),
            json!("2026-01-31T06:30:00-0530"),
            json!("2026-01-31T12:00"),
        ] {
            assert_eq!(seconds("t", &value), Ok(Some(1_769_860_800)), "{value}");
        }
        assert_eq!(seconds("t", &json!("2026-01-31")), Ok(Some(1_769_817_600)));
        assert_eq!(seconds("t", &json!(null)), Ok(None));
    }

    #[test]
    fn what_is_no_moment_is_refused_and_not_repeated() {
        for value in [
            json!("canary"),
            json!("2026-13-31T12:00:00Z"),
            json!("2026-01-31T12:00:00+9"),
            json!("2026-01-31T12:00:00+99:99"),
            json!("éééééééééééé"),
            json!(1_769_860_800_000_u64),
            json!(-1),
            json!("NaN"),
            json!("1970-01-01T00:00:00+01:00"),
            json!([1]),
            json!(true),
        ] {
            let why = seconds("created_at", &value).unwrap_err().to_string();
            assert!(
                why.contains("created_at") && !why.contains("canary"),
                "{why}"
            );
        }
    }
}
