//! Fork-join for regions of microseconds.
//!
//! A decoded token crosses a few hundred parallel regions of five to fifty microseconds each; waking a pool of threads for every one
//! of them costs as much as the work. Here a global set of workers looks for the next region for a moment before it
//! parks, tasks are handed out by one atomic counter, and the caller takes part. Nothing is allocated for a region.
//!
//! What a task computes may depend on its number only: which thread runs it is chance. Work is therefore cut by shape
//! alone, and results are the same bits for every number of threads.
//!
//! The number of participants is at most `rayon::current_num_threads()`, so that a pool's size and `--threads` mean what
//! they say, and at most the number of cores: spinning on a core that another participant needs would cost, not gain.
//! A region inside a region runs on its thread alone; a second caller at the same time uses rayon's pool.
//!
//! Between two products of a decoded token lies work for one thread. Workers that have nothing to do then fetch what the next
//! product reads from memory ([`expect`]), so that the memory is never idle.

use rayon::prelude::*;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;

/// Looks for work that a worker takes before it parks: some 100 µs, more than the sequential code between two regions
/// of a forward pass takes.
const LOOKS: u32 = 4000;
/// Looks before a worker that waits begins to offer its core to others at intervals.
const PATIENT: u32 = 500;

/// Bytes that a waiting worker asks its cache for between two looks for work.
const FETCH: usize = 1 << 10;
/// Most bytes that are fetched ahead for each worker: half of an L2 cache.
const FETCH_MOST: usize = 512 << 10;
/// Most ranges that [`expect`] takes.
pub const RANGES: usize = 4;

/// A task: called with each number once.
type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// The state of the present region in one word, so that joining it is one compare-and-swap:
/// number of the region (32 bits), most helpers (15), open (1), helpers at work (16).
#[derive(Clone, Copy)]
struct Gate(u64);

impl Gate {
    const OPEN: u64 = 1 << 16;

    fn open(region: u32, limit: usize) -> Gate {
        Gate((region as u64) << 32 | (limit as u64) << 17 | Gate::OPEN)
    }

    fn region(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn active(self) -> u64 {
        self.0 & 0xffff
    }

    /// True if a helper that last took part in region `seen` may join.
    fn welcomes(self, seen: u32) -> bool {
        self.0 & Gate::OPEN != 0 && self.region() != seen && self.active() < (self.0 >> 17) & 0x7fff
    }
}

struct Worker {
    thread: Thread,
    parked: AtomicBool,
}

struct Team {
    workers: OnceLock<Vec<&'static Worker>>,
    /// Held by the caller whose region it is.
    busy: AtomicBool,
    gate: Line<AtomicU64>,
    /// The next task to hand out.
    next: Line<AtomicUsize>,
    /// Valid while the gate is open or a helper is at work.
    job: UnsafeCell<Option<(*const Task<'static>, usize)>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    expected: Line<Expected>,
}

/// What will be read next, in ranges of address and length. A mixture of two calls' ranges does no harm: a prefetch is a hint,
/// of whatever address.
struct Expected {
    ranges: [(AtomicUsize, AtomicUsize); RANGES],
    /// Bytes handed out so far, over all ranges in a row; at the end nothing is left to do.
    next: AtomicUsize,
    end: AtomicUsize,
}

/// Keeps a hot word alone on its cache line (two, for the prefetcher's pairs).
#[repr(align(128))]
struct Line<T>(T);

// SAFETY: `job` is written by the holder of `busy` while the gate is closed and nobody is at work, and read by helpers
// after they joined through the gate, which orders the two.
unsafe impl Sync for Team {}

static TEAM: Team = Team {
    workers: OnceLock::new(),
    busy: AtomicBool::new(false),
    gate: Line(AtomicU64::new(0)),
    next: Line(AtomicUsize::new(0)),
    job: UnsafeCell::new(None),
    panic: Mutex::new(None),
    expected: Line(Expected {
        ranges: [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RANGES],
        next: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
    }),
};

thread_local! {
    /// True while this thread works on a region.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f` with every number below `tasks`, in any order, on several threads; returns when all have returned.
///
/// # Panics
/// If `f` panics: with what it panicked with (the first, if several do); tasks not yet begun are then not run.
pub fn run(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    let threads = if tasks > 1 { rayon::current_num_threads().min(tasks) } else { 1 };
    if threads <= 1 || INSIDE.get() {
        (0..tasks).for_each(f);
        return;
    }
    let workers = TEAM.workers();
    let helpers = (threads - 1).min(workers.len());
    if helpers == 0 {
        (0..tasks).for_each(f);
    } else if TEAM.busy.swap(true, Ordering::Acquire) {
        (0..tasks).into_par_iter().for_each(f);
    } else {
        TEAM.region(&workers[..helpers], tasks, &f);
    }
}

/// Says what will be read soon, from its beginning on: workers that wait for a region fetch it into their caches. It replaces what was
/// expected before; nothing expected stops them.
///
/// # Panics
/// If there are more than [`RANGES`] ranges.
pub fn expect(ranges: &[&[u8]]) {
    let Some(workers) = TEAM.workers.get() else { return };
    let helpers = (rayon::current_num_threads() - 1).min(workers.len());
    TEAM.expected.0.set(ranges, helpers * FETCH_MOST);
}

impl Expected {
    fn set(&self, ranges: &[&[u8]], most: usize) {
        // Nobody fetches while the ranges change.
        self.end.store(0, Ordering::Relaxed);
        let mut end = 0;
        for (i, range) in ranges.iter().enumerate() {
            self.ranges[i].0.store(range.as_ptr() as usize, Ordering::Relaxed);
            self.ranges[i].1.store(range.len(), Ordering::Relaxed);
            end += range.len();
        }
        self.next.store(0, Ordering::Relaxed);
        self.end.store(end.min(most), Ordering::Release);
    }

    /// Fetches a piece; false if nothing is left.
    fn fetch(&self) -> bool {
        let end = self.end.load(Ordering::Acquire);
        if self.next.load(Ordering::Relaxed) >= end {
            return false;
        }
        let mut at = self.next.fetch_add(FETCH, Ordering::Relaxed);
        if at >= end {
            return false;
        }
        for (start, len) in &self.ranges {
            let (start, len) = (start.load(Ordering::Relaxed), len.load(Ordering::Relaxed));
            if at < len {
                prefetch((start + at) as *const u8, FETCH.min(len - at));
                return true;
            }
            at -= len;
        }
        true
    }
}

/// Asks the cache for `len` bytes at `p`, which may be any address.
fn prefetch(p: *const u8, len: usize) {
    for line in (0..len).step_by(64) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint: it neither faults nor changes anything.
        unsafe {
            use std::arch::x86_64::*;
            _mm_prefetch::<_MM_HINT_T1>(p.wrapping_add(line).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (p, line);
    }
}

impl Team {
    fn workers(&'static self) -> &'static [&'static Worker] {
        self.workers.get_or_init(|| {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get()).min(256);
            (1..cores).map_while(|i| self.spawn(i)).collect()
        })
    }

    /// A worker, or none if the system gives no more threads.
    fn spawn(&'static self, i: usize) -> Option<&'static Worker> {
        let (send, receive) = std::sync::mpsc::channel::<&'static Worker>();
        let body = move || {
            if let Ok(me) = receive.recv() {
                self.work(me);
            }
        };
        let handle = std::thread::Builder::new().name(format!("team-{i}")).spawn(body).ok()?;
        // Workers live as long as the process.
        let worker: &'static Worker = Box::leak(Box::new(Worker { thread: handle.thread().clone(), parked: AtomicBool::new(false) }));
        send.send(worker).ok()?;
        Some(worker)
    }

    /// One region, by the holder of `busy`.
    fn region(&self, helpers: &[&Worker], tasks: usize, f: &Task<'_>) {
        // SAFETY: only the lifetime changes; nobody uses the pointer after this function has closed the gate and seen
        // the last helper leave.
        let f: *const Task<'static> = unsafe { std::mem::transmute::<&Task<'_>, &'static Task<'static>>(f) };
        // SAFETY: the gate is closed and nobody is at work: the previous region ended so.
        unsafe { *self.job.get() = Some((f, tasks)) };
        self.next.0.store(0, Ordering::Relaxed);
        let region = Gate(self.gate.0.load(Ordering::Relaxed)).region().wrapping_add(1);
        self.gate.0.store(Gate::open(region, helpers.len()).0, Ordering::SeqCst);
        // Either a worker that goes to sleep sees the open gate, or we see that it sleeps.
        fence(Ordering::SeqCst);
        for worker in helpers {
            if worker.parked.load(Ordering::Relaxed) && worker.parked.swap(false, Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
        self.take_tasks();
        // Nobody joins any more; wait for those who did.
        self.gate.0.fetch_and(!Gate::OPEN, Ordering::SeqCst);
        let mut looks = 0;
        while Gate(self.gate.0.load(Ordering::Acquire)).active() > 0 {
            pause(&mut looks);
        }
        // SAFETY: as above.
        unsafe { *self.job.get() = None };
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Runs tasks until none is left.
    fn take_tasks(&self) {
        // SAFETY: the caller of this function is the region's owner or has joined it.
        let Some((f, tasks)) = (unsafe { *self.job.get() }) else { return };
        // SAFETY: `region` does not return before the last helper has left.
        let f = unsafe { &*f };
        INSIDE.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let i = self.next.0.fetch_add(1, Ordering::Relaxed);
                if i >= tasks {
                    break;
                }
                f(i);
            }
        }));
        INSIDE.set(false);
        if let Err(panic) = result {
            // Far beyond any number of tasks, and far from wrapping round.
            self.next.0.store(usize::MAX / 2, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// The life of a worker.
    fn work(&self, me: &Worker) {
        let mut seen = 0;
        let mut looks = 0;
        loop {
            let gate = Gate(self.gate.0.load(Ordering::Acquire));
            if gate.welcomes(seen) {
                let joined = self.gate.0.compare_exchange(gate.0, gate.0 + 1, Ordering::AcqRel, Ordering::Relaxed);
                if joined.is_ok() {
                    seen = gate.region();
                    self.take_tasks();
                    self.gate.0.fetch_sub(1, Ordering::Release);
                    looks = 0;
                }
            } else if self.expected.0.fetch() {
                continue;
            } else if looks < LOOKS {
                pause(&mut looks);
            } else {
                me.parked.store(true, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                if Gate(self.gate.0.load(Ordering::SeqCst)).welcomes(seen) {
                    me.parked.store(false, Ordering::Relaxed);
                }
                while me.parked.load(Ordering::Acquire) {
                    std::thread::park();
                }
                looks = 0;
            }
        }
    }
}

/// A moment's wait; longer waits let other threads have the core now and then.
fn pause(looks: &mut u32) {
    std::hint::spin_loop();
    *looks += 1;
    if *looks > PATIENT && looks.is_multiple_of(32) {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn on<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(f)
    }

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 5] {
            on(threads, || {
                for tasks in [0, 1, 2, 3, 7, 64, 1000] {
                    // Often, so that workers meet regions at every stage of their waiting.
                    for _ in 0..200 {
                        let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                        run(tasks, |i| {
                            counts[i].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                    }
                }
            });
        }
    }

    #[test]
    fn parked_workers_are_woken() {
        on(2, || {
            for _ in 0..5 {
                std::thread::sleep(std::time::Duration::from_millis(5));
                let sum = AtomicUsize::new(0);
                run(100, |i| {
                    sum.fetch_add(i, Ordering::Relaxed);
                });
                assert_eq!(sum.into_inner(), 4950);
            }
        });
    }

    #[test]
    fn no_more_participants_than_the_pool_has_threads() {
        for threads in [1, 2] {
            let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
            on(threads, || {
                for _ in 0..300 {
                    run(16, |_| {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::hint::black_box((0..300).sum::<u64>());
                        now.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            });
            assert!(most.into_inner() as usize <= threads);
        }
    }

    #[test]
    fn what_is_expected_is_handed_out_once_and_to_its_limit() {
        let expected = Expected { ranges: Default::default(), next: AtomicUsize::new(0), end: AtomicUsize::new(0) };
        let pieces = || (0..1000).take_while(|_| expected.fetch()).count();
        assert_eq!(pieces(), 0);
        let bytes = vec![0; 10 * FETCH];
        expected.set(&[&bytes[..3 * FETCH], &bytes[..1], &bytes], usize::MAX);
        assert_eq!(pieces(), 14, "3 + 1 byte + 10 pieces");
        assert_eq!(pieces(), 0);
        expected.set(&[&bytes], 4 * FETCH);
        assert_eq!(pieces(), 4);
        expected.set(&[&bytes], usize::MAX);
        assert!(expected.fetch());
        expected.set(&[], usize::MAX);
        assert_eq!(pieces(), 0);
    }

    #[test]
    fn regions_run_while_workers_fetch() {
        on(2, || {
            let bytes = vec![0; 1 << 20];
            for _ in 0..200 {
                expect(&[&bytes]);
                let sum = AtomicUsize::new(0);
                run(20, |i| {
                    sum.fetch_add(i, Ordering::Relaxed);
                });
                assert_eq!(sum.into_inner(), 190);
            }
            expect(&[]);
        });
    }

    #[test]
    fn regions_nest_and_callers_do_not_wait_for_each_other() {
        let total = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..200 {
                        run(8, |_| {
                            run(8, |_| {
                                total.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 200 * 64);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        for round in 0..50 {
            let result = catch_unwind(|| {
                run(100, |i| assert!(i != 37, "task {i} of round {round}"));
            });
            let panic = result.expect_err("a task panicked");
            assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some(format!("task 37 of round {round}").as_str()));
            let sum = AtomicUsize::new(0);
            run(10, |i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }
}
