//! Threads that run the same program side by side.
//!
//! A team waits in two ways: it spins for as long as a short kernel may take, then sleeps. So steps of
//! microseconds pay for no system call, and a program that is not training costs nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};

/// Turns of the loop that waits before a thread goes to sleep: some ten microseconds.
const SPINS: usize = 2000;

/// The most threads: each takes memory of its own, and no machine gains from more.
const MOST: usize = 1024;

/// The number of threads; zero until it is known.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Sets how many threads compute a step or a function of a model from now on, the caller's own
/// included. What is computed does not depend on it, to the bit. What is too small to gain from threads
/// runs on the caller's alone, and so does a step that a trial now and then finds faster there.
///
/// At first it is the number that the environment variable `DOWNHILL_THREADS` names, or else as many as
/// the machine runs at once. Zero means that again. More than 1024 are taken for 1024.
///
/// ```
/// downhill::set_threads(2);
/// assert_eq!(downhill::threads()?, 2);
/// downhill::set_threads(usize::MAX);
/// assert_eq!(downhill::threads()?, 1024);
/// # Ok::<(), downhill::Error>(())
/// ```
pub fn set_threads(threads: usize) {
    THREADS.store(threads.min(MOST), Ordering::Relaxed);
}

/// How many threads compute a step; see [`set_threads`].
///
/// # Errors
///
/// [`Error::Setting`] when the environment variable `DOWNHILL_THREADS` decides and is no number from 1
/// on.
pub fn threads() -> Result<usize> {
    let set = THREADS.load(Ordering::Relaxed);
    if set > 0 {
        return Ok(set);
    }
    static DEFAULT: OnceLock<Result<usize, String>> = OnceLock::new();
    let default = DEFAULT.get_or_init(|| match std::env::var("DOWNHILL_THREADS") {
        Ok(text) => text.parse().ok().filter(|&n: &usize| n > 0).map(|n| n.min(MOST)).ok_or(text),
        Err(_) => Ok(std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST))),
    });
    default.clone().map_err(|found| Error::Setting {
        setting: "DOWNHILL_THREADS",
        expected: "a number of threads, at least 1",
        found,
    })
}

/// A turn that some threads wait for.
#[derive(Default)]
struct Gate {
    turn: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    /// Waits until the turn is another one than `turn`; gives the new one.
    fn wait(&self, turn: usize) -> usize {
        for _ in 0..SPINS {
            let now = self.turn.load(Ordering::Acquire);
            if now != turn {
                return now;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Announced before the turn is looked at again, so that `open` sees a sleeper or the
        // sleeper sees the turn.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut now = self.turn.load(Ordering::SeqCst);
        while now == turn {
            guard = self.opened.wait(guard).unwrap_or_else(PoisonError::into_inner);
            now = self.turn.load(Ordering::SeqCst);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        now
    }

    /// Begins the next turn.
    fn open(&self) {
        self.turn.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.opened.notify_all();
        }
    }
}

/// A place where all threads of a team wait for each other.
pub(crate) struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    gate: Gate,
}

impl Barrier {
    /// How many threads meet here.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Waits until all threads are here. What they wrote before is seen after.
    pub(crate) fn wait(&self) {
        let turn = self.gate.turn.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 < self.threads {
            self.gate.wait(turn);
        } else {
            self.arrived.store(0, Ordering::Relaxed);
            self.gate.open();
        }
    }
}

/// What every thread of a team does: it is given its number and where the team meets.
type Work<'w> = dyn Fn(usize, &Barrier) + Sync + 'w;

/// A number of threads, the caller's included, that work together when asked to.
pub(crate) struct Team {
    /// The work at hand; held by the thread that asked for it.
    work: Mutex<()>,
    shared: &'static Shared,
}

struct Shared {
    start: Gate,
    barrier: Barrier,
    /// Written before `start` opens, read after it, until the barrier.
    work: AtomicWork,
}

/// A pointer to the work, in two words.
struct AtomicWork(std::cell::UnsafeCell<Option<*const Work<'static>>>);

// SAFETY: it is written by the one thread that holds `Team::work`, while all others wait for `start`.
unsafe impl Sync for AtomicWork {}
// SAFETY: what it points to is `Sync`.
unsafe impl Send for AtomicWork {}

impl Team {
    /// The team of so many threads, started at the first call; `None` if the system does not give them.
    pub(crate) fn of(threads: usize) -> Option<&'static Team> {
        static TEAMS: Mutex<Option<HashMap<usize, Option<&'static Team>>>> = Mutex::new(None);
        let mut teams = TEAMS.lock().unwrap_or_else(PoisonError::into_inner);
        *teams.get_or_insert_default().entry(threads).or_insert_with(|| Team::start(threads))
    }

    fn start(threads: usize) -> Option<&'static Team> {
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            start: Gate::default(),
            barrier: Barrier { threads, arrived: AtomicUsize::new(0), gate: Gate::default() },
            work: AtomicWork(std::cell::UnsafeCell::new(None)),
        }));
        for number in 1..threads {
            let name = format!("downhill {number}");
            std::thread::Builder::new().name(name).spawn(move || shared.serve(number)).ok()?;
        }
        Some(Box::leak(Box::new(Team { work: Mutex::new(()), shared })))
    }

    /// Does `work` on all threads, and returns when all are done. While the team is busy with another
    /// caller's work it does nothing, and gives false.
    pub(crate) fn run(&self, work: &Work<'_>) -> bool {
        let Ok(_busy) = self.work.try_lock() else { return false };
        let Shared { start, barrier, work: place } = self.shared;
        // SAFETY: the lifetime is given up, but all threads are done with the work at the barrier below,
        // before this function returns; until `start` opens nobody reads the place.
        unsafe {
            let work = std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work);
            *place.0.get() = Some(work);
        }
        start.open();
        let unwound = AbortOnUnwind;
        work(0, barrier);
        barrier.wait();
        std::mem::forget(unwound);
        true
    }
}

impl Shared {
    /// The life of a thread.
    fn serve(&self, number: usize) {
        let mut turn = 0;
        loop {
            turn = self.start.wait(turn);
            // SAFETY: `start` opened after the work was put there, and the caller waits at the barrier
            // until this thread is there too.
            if let Some(work) = unsafe { *self.work.0.get() } {
                let unwound = AbortOnUnwind;
                (unsafe { &*work })(number, &self.barrier);
                std::mem::forget(unwound);
            }
            self.barrier.wait();
        }
    }
}

/// Ends the process if the work panics, which no kernel does: the other threads would use what the caller has given up,
/// or wait for a thread that never comes.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_meet_at_every_barrier() {
        // An interpreter takes long for many.
        let (teams, barriers, runs) = if cfg!(miri) { (&[1, 2, 3][..], 4, 3) } else { (&[1, 2, 3, 8][..], 50, 20) };
        for &threads in teams {
            let counts: Vec<AtomicUsize> = (0..barriers).map(|_| AtomicUsize::new(0)).collect();
            let early = AtomicUsize::new(0);
            for _ in 0..runs {
                counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
                let done = Team::of(threads).expect("threads").run(&|_, barrier| {
                    for count in &counts {
                        count.fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        if count.load(Ordering::Relaxed) != threads {
                            early.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
                assert!(done);
            }
            assert_eq!(early.into_inner(), 0, "{threads} threads");
        }
    }

    #[test]
    fn a_busy_team_says_so() {
        let team = Team::of(5).expect("threads");
        let refused = AtomicUsize::new(0);
        assert!(team.run(&|number, _| {
            if number == 0 && !team.run(&|_, _| ()) {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }));
        assert_eq!(refused.into_inner(), 1);
    }
}
