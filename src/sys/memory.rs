//! The allocator of the program, and what is asked of it.
//!
//! jemalloc, since it gives out first what was given back last, which the processor still has at hand. mimalloc
//! goes round all blocks of a size before it comes back to one: of 32 requests at a time each then missed a cache
//! of 1 MiB 364 times, not 143 (callgrind). How much time that is depends on what else is in the next cache.

#![expect(
    unsafe_code,
    reason = "jemalloc reads its options from a variable of its own name"
)]

use std::ffi::{CStr, c_char};
use std::ptr::{from_mut, null_mut};

use tikv_jemalloc_sys::mallctl;
pub use tikv_jemallocator::Jemalloc as Allocator;

/// No huge pages, of which a process at rest would keep 2 MiB for a few bytes. What is free goes back to the
/// system after a second, not ten. What threads keep for themselves is looked through as it was before 5.3.1, which
/// was 3 % of a request, and blocks of one size after each MiB that was asked for, not after 64 KiB, which was 1 %:
/// what nobody uses is found sixteen times later.
const OPTIONS: &CStr =
    c"thp:never,dirty_decay_ms:1000,experimental_tcache_gc:false,tcache_gc_incr_bytes:1048576";

#[repr(transparent)]
struct Options(*const c_char);

// SAFETY: it points to a constant, which nobody can change.
unsafe impl Sync for Options {}

// SAFETY: nothing else has this name, which jemalloc keeps for whoever embeds it: a `const char *` that ends with
// a zero, as any `CStr` does.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: Options = Options(OPTIONS.as_ptr());

/// Has what is free given back to the system though nobody allocates any more, by a thread that sleeps while
/// there is nothing to give back.
pub fn give_back_when_idle() {
    // SAFETY: the manual says that these are of this type.
    unsafe {
        if !(set(c"max_background_threads", 1_usize) && set(c"background_thread", true)) {
            // Otherwise everybody leaves it to a thread that is not there.
            set(c"background_thread", false);
            tracing::warn!("free memory is given back only while some is asked for: no thread");
        }
    }
}

/// Sets one of jemalloc's values; `false` when it does not let itself be set.
///
/// # Safety
/// It is of type `T`.
unsafe fn set<T>(name: &CStr, mut value: T) -> bool {
    let (old, none) = (null_mut(), null_mut());
    // SAFETY: it reads the value, of which this is the size, and writes no old one where there is no place for it.
    let set = unsafe {
        mallctl(
            name.as_ptr(),
            old,
            none,
            from_mut(&mut value).cast(),
            size_of::<T>(),
        )
    };
    set == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T>(name: &CStr, mut told: T) -> T {
        let mut size = size_of::<T>();
        // SAFETY: the manual says that these are of this type; nothing is set.
        let read = unsafe {
            let told = from_mut(&mut told).cast();
            mallctl(name.as_ptr(), told, from_mut(&mut size), null_mut(), 0)
        };
        assert_eq!(read, 0, "{name:?}");
        told
    }

    // Fails when the variable does not have the name that jemalloc reads, or it does not know an option.
    #[test]
    fn the_allocator_reads_its_options() {
        assert_eq!(told(c"opt.dirty_decay_ms", 0_isize), 1000);
        assert!(!told(c"opt.experimental_tcache_gc", true));
        assert_eq!(told(c"opt.tcache_gc_incr_bytes", 0_usize), 1 << 20);
        let thp = told(c"opt.thp", std::ptr::null::<c_char>());
        // SAFETY: the manual says that it is a string.
        assert_eq!(unsafe { CStr::from_ptr(thp) }, c"never");
    }

    // Fails when one of the names is wrong, or the order.
    #[test]
    fn a_thread_gives_back_what_is_free() {
        give_back_when_idle();
        assert!(told(c"background_thread", false));
        assert_eq!(told(c"max_background_threads", 0_usize), 1);
    }
}
