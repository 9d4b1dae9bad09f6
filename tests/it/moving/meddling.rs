//! A destination during whose writes something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use cloakroom::store::{
    Ask, Event, Record, RecordId, Settled, Store, StoreError, Taken, WriteError,
};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;

type Meddle = Box<dyn Fn(usize) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>;

/// Calls `meddle` with the number of each write, from 1, before it is made.
pub(super) struct Meddled {
    inner: Arc<dyn Store>,
    writes: AtomicUsize,
    meddle: Meddle,
}

impl Meddled {
    pub(super) fn store(
        inner: &Arc<dyn Store>,
        meddle: impl Fn(usize) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync + 'static,
    ) -> Arc<dyn Store> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            writes: AtomicUsize::new(0),
            meddle: Box::new(meddle),
        })
    }
}

#[async_trait]
impl Store for Meddled {
    async fn get_many(&self, ids: &[RecordId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.inner.get_many(ids).await
    }

    async fn put_if(&self, record: Record, expected: Option<u64>) -> Result<(), WriteError> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        (self.meddle)(number).await?;
        self.inner.put_if(record, expected).await
    }

    async fn delete_if(&self, id: &RecordId, expected: u64) -> Result<(), WriteError> {
        self.inner.delete_if(id, expected).await
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.inner.page(prefix, after, limit).await
    }

    async fn settle(&self) -> Result<Settled, StoreError> {
        self.inner.settle().await
    }

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Taken>, StoreError> {
        self.inner.take(asks).await
    }

    fn watch(&self) -> UnboundedReceiver<Event> {
        self.inner.watch()
    }
}
