use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn rate(ms: u32, burst: u32) -> Meter {
    Meter::Rate {
        interval: MS * ms,
        burst,
    }
}

fn granted(n: u32) -> Taken {
    Taken {
        granted: n,
        retry_after: Duration::ZERO,
    }
}

fn goes(turn: Turn) -> bool {
    matches!(turn, Turn::Go(_))
}

// Fails when a slice does not grow, or grows beyond a quarter of the burst, or never shrinks.
#[test]
fn slices_grow_while_they_are_used_up() {
    let meter = rate(10, 40);
    let (mut hand, start) = (Hand::new(meter), Instant::now());
    let mut wanted = Vec::new();
    for _ in 0..6 {
        let Turn::Lease(want) = hand.take(meter, 1, start) else {
            panic!("nothing is in hand");
        };
        wanted.push(want);
        hand.land(meter, want, granted(want), start, start);
        for _ in 0..want {
            assert!(goes(hand.take(meter, 1, start)));
        }
    }
    assert_eq!(wanted, [1, 2, 4, 8, 10, 10]);
    let later = start + MS * 400;
    assert_eq!(hand.take(meter, 1, later), Turn::Lease(1));
    assert_eq!(hand.take(meter, 7, later), Turn::Lease(7), "a batch");
    let quota = |max| Meter::Quota { max, until: 1 };
    assert_eq!(
        [1, 99, 250, 1 << 40].map(|max| largest_slice(quota(max))),
        [1, 1, 2, 64]
    );
}

// Fails when permits do not die, or a quota's do.
#[test]
fn what_is_leased_dies_after_a_burst() {
    let meter = rate(10, 40);
    let (mut hand, asked) = (Hand::new(meter), Instant::now());
    hand.land(meter, 3, granted(3), asked, asked + MS * 100);
    assert!(goes(hand.take(meter, 1, asked + MS * 399)));
    assert!(!goes(hand.take(meter, 1, asked + MS * 400)));
    let quota = Meter::Quota { max: 40, until: 1 };
    let mut hand = Hand::new(quota);
    hand.land(quota, 1, granted(1), asked, asked);
    assert!(goes(hand.take(quota, 1, asked + MS * 80_000_000)));
}

// Fails when a denial is forgotten, or stops who has permits in hand.
#[test]
fn a_denial_is_remembered() {
    let meter = rate(100, 8);
    let (mut hand, start) = (Hand::new(meter), Instant::now());
    let taken = Taken {
        granted: 1,
        retry_after: MS * 60,
    };
    hand.land(meter, 2, taken, start, start);
    assert!(goes(hand.take(meter, 1, start)));
    assert_eq!(hand.take(meter, 1, start), Turn::No(MS * 60));
    assert_eq!(hand.take(meter, 3, start + MS * 10), Turn::No(MS * 250));
    assert_eq!(hand.take(meter, 1, start + MS * 60), Turn::Lease(2));
    assert_eq!(hand.take(meter, 9, start), Turn::Never(8));
}

#[test]
fn what_is_given_back_is_there_and_a_new_limit_begins_anew() {
    let meter = rate(100, 8);
    let (mut hand, start) = (Hand::new(meter), Instant::now());
    hand.land(meter, 1, granted(1), start, start);
    hand.land(meter, 2, granted(2), start + MS, start + MS);
    let Turn::Go(permits) = hand.take(meter, 3, start) else {
        panic!("three are in hand");
    };
    assert_eq!(hand.take(meter, 1, start), Turn::Lease(2));
    hand.give_back(meter, permits);
    assert!(goes(hand.take(meter, 2, start + MS * 799)));
    // All of them die with the eldest, with which they were taken.
    assert!(!goes(hand.take(meter, 1, start + MS * 800)));
    hand.land(meter, 2, granted(2), start, start);
    let other = rate(100, 9);
    assert!(!goes(hand.take(other, 1, start)));
    hand.give_back(meter, permits);
    hand.land(meter, 2, granted(2), start, start);
    assert!(
        !goes(hand.take(other, 1, start)),
        "leased under another limit"
    );
}

#[test]
fn numbers_nobody_means_do_no_harm() {
    let start = Instant::now();
    for meter in [
        rate(0, 0),
        rate(0, u32::MAX),
        rate(u32::MAX, u32::MAX),
        Meter::Rate {
            interval: Duration::MAX,
            burst: u32::MAX,
        },
        Meter::Quota {
            max: u64::MAX,
            until: u64::MAX,
        },
    ] {
        let mut hand = Hand::new(meter);
        for n in [1, 5, u32::MAX] {
            hand.take(meter, n, start);
            hand.take_local(n, start);
            let taken = Taken {
                granted: n / 2,
                retry_after: Duration::MAX,
            };
            hand.land(meter, n, taken, start, start);
            hand.take(meter, n, start);
            hand.is_needed(start, 0);
        }
    }
}

/// The store: permits come back one by one, in milliseconds.
struct Model {
    back: u64,
}

impl Model {
    fn take(&mut self, interval: u64, burst: u64, want: u32, now: u64) -> Taken {
        let back = self.back.max(now);
        let free = (now + burst * interval).saturating_sub(back) / interval;
        let n = free.min(want.into());
        self.back = back + n * interval;
        let wait = (self.back + interval).saturating_sub(now + burst * interval);
        Taken {
            granted: n as u32,
            retry_after: MS * if n < want.into() { wait as u32 } else { 0 },
        }
    }
}

/// A lease under way: when it was asked for, answered, and arrives, and what it brings.
struct Flight {
    asked: u64,
    arrives: u64,
    want: u32,
    taken: Taken,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    // Fails when permits do not die (how soon is for the test above), or a hand gives out more than it was
    // granted.
    #[test]
    fn over_all_replicas_no_window_sees_more_than_the_limit_and_a_burst(
        interval in 10_u64..60,
        burst in 1_u64..30,
        replicas in 1_usize..40,
        // Who asks, for how many, after how long, and how slow the store is there and back. Often all at
        // once, then for long nobody: so that much is saved, and then used together.
        steps in prop::collection::vec(
            (
                0_usize..40,
                prop_oneof![6 => Just(1_u32), 1 => 2_u32..4],
                prop_oneof![60 => Just(0_u64), 5 => 1_u64..60, 1 => 200_u64..1500],
                0_u64..4,
                0_u64..4,
            ),
            1..600,
        ),
    ) {
        // Below, permits live longer on purpose.
        let interval = interval.max(100_u64.div_ceil(burst));
        let meter = rate(interval as u32, burst as u32);
        let start = Instant::now();
        let at = |ms: u64| start + MS * ms as u32;
        let mut model = Model { back: 0 };
        let mut hands: Vec<_> = (0..replicas).map(|_| (Hand::new(meter), None::<Flight>)).collect();
        let (mut now, mut passed) = (0, Vec::new());
        for (who, n, pause, there, back) in steps {
            now += pause;
            let (hand, flight) = &mut hands[who % replicas];
            if let Some(landed) = flight.take_if(|flight| flight.arrives <= now) {
                hand.land(meter, landed.want, landed.taken, at(landed.asked), at(landed.arrives));
            }
            match hand.take(meter, n, at(now)) {
                Turn::Go(permits) if n == 3 => hand.give_back(meter, permits),
                Turn::Go(_) => passed.extend(std::iter::repeat_n(now, n as usize)),
                Turn::Lease(want) if flight.is_none() => {
                    prop_assert!(want <= n.max(burst as u32 / 4).max(1));
                    let taken = model.take(interval, burst, want, now + there);
                    *flight = Some(Flight { asked: now, arrives: now + there + back, want, taken });
                }
                Turn::Never(most) => prop_assert!(u64::from(n) > most),
                Turn::Lease(_) | Turn::No(_) => {}
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let within = (last - first + 1) as u64;
                prop_assert!(within <= (to - from) / interval + 2 * burst, "{within} in {from}..{to}");
            }
        }
    }

    // Fails when the local limit counts a batch as one, or lets a burst through twice.
    #[test]
    fn on_its_own_a_replica_keeps_to_the_limit(
        steps in prop::collection::vec((1_u32..4, 0_u64..50), 1..200),
    ) {
        let meter = rate(20, 6);
        let (mut hand, start) = (Hand::new(meter), Instant::now());
        let (mut now, mut passed) = (0, 0);
        for (n, pause) in steps {
            now += pause;
            match hand.take_local(n, start + MS * now as u32) {
                Turn::Go(permits) if pause == 7 => hand.give_back(meter, permits),
                Turn::Go(_) => passed += u64::from(n),
                _ => {}
            }
            prop_assert!(passed <= 6 + now / 20);
        }
    }
}
