//! What a process occupies while nobody calls it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::echo::{Manner, echo};
use crate::support::kibibytes;
use crate::support::proxy::{Lines, Place, Proxy};

// Fails when `Image::forget_start` is not called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_that_only_a_start_needs_is_let_go() {
    let servers = [("one", echo(Manner::Json).await)];
    let proxy = Proxy::start(&Place::Sqlite, &Lines::default(), &servers).await;
    let pid = proxy.serving.pid();
    let until = Instant::now() + Duration::from_secs(30);
    let left = || kibibytes(pid, "VmHWM:").saturating_sub(kibibytes(pid, "VmRSS:"));
    while left() < 4 << 10 {
        assert!(Instant::now() < until, "{} KiB were let go", left());
        sleep(Duration::from_millis(50)).await;
    }
}
