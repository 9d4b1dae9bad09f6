//! A store that counts what it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use cloakroom::store::{
    Ask, Event, Record, RecordId, Settings, Settled, Store, StoreError, Taken, WriteError, open,
};
use tokio::sync::mpsc::UnboundedReceiver;

pub(crate) struct Counted {
    inner: Arc<dyn Store>,
    asked: AtomicUsize,
    brought: AtomicUsize,
}

impl Counted {
    pub(crate) async fn open(settings: &Settings) -> Arc<Self> {
        Self::over(open(settings).await.unwrap())
    }

    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            asked: AtomicUsize::new(0),
            brought: AtomicUsize::new(0),
        })
    }

    /// How often it was asked anything.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// How many records it gave.
    pub(crate) fn brought(&self) -> usize {
        self.brought.load(Ordering::SeqCst)
    }

    fn store(&self) -> &dyn Store {
        self.asked.fetch_add(1, Ordering::SeqCst);
        &*self.inner
    }
}

#[async_trait]
impl Store for Counted {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        let found = self.store().get_many(ids).await?;
        let there = found.iter().flatten().count();
        self.brought.fetch_add(there, Ordering::SeqCst);
        Ok(found)
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        self.store().put_if(record, expected).await
    }

    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError> {
        self.store().delete_if(id, expected).await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let page = self.store().page(prefix, after, limit).await?;
        self.brought.fetch_add(page.len(), Ordering::SeqCst);
        Ok(page)
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        self.store().settle().await
    }

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        self.store().take(asks).await
    }

    fn watch(&self) -> UnboundedReceiver<Event> {
        self.store().watch()
    }
}
