//! Buffers for activations, reused from step to step.
//!
//! An [`Arena`] hands out 64-byte aligned slices of a few large regions. A freed range merges with its free
//! neighbours, so the footprint follows the largest *sum* of live buffers ever reached, not the sum of the largest
//! sizes, although batches differ in length from step to step. Once the largest step has been seen nothing is
//! allocated any more; [`ArenaStats::regions_allocated`] lets a test hold us to that.

use crate::memory::Bytes;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Alignment of every buffer and unit of size: a cache line, an AVX-512 register.
const LINE: usize = 64;
/// Smallest region: address space only, pages are touched when a buffer first uses them.
const MIN_REGION: usize = 32 << 20;

/// Element types that a buffer may hold: plain numbers for which every bit pattern is a value.
///
/// # Safety
/// Implementors must be valid for every bit pattern and need no more than 64-byte alignment.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}
// SAFETY: every bit pattern is a value of these types.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}

#[derive(Clone, Copy)]
struct Free {
    region: u32,
    offset: usize,
    len: usize,
}

#[derive(Default)]
struct Inner {
    regions: Vec<Bytes>,
    /// Sorted by (region, offset); neighbours are merged.
    free: Vec<Free>,
    stats: ArenaStats,
}

/// What an arena holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaStats {
    /// Regions ever requested from the system: constant in the steady state.
    pub regions_allocated: usize,
    /// Bytes of address space held.
    pub bytes_reserved: usize,
    /// Bytes in live buffers.
    pub bytes_live: usize,
    /// Largest value of `bytes_live` since the last [`Arena::reset_peak`].
    pub bytes_peak: usize,
}

/// A pool of activation buffers. Cloning gives another handle to the same pool.
#[derive(Clone, Default)]
pub struct Arena {
    inner: Arc<Mutex<Inner>>,
}

impl Arena {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The lists are consistent between any two statements that can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` elements with unspecified (but initialised) contents.
    pub fn take<T: Plain>(&self, len: usize) -> Buffer<T> {
        let bytes = (len * size_of::<T>()).next_multiple_of(LINE);
        if bytes == 0 {
            return Buffer { ptr: NonNull::dangling(), len, bytes, region: 0, offset: 0, home: None, _t: PhantomData };
        }
        let mut inner = self.lock();
        let at = inner.reserve(bytes);
        // SAFETY: `reserve` returned a range inside that region.
        let ptr = unsafe { inner.regions[at.region as usize].base().add(at.offset) }.cast();
        let home = Some(Arc::clone(&self.inner));
        Buffer { ptr, len, bytes, region: at.region, offset: at.offset, home, _t: PhantomData }
    }

    /// A buffer of `len` zeros.
    pub fn take_zeroed(&self, len: usize) -> Buffer<f32> {
        let mut buffer = self.take(len);
        crate::elementwise::fill(&mut buffer, 0.0);
        buffer
    }

    /// What the pool holds.
    pub fn stats(&self) -> ArenaStats {
        self.lock().stats
    }

    /// Starts a new measurement of [`ArenaStats::bytes_peak`].
    pub fn reset_peak(&self) {
        let mut inner = self.lock();
        inner.stats.bytes_peak = inner.stats.bytes_live;
    }

    /// Gives every region in which nothing is live back to the system.
    pub fn shrink(&self) {
        let mut inner = self.lock();
        if inner.stats.bytes_live == 0 {
            inner.free.clear();
            inner.regions.clear();
            inner.stats.bytes_reserved = 0;
        }
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Arena").field(&self.stats()).finish()
    }
}

impl Inner {
    /// Best fit, the lowest address among equals.
    fn reserve(&mut self, bytes: usize) -> Free {
        let best = self.free.iter().enumerate().filter(|(_, f)| f.len >= bytes).min_by_key(|(_, f)| f.len);
        let i = match best {
            Some((i, _)) => i,
            None => self.grow(bytes),
        };
        let slot = &mut self.free[i];
        let taken = Free { len: bytes, ..*slot };
        slot.offset += bytes;
        slot.len -= bytes;
        if slot.len == 0 {
            self.free.remove(i);
        }
        self.stats.bytes_live += bytes;
        self.stats.bytes_peak = self.stats.bytes_peak.max(self.stats.bytes_live);
        taken
    }

    fn grow(&mut self, bytes: usize) -> usize {
        let len = bytes.max(MIN_REGION).max(self.stats.bytes_reserved / 2).next_multiple_of(LINE);
        let region = self.regions.len() as u32;
        self.regions.push(Bytes::zeroed(len));
        self.stats.regions_allocated += 1;
        self.stats.bytes_reserved += len;
        self.free.push(Free { region, offset: 0, len });
        self.free.len() - 1
    }

    fn release(&mut self, region: u32, offset: usize, len: usize) {
        self.stats.bytes_live -= len;
        let i = self.free.partition_point(|f| (f.region, f.offset) < (region, offset));
        let joins_next = self.free.get(i).is_some_and(|f| f.region == region && f.offset == offset + len);
        let joins_previous = i > 0 && self.free[i - 1].region == region && self.free[i - 1].offset + self.free[i - 1].len == offset;
        match (joins_previous, joins_next) {
            (true, true) => {
                self.free[i - 1].len += len + self.free[i].len;
                self.free.remove(i);
            }
            (true, false) => self.free[i - 1].len += len,
            (false, true) => {
                self.free[i].offset = offset;
                self.free[i].len += len;
            }
            (false, false) => self.free.insert(i, Free { region, offset, len }),
        }
    }
}

/// A slice of an [`Arena`]; returns there when dropped.
pub struct Buffer<T: Plain = f32> {
    ptr: NonNull<T>,
    len: usize,
    bytes: usize,
    region: u32,
    offset: usize,
    home: Option<Arc<Mutex<Inner>>>,
    _t: PhantomData<T>,
}

// SAFETY: a buffer is the only owner of its range; `T` is plain data.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: as above; shared access is read-only.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements (regions start zeroed, any bit pattern is a value), owned by `self`, in
        // a region that `home` keeps alive; dangling only for an empty buffer.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.lock().unwrap_or_else(PoisonError::into_inner).release(self.region, self.offset, self.bytes);
        }
    }
}

impl<T: Plain> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer[{}]", self.len)
    }
}
