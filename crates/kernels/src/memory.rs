//! Memory for weights and activations: aligned to cache lines, zeroed, in large pages where the system has them.
//!
//! A decoded token reads every weight once, a training step streams through hundreds of megabytes of activations. With pages of 4 KiB
//! the processor would look up a new address every 4 KiB of that stream.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Alignment: a cache line, an AVX-512 register.
const LINE: usize = 64;
/// Size of a large page on the machines that matter here.
const LARGE: usize = 2 << 20;
/// From here on a piece is worth a place in a slab.
const SMALL: usize = 16 << 10;
/// Weights that are smaller than a large page share slabs of this size: most of a small model's are.
const SLAB: usize = 8 << 20;

/// What the system gave.
struct Block {
    allocation: NonNull<u8>,
    layout: Layout,
    base: NonNull<u8>,
}

// SAFETY: the only owner of its memory, which it never reads or writes itself.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    fn zeroed(len: usize) -> Self {
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
        Block { allocation, layout, base }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `zeroed` and freed only here.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

/// The slab that is being filled and how much of it is given away. What a piece gives back is not given away again: it
/// would not be zero.
static SLAB_NOW: Mutex<Option<(Arc<Block>, usize)>> = Mutex::new(None);

/// Zeroed bytes that begin at a cache line.
pub(crate) struct Bytes {
    base: NonNull<u8>,
    len: usize,
    /// Keeps the memory: this piece's own, or a slab that it shares.
    _block: Arc<Block>,
}

// SAFETY: the only owner of its bytes.
unsafe impl Send for Bytes {}
// SAFETY: as above; shared access is read-only.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        if !(SMALL..LARGE).contains(&len) {
            let block = Arc::new(Block::zeroed(len));
            return Bytes { base: block.base, len, _block: block };
        }
        // The slab is consistent between any two statements that can panic.
        let mut now = SLAB_NOW.lock().unwrap_or_else(PoisonError::into_inner);
        let room = len.next_multiple_of(LINE);
        let (slab, used) = match now.take() {
            Some((slab, used)) if used + room <= SLAB => (slab, used),
            _ => (Arc::new(Block::zeroed(SLAB)), 0),
        };
        // SAFETY: `used + room` bytes lie in the slab, and nobody else was given these.
        let base = unsafe { slab.base.add(used) };
        *now = Some((Arc::clone(&slab), used + room));
        Bytes { base, len, _block: slab }
    }

    pub(crate) fn get(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes, owned by `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    pub(crate) fn get_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// The first byte, for owners that hand out parts of it themselves.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zero_aligned_and_their_own() {
        // Below, within and beyond the sizes that share a slab, more than one slab of them.
        let sizes = [1, 63, SMALL - 1, SMALL, SMALL + 1, LARGE - 1, LARGE, 3 * LARGE];
        let mut pieces: Vec<Bytes> = (0..12).flat_map(|_| sizes).map(Bytes::zeroed).collect();
        for (i, piece) in pieces.iter_mut().enumerate() {
            assert_eq!(piece.base().as_ptr() as usize % LINE, 0);
            assert!(piece.get().iter().all(|&b| b == 0), "piece {i} overlaps another");
            piece.get_mut().fill(0xff);
        }
        // What outlives its neighbours keeps the slab; what follows them is zero again.
        pieces.retain(|p| p.len == SMALL + 1);
        assert!(Bytes::zeroed(LARGE - 1).get().iter().all(|&b| b == 0));
        assert!(pieces.iter().all(|p| p.get().iter().all(|&b| b == 0xff)));
    }
}
