//! Opening the store the settings name.

use std::sync::Arc;

use super::settings::{OpenError, Settings};
use super::url::Place;
use super::{Store, memory, redis, sqlite};

/// Opens the store; creates an empty one where there is none. Takes 3 seconds at most.
///
/// The tokio runtime this is called on drives the store from then on, so it must live as long as the
/// store; the store itself may be used from any other runtime.
///
/// # Errors
/// See [`OpenError`]: each says what to do.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn open(settings: &Settings) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match &settings.url.0 {
        Place::Memory => Arc::new(memory::Memory::new()),
        Place::Redis(url) => Arc::new(redis::Redis::open(url, settings).await?),
        Place::Sqlite(path) => Arc::new(sqlite::Sqlite::open(path).await?),
    })
}

/// Opens a store that is there already and is only to be read: nothing is made, and a file may be one
/// nobody can write.
///
/// # Errors
/// See [`OpenError`]: each says what to do.
///
/// # Panics
/// As [`open`].
pub async fn open_to_read(settings: &Settings) -> Result<Arc<dyn Store>, OpenError> {
    match &settings.url.0 {
        Place::Sqlite(path) => Ok(Arc::new(sqlite::Sqlite::open_to_read(path).await?)),
        _ => open(settings).await,
    }
}
