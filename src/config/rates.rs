//! How much users and keys may ask for over time, over all replicas: keys of `[limits]`.

use super::document::Value;
use super::reader::{Section, optional, text};
use super::{keys, values};

/// Most requests a minute, or a day.
const MOST: usize = 1_000_000_000;

/// Bounds on requests over time; what is none is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Requests a minute.
    pub rate: Option<u32>,
    /// Of these, how many at once.
    pub burst: Option<u32>,
    /// Requests a day (UTC).
    pub daily: Option<u64>,
}

/// What becomes of requests that are bounded while the store that counts them is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreDown {
    /// They are refused.
    Deny,
    /// Each process goes on with the whole bound by itself.
    Local,
}

/// How much may be asked for over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// By each user, unless his record says otherwise.
    pub user: Bounds,
    /// With each key, unless its record says otherwise.
    pub key: Bounds,
    /// What is done while the store is away.
    pub store_down: StoreDown,
}

pub(super) fn read(root: &Section<'_>) -> Option<Rates> {
    let section = root.section("limits", keys::LIMITS)?;
    let bounds = |keys: [&str; 3]| {
        let [rate, burst, daily] = keys;
        let number = |key| optional(&section, key, |value| values::number(value, 1, MOST));
        let (rate_set, burst_set, daily) = (number(rate)?, number(burst)?, number(daily)?);
        if burst_set.is_some() && rate_set.is_none() {
            section.fail_key(burst, format!("needs `{rate}` too"));
            return None;
        }
        let small = |number: usize| u32::try_from(number).ok();
        Some(Bounds {
            rate: rate_set.and_then(small),
            burst: burst_set.and_then(small),
            daily: daily.map(|number| number as u64),
        })
    };
    let user = bounds(["user_rate", "user_burst", "user_daily"]);
    let key = bounds(["key_rate", "key_burst", "key_daily"]);
    let store_down = section.required("rate_store_down", store_down);
    Some(Rates {
        user: user?,
        key: key?,
        store_down: store_down?,
    })
}

fn store_down(value: &Value) -> Result<StoreDown, String> {
    match text(value, "\"local\" or \"deny\"")? {
        "local" => Ok(StoreDown::Local),
        "deny" => Ok(StoreDown::Deny),
        _ => Err("write \"local\" or \"deny\"".to_owned()),
    }
}
