//! How much memory this library has in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted: what is kept across calls is bounded in bytes, and a difference
/// of two counts says what something takes, exactly and whatever it consists of. Postgres's own
/// memory is not in it.
struct Counted;

#[global_allocator]
static COUNTED: Counted = Counted;

thread_local! {
    // A backend has one thread. Without a destructor, so that it can be used while a thread ends.
    static IN_USE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that this thread's values take, with what malloc adds to each block: 8, rounded up to 16.
pub fn in_use() -> usize {
    IN_USE.get()
}

fn block(size: usize) -> usize {
    (size.saturating_add(8 + 15) & !15).max(32)
}

fn count(change: impl FnOnce(usize) -> usize) {
    let _ = IN_USE.try_with(|in_use| in_use.set(change(in_use.get())));
}

// SAFETY: hands everything on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|in_use| in_use.wrapping_add(block(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(|in_use| in_use.wrapping_add(block(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (old, new) = (block(layout.size()), block(size));
        count(|in_use| in_use.wrapping_sub(old).wrapping_add(new));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(|in_use| in_use.wrapping_sub(block(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_is_counted() {
        // A thread of the tests frees what another has allocated, so its count may lie below zero.
        let before = in_use();
        let mut values: Vec<Box<[u8; 100]>> = (0..10).map(|_| Box::new([0; 100])).collect();
        let grown = in_use().wrapping_sub(before);
        assert!((10 * 112..10 * 112 + 200).contains(&grown), "{grown}");
        values.truncate(1);
        drop(values);
        assert_eq!(in_use(), before);
    }
}
