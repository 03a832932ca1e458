//! The allocator, and what it keeps.

use mimalloc::MiMalloc;

/// An answer is many small allocations, part of them freed by another thread than the one that made
/// them: with the system's allocator, its C library had a quarter of the samples of a profile, waits
/// for locks among them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay`, which the bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long memory is kept for use before it is given back to the system: longer than batches are
/// apart. Given back between two batches it comes back page by page, each cleared: a tenth of an
/// engine's time.
const KEPT_FOR_MS: std::ffi::c_long = 10_000;

/// Keeps memory from batch to batch.
#[expect(unsafe_code, reason = "the bindings are plain C")]
pub(crate) fn keep() {
    // SAFETY: sets one number of the allocator under its own lock, with one of its own options.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEPT_FOR_MS) };
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(unsafe_code, reason = "the bindings are plain C")]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: reads one number. No other option is 1000 by itself, or may be.
        let usual = unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        assert_eq!(usual, 1000, "another version of the allocator: look its options up");
    }
}
