//! What may happen next.

use proptest::prelude::*;

use super::USERS;

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A client asks, with secrets in mind or not.
    Ask(usize, bool),
    /// The nth client waiting goes away.
    Cancel(usize),
    Disable(usize),
    Enable(usize),
    Revoke(usize),
    Delete(usize),
    /// The store sees now what it will answer the nth read.
    Look(usize),
    Answer(usize),
    AnswerAll,
    Fail(usize),
    FailAll,
    Damage(usize),
    /// The first change not yet reported is.
    Report,
    /// All are, and the store says so.
    Alive,
    Up,
    Down,
    Blind,
    /// What a fail-over goes back to.
    Replicate,
    FailOver,
    // What chance would seldom bring about, begun from wherever chance led:
    /// A user is changed again and again, always while he is being read.
    Storm(usize, bool),
    /// A key is revoked after the store looked and before it answers; that is told, or the push
    /// begins anew.
    Overtaken(usize, bool),
    /// A user is disabled, or deleted, which is read and then lost.
    Lost(usize, bool),
    /// A user is disabled while the store answers nothing, or damage.
    Outage(usize, bool),
    /// A user is disabled unheard; then changes are pushed again, but nothing is read.
    Unreadable(usize),
    /// A user is disabled while nothing is pushed, whatever the watch says: up, it is silent.
    Unpushed(usize, Pushed),
    Wait(u64),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let user = || 0..USERS;
    let nth = || 0..4_usize;
    let pushed = prop::sample::select(vec![Pushed::Up, Pushed::Blind, Pushed::Down]);
    prop_oneof![
        12 => (user(), any::<bool>()).prop_map(|(user, wants)| Step::Ask(user, wants)),
        1 => nth().prop_map(Step::Cancel),
        4 => user().prop_map(Step::Disable),
        3 => user().prop_map(Step::Enable),
        1 => user().prop_map(Step::Revoke),
        1 => user().prop_map(Step::Delete),
        4 => nth().prop_map(Step::Look),
        6 => nth().prop_map(Step::Answer),
        12 => Just(Step::AnswerAll),
        2 => nth().prop_map(Step::Fail),
        2 => Just(Step::FailAll),
        1 => nth().prop_map(Step::Damage),
        6 => Just(Step::Report),
        4 => Just(Step::Alive),
        3 => Just(Step::Up),
        2 => Just(Step::Down),
        2 => Just(Step::Blind),
        1 => Just(Step::Replicate),
        1 => Just(Step::FailOver),
        1 => (user(), any::<bool>()).prop_map(|(user, odd)| Step::Storm(user, odd)),
        1 => (user(), any::<bool>()).prop_map(|(user, up)| Step::Overtaken(user, up)),
        1 => (user(), any::<bool>()).prop_map(|(user, gone)| Step::Lost(user, gone)),
        1 => (user(), any::<bool>()).prop_map(|(user, damage)| Step::Outage(user, damage)),
        1 => user().prop_map(Step::Unreadable),
        1 => (user(), pushed).prop_map(|(user, pushed)| Step::Unpushed(user, pushed)),
        5 => prop::sample::select(vec![40, 240, 300, 950, 1900, 2100, 3100, 11_000]).prop_map(Step::Wait),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pushed {
    Up,
    Blind,
    Down,
}
