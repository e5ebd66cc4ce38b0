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
