//! How much memory a call asked for in one piece, at most: the proof that what a peer claims is
//! bounded before it is allocated.

#![expect(
    unsafe_code,
    reason = "an allocator that counts can only be written with it"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, which notes the largest request of each thread.
struct Counting;

/// Returns what `call` returns, and the largest allocation in bytes that it made on this thread.
pub(crate) fn largest<T>(call: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let value = call();
    (value, LARGEST.get())
}

fn note(bytes: usize) {
    // A thread that is ending has no record any more, and nobody asks for it.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: each method hands its arguments unchanged to the system's allocator, whose contract is
// the same; noting a number neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size);
        // SAFETY: the caller keeps the contract of `realloc`, and `at` came from the system.
        unsafe { System.realloc(at, layout, new_size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `at` came from the system.
        unsafe { System.dealloc(at, layout) }
    }
}

#[test]
fn the_largest_allocation_of_a_call_is_noted() {
    let (_, one) = largest(|| (vec![0_u8; 100], vec![0_u8; 5000], vec![0_u8; 10]));
    let (_, grown) = largest(|| Vec::<u8>::with_capacity(10).reserve_exact(7000));

    assert_eq!((one, grown), (5000, 7000));
}
