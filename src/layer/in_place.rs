//! Large things that live in a box of their own.

use std::pin::Pin;

/// Boxes what `make` makes, and lets the compiler make it in the box: `Box::pin` makes it on the stack and
/// copies all of it, also what of a future is not used yet. That is most of it, in memory the processor has
/// not at hand.
pub(crate) fn in_place<T>(make: impl FnOnce() -> T) -> Pin<Box<T>> {
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, make()))
}
