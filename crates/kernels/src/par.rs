//! Cutting work into tasks by shape alone.

use crate::team;

/// Elements of work below which a task is not worth a thread.
pub(crate) const GRAIN: usize = 1 << 14;

/// Rows that one task takes when a row is `cols` elements of work.
pub(crate) fn rows_per_task(cols: usize) -> usize {
    (GRAIN / cols.max(1)).max(1)
}

/// The place of the `i`-th of `tasks` that are handed out one by one, if `threads` that take them in turn shall each read a run of
/// memory of their own. Neighbouring pieces for different cores would have the cores' prefetchers fetch each other's lines.
///
/// All must agree on `threads`: ask [`crate::cpu::threads`] before the region, since workers belong to no pool.
pub(crate) fn apart(i: usize, tasks: usize, threads: usize) -> usize {
    let threads = threads.clamp(1, tasks.max(1));
    let (lane, at) = (i % threads, i / threads);
    lane * (tasks / threads) + lane.min(tasks % threads) + at
}

/// A pointer that tasks may share because each touches its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T = f32>(*mut T);

// SAFETY: every use states which disjoint part a task touches.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(x: &mut [T]) -> Self {
        Shared(x.as_mut_ptr())
    }

    /// The first element.
    pub(crate) fn ptr(self) -> *mut T {
        self.0
    }

    /// Elements `start..start + len`.
    ///
    /// # Safety
    /// In bounds of the slice that `self` was made from, which must outlive the result, and touched by nobody else.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [T] {
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// Calls `f(first, count)` for consecutive ranges of `0..total`, `step` long but for the last, in parallel if there
/// is more than one.
pub(crate) fn ranges(total: usize, step: usize, f: impl Fn(usize, usize) + Sync + Send) {
    let tasks = total.div_ceil(step.max(1));
    if tasks <= 1 {
        if total > 0 {
            f(0, total);
        }
        return;
    }
    team::run(tasks, |i| {
        let first = i * step;
        f(first, step.min(total - first));
    });
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn every_place_has_its_turn() {
        for threads in [0, 1, 2, 3, 7] {
            for tasks in [1, 2, 5, 6, 7, 24, 25] {
                let mut places: Vec<usize> = (0..tasks).map(|i| apart(i, tasks, threads)).collect();
                places.sort_unstable();
                assert!(places.iter().copied().eq(0..tasks), "{threads} threads, {tasks} tasks: {places:?}");
            }
        }
        assert_eq!([0, 1, 2, 3, 4].map(|i| apart(i, 5, 2)), [0, 3, 1, 4, 2]);
    }
}
