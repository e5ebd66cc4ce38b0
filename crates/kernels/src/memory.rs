//! Memory for weights: aligned to cache lines, zeroed, in large pages where the system has them.
//!
//! A decoded token reads every weight once. With pages of 4 KiB the processor would look up a new address every 4 KiB of that
//! stream.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Alignment: a cache line, an AVX-512 register.
const LINE: usize = 64;
/// Size of a large page on the machines that matter here.
const LARGE: usize = 2 << 20;

/// Zeroed bytes that begin at a cache line.
pub(crate) struct Bytes {
    /// What the system gave.
    allocation: NonNull<u8>,
    layout: Layout,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the only owner of its memory.
unsafe impl Send for Bytes {}
// SAFETY: as above; shared access is read-only.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        // Zeroed memory of small alignment comes as untouched pages; an allocator that has to align it would write zeros
        // to all of it. So the alignment is ours.
        let align = if len >= 2 * LARGE { LARGE } else { LINE };
        let layout = Layout::from_size_align(len + align, 16).expect("a request far below isize::MAX bytes");
        // SAFETY: the size is not zero.
        let allocation = unsafe { alloc_zeroed(layout) };
        let Some(allocation) = NonNull::new(allocation) else { handle_alloc_error(layout) };
        // SAFETY: less than `align` further, and that was added to the size.
        let base = unsafe { allocation.add(allocation.align_offset(align)) };
        if len >= LARGE {
            advise(base, len);
        }
        Bytes { allocation, layout, base, len }
    }

    pub(crate) fn get(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes, owned by `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    pub(crate) fn get_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `zeroed` and freed only here.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

/// Asks for large pages. A hint: refusal is no error.
#[cfg(target_os = "linux")]
fn advise(base: NonNull<u8>, len: usize) {
    const PAGE: usize = 4096;
    let skip = base.as_ptr().align_offset(PAGE).min(len);
    // SAFETY: the range is inside memory that the caller owns, and the advice changes no contents.
    unsafe { libc::madvise(base.as_ptr().add(skip).cast(), (len - skip) / PAGE * PAGE, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_: NonNull<u8>, _: usize) {}
