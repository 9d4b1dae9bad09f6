//! The allocator of the program.

#![expect(
    unsafe_code,
    reason = "an allocator is what others' safety rests upon: there is no safe way to be one"
)]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc,
    mi_zalloc_aligned,
};

/// mimalloc, asked for what nearly everything needs by its shortest way: the crate `mimalloc` always asks for
/// an alignment, which takes three times as many instructions.
#[derive(Debug, Clone, Copy)]
pub struct Allocator;

/// To what mimalloc aligns whatever is not smaller than that, unasked (its `MI_MAX_ALIGN_SIZE`).
const ALIGNED: usize = 16;

fn is_usual(layout: Layout) -> bool {
    layout.align() <= ALIGNED && layout.align() <= layout.size()
}

// SAFETY: all blocks are mimalloc's, which keeps what `GlobalAlloc` asks for: they have the size that was asked
// for, and the alignment, by `is_usual` or because it was asked for. Sizes and alignments are those of a
// `Layout`, so they are valid; pointers are what was given out before, as the trait's callers owe us.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see above.
        unsafe {
            if is_usual(layout) {
                mi_malloc(layout.size()).cast()
            } else {
                mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see above.
        unsafe {
            if is_usual(layout) {
                mi_zalloc(layout.size()).cast()
            } else {
                mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: see above.
        unsafe { mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: see above. It may shrink to less than its alignment: then it is not usual any more.
        unsafe {
            if is_usual(layout) && layout.align() <= size {
                mi_realloc(block.cast(), size).cast()
            } else {
                mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when what is not usual is asked for as if it were, or `ALIGNED` is more than is kept.
    #[test]
    fn blocks_are_aligned_zeroed_and_kept() {
        let sizes = (1..=72).chain([100, 1000, 4096, 70_000, 5 << 20]);
        let sizes: Vec<usize> = sizes.collect();
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            let layout = |size| Layout::from_size_align(size, align).unwrap();
            // Several of each, for the first of a page is aligned to more than was asked for.
            let blocks: Vec<_> = sizes.iter().flat_map(|size| [*size; 7]).collect();
            let blocks: Vec<_> = blocks
                .into_iter()
                .map(|size| {
                    // SAFETY: no size is 0.
                    let block = unsafe { Allocator.alloc_zeroed(layout(size)) };
                    assert!(
                        !block.is_null() && block.addr() % align == 0,
                        "{size} {align}"
                    );
                    // SAFETY: so many bytes were asked for.
                    let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
                    assert!(bytes.iter().all(|byte| *byte == 0));
                    bytes.fill(7);
                    (block, size)
                })
                .collect();
            for (block, size) in blocks {
                for other in [size / 2 + 1, 3 * size] {
                    // SAFETY: the block is of this layout, and given back once.
                    unsafe {
                        let fresh = Allocator.alloc(layout(size));
                        assert_eq!(fresh.addr() % align, 0, "{size} {align}");
                        fresh.copy_from(block, size);
                        let moved = Allocator.realloc(fresh, layout(size), other);
                        assert_eq!(moved.addr() % align, 0, "{other} {align}");
                        let kept = std::slice::from_raw_parts(moved, size.min(other));
                        assert!(kept.iter().all(|byte| *byte == 7));
                        Allocator.dealloc(moved, layout(other));
                    }
                }
                // SAFETY: as above.
                unsafe { Allocator.dealloc(block, layout(size)) };
            }
        }
    }
}
