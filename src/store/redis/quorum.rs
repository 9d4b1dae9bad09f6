//! Asking several at once, of whom some may be silent.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

/// How much later than most somebody may answer. Who was sent elsewhere by a moving record waits for all
/// of this, and must not wait for who is silent. But right after a fail-over those who know of it may
/// be the fewer, so the first majority is not enough.
pub(super) const LAGGARDS: Duration = Duration::from_millis(50);

/// The answers of all who answer no more than `laggards` later than most.
pub(super) async fn most<T, E>(
    asked: impl Iterator<Item = impl Future<Output = Result<T, E>>>,
    laggards: Duration,
) -> Vec<Result<T, E>> {
    let mut asked: FuturesUnordered<_> = asked.collect();
    let majority = asked.len() / 2 + 1;
    let (mut answers, mut good, mut until) = (Vec::new(), 0, None);
    loop {
        let next = match until {
            None => asked.next().await,
            Some(until) => timeout_at(until, asked.next()).await.ok().flatten(),
        };
        let Some(answer) = next else {
            return answers;
        };
        good += usize::from(answer.is_ok());
        answers.push(answer);
        if good >= majority && until.is_none() {
            until = Some(Instant::now() + laggards);
        }
    }
}
