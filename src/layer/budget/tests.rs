use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http_body::{Body, Frame};
use http_body_util::{Full, StreamBody};
use tokio::task::{JoinSet, yield_now};

use super::*;

type Running = Pin<Box<dyn Future<Output = Result<(), Rejection>>>>;

fn user(number: u8) -> UserId {
    UserId::from_hex(&format!("{number:02x}").repeat(16)).unwrap()
}

fn small() -> Budget {
    Budget::new(Limits {
        body: 4,
        in_flight: 9,
        user_in_flight: 6,
        requests: 3,
        user_requests: 2,
        streams: 3,
        user_streams: 2,
        list: 1,
    })
}

fn pieces(list: &[&'static str]) -> impl Body<Data = Bytes> + use<> {
    let frames: Vec<_> = list
        .iter()
        .map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(*piece))))
        .collect();
    StreamBody::new(stream::iter(frames))
}

fn read<B: Body>(budget: &Budget, number: u8, body: B) -> Result<(Bytes, Held), Kind> {
    let read = budget.read(user(number), body).now_or_never().unwrap();
    read.map_err(|rejection| rejection.kind())
}

/// Nothing is under way, and nobody is remembered.
#[track_caller]
fn assert_empty(budget: &Budget) {
    let Usage {
        bytes,
        requests,
        streams,
        ..
    } = budget.figures();
    let users = budget.0.shares.users();
    assert_eq!((bytes, requests, streams, users), (0, 0, 0, 0));
}

#[test]
fn bodies_are_held_to_the_limit_exactly() {
    let budget = small();
    let whole = read(&budget, 1, pieces(&["ab", "cd"]));
    assert_eq!(whole.ok().unwrap().0, "abcd");
    let body = Full::new(Bytes::from("abcde"));
    assert_eq!(read(&budget, 1, body).err(), Some(Kind::BodyTooLarge));
    let body = pieces(&["ab", "cde"]);
    assert_eq!(read(&budget, 1, body).err(), Some(Kind::BodyTooLarge));
    assert_eq!(read(&budget, 1, pieces(&[])).ok().unwrap().0, "");
    assert_empty(&budget);
}

// Fails when bytes are counted in all only, or for good.
#[test]
fn bytes_count_for_their_user_and_in_all_until_they_are_dropped() {
    let budget = small();
    let own: Vec<_> = (0..2)
        .map(|_| read(&budget, 1, pieces(&["abc"])).ok().unwrap())
        .collect();
    let more = || read(&budget, 1, pieces(&["a"])).err();
    assert_eq!(more(), Some(Kind::TooManyRequests));
    let other = read(&budget, 2, pieces(&["abc"])).ok().unwrap();
    let third = || read(&budget, 3, pieces(&["a"])).err();
    assert_eq!(third(), Some(Kind::Overloaded));
    drop(other);
    assert_eq!(third(), None);
    assert_eq!(more(), Some(Kind::TooManyRequests));
    drop(own);
    assert_eq!(more(), None);
    assert_empty(&budget);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_not_waited_for_and_not_counted_any_more() {
    let budget = small();
    let first = stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from("ab")))]);
    let endless = StreamBody::new(first.chain(stream::pending()));
    let refused = budget.read_in_time(user(1), endless).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::BodyUnreadable);
    assert_empty(&budget);
}

// Fails when who is above his share is refused at once, waits longer, or takes others' places.
#[tokio::test(start_paused = true)]
async fn a_user_above_his_share_waits_in_line_and_nobody_else_does() {
    let budget = small();
    let enter = |number| {
        let budget = budget.clone();
        async move { budget.enter(user(number), None).await }
    };
    let own = [enter(1).await.unwrap(), enter(1).await.unwrap()];
    let mut line: Vec<_> = (0..3).map(|_| tokio::spawn(enter(1))).collect();
    yield_now().await;
    let other = enter(2).now_or_never().expect("at once").unwrap();
    let overloaded = enter(3).now_or_never().expect("at once").err().unwrap();
    assert_eq!(overloaded.kind(), Kind::Overloaded);
    let [first, second] = own;
    drop(first);
    let turn = line.remove(0).await.unwrap().expect("the first in line");
    // One who went away is passed over.
    line.remove(0).abort();
    drop(turn);
    let turn = line.remove(0).await.unwrap().expect("the next who waits");
    let since = tokio::time::Instant::now();
    let refused = enter(1).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::TooManyRequests);
    assert!(refused.text().contains("`limits.user_requests`"));
    assert_eq!(since.elapsed().as_secs(), 2);
    drop((second, turn, other));
    assert_empty(&budget);
    assert_eq!(budget.figures().waited, 4);
    assert_eq!(budget.figures().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded() {
    let budget = small();
    let own = [
        budget.enter(user(1), None).await,
        budget.enter(user(1), None).await,
    ];
    let mut line = JoinSet::new();
    for _ in 0..32 {
        let budget = budget.clone();
        line.spawn(async move { budget.enter(user(1), None).await.map(drop) });
    }
    yield_now().await;
    let refused = budget.enter(user(1), None).now_or_never().expect("at once");
    assert_eq!(refused.err().unwrap().kind(), Kind::TooManyRequests);
    drop(own);
    assert!(line.join_all().await.iter().all(Result::is_ok));
    assert_empty(&budget);
}

// Fails when a place is handed on to those who gave up, one call within the other, or when they stay in
// line.
#[tokio::test(start_paused = true)]
async fn however_many_gave_up_waiting_the_next_is_called_at_once() {
    const UNDER_WAY: usize = 12_500;
    let budget = Budget::new(Limits {
        requests: UNDER_WAY,
        user_requests: UNDER_WAY,
        ..Limits::default()
    });
    let enter = || Box::pin(budget.enter(user(1), None));
    let mut own = Vec::new();
    for _ in 0..UNDER_WAY {
        own.push(enter().now_or_never().expect("at once").unwrap());
    }
    let in_line = |count: usize| -> Vec<_> {
        (0..count)
            .map(|_| {
                let mut waiting = enter();
                assert!(waiting.as_mut().now_or_never().is_none());
                waiting
            })
            .collect()
    };
    let mut gave_up = in_line(16 * UNDER_WAY);
    assert_eq!(gave_up.len(), 200_000);
    let full = enter().now_or_never().expect("at once").err().unwrap();
    assert_eq!(full.kind(), Kind::TooManyRequests);
    drop(gave_up.pop());
    let last = in_line(1).remove(0);
    drop(gave_up);
    let turn = own.pop();
    let small = std::thread::Builder::new().stack_size(64 << 10);
    small.spawn(|| drop(turn)).unwrap().join().unwrap();
    let turn = last.now_or_never().expect("at once").unwrap();
    drop((own, turn));
    assert_empty(&budget);
}

// Fails when a place is offered to the first in line alone.
#[tokio::test(start_paused = true)]
async fn who_may_have_less_under_way_keeps_nobody_behind_him_waiting() {
    let budget = small();
    let mut own = vec![
        budget.enter(user(1), None).await,
        budget.enter(user(1), None).await,
    ];
    let mut tight = Box::pin(budget.enter(user(1), Some(1)));
    assert!(tight.as_mut().now_or_never().is_none());
    let mut next = Box::pin(budget.enter(user(1), None));
    assert!(next.as_mut().now_or_never().is_none());
    own.pop();
    let turn = next.now_or_never().expect("at once").unwrap();
    assert!(tight.as_mut().now_or_never().is_none());
    drop((own, turn));
    let turn = tight.now_or_never().expect("at once").unwrap();
    drop(turn);
    assert_empty(&budget);
}

// Fails when what was under way before hands its place on by the bound of then.
#[tokio::test(start_paused = true)]
async fn a_lower_limit_takes_effect_though_the_line_never_ends() {
    let budget = small();
    let own = [
        budget.enter(user(1), None).await,
        budget.enter(user(1), None).await,
    ];
    let stricter = budget.with_limits(Limits {
        user_requests: 1,
        ..small().0.limits
    });
    let mut line: Vec<_> = (0..3)
        .map(|_| {
            let stricter = stricter.clone();
            tokio::spawn(async move { stricter.enter(user(1), None).await })
        })
        .collect();
    yield_now().await;
    let [first, second] = own;
    drop(first);
    assert_eq!(stricter.figures().requests, 1);
    let mut turn = second;
    while !line.is_empty() {
        drop(turn);
        turn = line.remove(0).await.unwrap();
        assert!(turn.is_ok());
        assert_eq!(stricter.figures().requests, 1);
    }
    drop(turn);
    assert_empty(&stricter);
}

// Fails when streams are not counted for their user, or a place is not given back.
#[test]
fn streams_are_bounded_for_each_user_and_in_all() {
    let budget = small();
    let own = [budget.open(user(1)).unwrap(), budget.open(user(1)).unwrap()];
    let kind = |refused: Result<Open, Rejection>| refused.err().map(|refused| refused.kind());
    assert_eq!(kind(budget.open(user(1))), Some(Kind::TooManyRequests));
    let answered = budget.may_open(user(1)).err().unwrap();
    assert_eq!(answered.kind(), Kind::TooManyRequests);
    assert!(answered.text().contains("`limits.user_streams`"));
    budget.may_open(user(2)).unwrap();
    let other = budget.open_answer(user(2));
    assert_eq!(kind(budget.open(user(3))), Some(Kind::Overloaded));
    assert_eq!(
        budget.may_open(user(3)).err().map(|refused| refused.kind()),
        Some(Kind::Overloaded)
    );
    drop(own);
    assert!(budget.open(user(1)).is_ok());
    drop(other);
    assert_empty(&budget);
}

#[tokio::test(start_paused = true)]
async fn other_limits_hold_for_what_begins_then_over_the_same_counts() {
    let budget = small();
    let own = [
        budget.enter(user(1), None).await,
        budget.enter(user(1), None).await,
    ];
    let stricter = budget.with_limits(Limits {
        user_requests: 1,
        ..small().0.limits
    });
    let waiting = stricter.clone();
    let waiting = tokio::spawn(async move { waiting.enter(user(1), None).await.map(drop) });
    yield_now().await;
    assert_eq!(stricter.figures().requests, 2);
    drop(own);
    waiting.await.unwrap().unwrap();
    assert_empty(&budget);
    assert_empty(&stricter);
}

/// A request from its first byte to its last, with a moment after each step.
async fn request(budget: Budget, number: u8) -> Result<(), Rejection> {
    let moment = |piece: &'static str| async move {
        yield_now().await;
        Ok::<_, std::io::Error>(Frame::data(Bytes::from(piece)))
    };
    let turn = budget.enter(user(number), None).await?;
    let body = stream::iter(["a", "b"]).then(moment);
    let mut body = std::pin::pin!(body);
    let body = StreamBody::new(body.as_mut());
    let (_, held) = budget.read_in_time(user(number), body).await?;
    budget.may_open(user(number))?;
    yield_now().await;
    drop(held);
    let stream = budget.open_answer(user(number));
    drop(turn);
    yield_now().await;
    drop(stream);
    Ok(())
}

// Whoever stops at whatever moment leaves nothing behind. Fails when a place is handed to somebody who
// went away and stays his, or when anything is counted without a guard.
#[tokio::test(start_paused = true)]
async fn requests_that_end_at_any_moment_leave_nothing_behind() {
    let mut chance = 7_u64;
    let mut below = |end: usize| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (chance >> 33) as usize % end
    };
    let (budget, mut finished) = (small(), 0);
    for _ in 0..500 {
        let mut running: Vec<Running> = (0..12)
            .map(|n| Box::pin(request(budget.clone(), n % 2)) as _)
            .collect();
        while !running.is_empty() {
            // What is polled here must not use up what the runtime lets a task do at once.
            yield_now().await;
            let at = below(running.len());
            let polled = running[at]
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            finished += usize::from(matches!(polled, std::task::Poll::Ready(Ok(()))));
            if polled.is_ready() || below(12) == 0 {
                drop(running.swap_remove(at));
            }
        }
        assert_empty(&budget);
    }
    assert!(finished > 500, "{finished} of 6000 came to their end");
}
