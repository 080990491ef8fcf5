//! Random programs in processes of their own.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::outcome::{Outcome, describe};
use crate::guarded::levels;

/// Programs of a test, unless `DOWNHILL_PROGRAMS` says how many.
const PROGRAMS: u64 = 300;
/// What a program may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Run = fn(u64) -> Result<Outcome, String>;

/// Runs programs in every way; `test` is the name of the test.
pub fn all(test: &str, run: Run) {
    if let Some(seed) = number("DOWNHILL_PROGRAM") {
        describe(seed);
        let outcome = run(seed);
        return assert!(outcome.is_ok(), "{outcome:?}");
    }
    if let Ok(range) = std::env::var("PROGRAM_SEEDS") {
        let (from, to) = range.split_once("..").expect("a range of seeds");
        return some(from.parse().expect("a seed")..to.parse().expect("a seed"), run);
    }
    let sides: &[Option<&str>] = if cfg!(unix) { &[Some("start"), Some("end"), None] } else { &[None] };
    let ways: Vec<_> = sides.iter().flat_map(|side| levels().into_iter().map(|level| (*side, level))).collect();
    let each = number("DOWNHILL_PROGRAMS").unwrap_or(PROGRAMS).div_ceil(ways.len() as u64);
    let mut failures = Vec::new();
    let mut counts = [0; 4];
    for (i, &(side, level)) in ways.iter().enumerate() {
        let seeds = i as u64 * each..(i as u64 + 1) * each;
        let way = Way { test, side, level };
        way.run(seeds, &mut counts, &mut failures);
    }
    let [right, refused, unknown, skipped] = counts;
    println!("{right} right, {refused} refused, {unknown} without a value to compare, {skipped} skipped");
    assert!(failures.is_empty(), "{} programs failed:\n{}", failures.len(), failures.join("\n"));
    assert!(4 * right > counts.iter().sum(), "few programs are valid: {counts:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// The programs of some seeds, in this process; each is named before it runs.
fn some(seeds: Range<u64>, run: Run) {
    static PANIC: Mutex<String> = Mutex::new(String::new());
    std::panic::set_hook(Box::new(|panic| {
        *PANIC.lock().expect("the last panic") = panic.to_string().replace('\n', " ");
    }));
    for seed in seeds {
        println!("program {seed}");
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(Ok(outcome)) => println!("outcome {}", outcome as usize),
            Ok(Err(message)) => println!("failure {message}"),
            Err(_) => println!("failure {}", PANIC.lock().expect("the last panic")),
        }
    }
}

/// How programs are run.
struct Way<'t> {
    test: &'t str,
    side: Option<&'t str>,
    level: &'t str,
}

impl Way<'_> {
    fn run(&self, seeds: Range<u64>, counts: &mut [u64; 4], failures: &mut Vec<String>) {
        let mut from = seeds.start;
        while from < seeds.end {
            let mut child = self.start(from..seeds.end);
            let lines = lines(&mut child);
            let mut last = from;
            let how = loop {
                match lines.recv_timeout(PATIENCE) {
                    Ok(line) => {
                        if let Some(seed) = line.strip_prefix("program ") {
                            last = seed.parse().expect("a seed");
                        } else if let Some(outcome) = line.strip_prefix("outcome ") {
                            counts[outcome.parse::<usize>().expect("an outcome")] += 1;
                        } else if let Some(message) = line.strip_prefix("failure ") {
                            failures.push(self.failure(last, message));
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        child.kill().expect("a process to end");
                        child.wait().expect("a process");
                        break Some("it takes too long".to_owned());
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        let status = child.wait().expect("a process");
                        break (!status.success()).then(|| status.to_string());
                    }
                }
            };
            failures.extend(how.map(|how| self.failure(last, &how)));
            from = last + 1;
        }
    }

    fn failure(&self, seed: u64, message: &str) -> String {
        let guard = self.side.map_or(String::new(), |side| format!("DOWNHILL_GUARD={side} "));
        format!("{guard}DOWNHILL_SIMD={} DOWNHILL_PROGRAM={seed}: {message}", self.level)
    }

    /// A process for some programs, with limited memory: what asks for too much is to be refused.
    fn start(&self, seeds: Range<u64>) -> Child {
        let this = std::env::current_exe().expect("the path of this program");
        let mut command = match cfg!(unix) {
            true => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -v 8000000; exec \"$0\" \"$@\""]).arg(this);
                shell
            }
            false => Command::new(this),
        };
        command.args(["--exact", self.test, "--nocapture", "--test-threads", "1"]);
        command.env("PROGRAM_SEEDS", format!("{}..{}", seeds.start, seeds.end));
        command.envs([("DOWNHILL_SIMD", self.level), ("DOWNHILL_THREADS", "2")]);
        command.envs(self.side.map(|side| ("DOWNHILL_GUARD", side)));
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process")
    }
}

/// The lines that a process writes.
fn lines(child: &mut Child) -> Receiver<String> {
    let (send, receive) = channel();
    let output = BufReader::new(child.stdout.take().expect("the output of a process"));
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    receive
}
