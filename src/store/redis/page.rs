//! Listing: the indexes of one kind, tag after tag, so that the whole walk is in byte order.

use redis::cmd;

use super::ask::{Question, read};
use super::node::Purpose;
use super::{Inner, WRITE_TIMEOUT, layout};
use crate::store::{Record, RecordId, StoreError};

/// Indexes asked in one round trip: a sparse store is walked in 8 of them.
const TAGS_PER_TRIP: usize = 32;
/// Records fetched in one round trip.
const RECORDS_PER_TRIP: usize = 64;

impl Inner {
    pub(super) async fn page(
        &self,
        prefix: &str,
        mut after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let tags = tags(prefix, after.as_ref());
        let mut tags = tags.chunks(TAGS_PER_TRIP);
        let mut found = Vec::new();
        let mut now = tags.next();
        while let Some(some_tags) = now
            && found.len() < limit
        {
            let wanted = (limit - found.len()).min(RECORDS_PER_TRIP);
            let ids = self.ids(some_tags, prefix, after.as_ref(), wanted).await?;
            // More may follow under these tags; also when some were deleted before we read them.
            if ids.len() < wanted {
                now = tags.next();
            }
            after = ids.last().cloned().or(after);
            let records = self.get_many(Purpose::List, WRITE_TIMEOUT, ids).await?;
            found.extend(records.into_iter().flatten());
        }
        Ok(found)
    }

    /// The first ids, at most `limit`, that start with `prefix` and come after `after`.
    async fn ids(
        &self,
        tags: &[String],
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<RecordId>, StoreError> {
        let kind = prefix.chars().next().unwrap_or_default();
        let from = match after {
            Some(id) if id.as_str() >= prefix => format!("({id}"),
            _ => format!("[{prefix}"),
        };
        // `~` comes after every character an id may hold.
        let to = format!("({prefix}~");
        let question = |tag: &String| {
            let key = self.layout.index_key(kind, tag);
            let mut list = cmd("ZRANGEBYLEX");
            list.arg(&key).arg(&from).arg(&to);
            list.arg("LIMIT").arg(0).arg(limit);
            Question::new(&key, list)
        };
        let questions: Vec<_> = tags.iter().map(question).collect();
        let lists = self.ask(Purpose::List, &questions, WRITE_TIMEOUT).await?;
        let lists = lists.into_iter().map(read::<Vec<String>>);
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let ids = lists.into_iter().flatten().take(limit).map(|id| {
            let damaged = || StoreError::Damaged("an id in an index".to_owned());
            RecordId::parse(&id).ok_or_else(damaged)
        });
        ids.collect()
    }
}

/// The tags ids with this prefix can have, from that of `after` on.
fn tags(prefix: &str, after: Option<&RecordId>) -> Vec<String> {
    let fixed = prefix.get(2..prefix.len().min(4)).unwrap_or_default();
    let passed = after
        .map(RecordId::as_str)
        .filter(|id| id.get(..2) == prefix.get(..2));
    let passed = passed.map_or("", |id| &id[2..4]);
    layout::tags()
        .filter(|tag| tag.starts_with(fixed) && tag.as_str() >= passed)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_the_prefix_and_the_place_in_the_walk() {
        assert_eq!(tags("k/", None).len(), 256);
        assert_eq!(tags("k/a", None).len(), 16);
        assert_eq!(tags("k/ab/cd", None), ["ab"]);
        assert_eq!(tags("k/", RecordId::parse("k/fe00").as_ref()), ["fe", "ff"]);
        // An id of another kind says nothing about the place.
        assert_eq!(tags("s/", RecordId::parse("k/fe00").as_ref()).len(), 256);
        assert!(tags("k/ab", RecordId::parse("k/ac").as_ref()).is_empty());
    }
}
