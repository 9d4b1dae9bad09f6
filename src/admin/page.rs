//! Lists in pages.

use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// How many at most.
    #[serde(default = "usual")]
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub(super) limit: u16,
    /// The `next` of the page before.
    #[param(min_length = 1, max_length = 256)]
    pub(super) cursor: Option<String>,
}

pub(super) fn usual() -> u16 {
    100
}

impl Page {
    /// How many, and after which id.
    pub(super) fn read<T>(
        &self,
        id: impl Fn(&str) -> Option<T>,
    ) -> Result<(usize, Option<T>), Problem> {
        let limit = self.limit()?;
        let cursor = self.cursor.as_deref();
        let after = cursor
            .map(|text| id(text).ok_or_else(bad_cursor))
            .transpose()?;
        Ok((limit, after))
    }

    fn limit(&self) -> Result<usize, Problem> {
        if (1..=1000).contains(&self.limit) {
            return Ok(self.limit.into());
        }
        Err(Problem::wrong("`limit` is 1 to 1000"))
    }

    /// A page of what is all at hand, in the order of `key`; and where the next begins.
    pub(super) fn of<T>(
        &self,
        mut all: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let limit = self.limit()?;
        all.sort_by_key(&key);
        if let Some(cursor) = &self.cursor {
            all.retain(|item| key(item) > *cursor);
        }
        let is_more = all.len() > limit;
        all.truncate(limit);
        let next = all.last().filter(|_| is_more).map(key);
        Ok((all, next))
    }
}

fn bad_cursor() -> Problem {
    Problem::wrong("`cursor` is not the `next` of an answer of this list: begin without one")
}

/// Where the next page begins, after so many that ended with `last`.
pub(super) fn next(found: usize, limit: usize, last: Option<impl ToString>) -> Option<String> {
    last.filter(|_| found >= limit).map(|id| id.to_string())
}
