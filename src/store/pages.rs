//! Walking many records with the memory of a few.

use super::{Record, RecordId, Store, StoreError};

/// A walk over all records under a prefix, in byte order of their ids.
pub struct Pages<'a> {
    store: &'a dyn Store,
    prefix: String,
    size: usize,
    last: Option<RecordId>,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// A walk over the records whose id starts with `prefix` (see [`Store::page`]), `size` at a time.
    #[must_use]
    pub fn new(store: &'a dyn Store, prefix: impl Into<String>, size: usize) -> Self {
        Self {
            store,
            prefix: prefix.into(),
            size,
            last: None,
            ended: false,
        }
    }

    /// The next records, at least one; `None` at the end.
    ///
    /// # Errors
    /// When the store cannot be read; asked again it goes on there.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.store.page(&self.prefix, self.last.as_ref(), self.size);
        let page = page.await?;
        self.ended = page.len() < self.size;
        self.last = page.last().map(|record| record.id.clone());
        Ok((!page.is_empty()).then_some(page))
    }
}
