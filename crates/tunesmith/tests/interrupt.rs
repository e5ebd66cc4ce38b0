//! Runs that are killed, interrupted or started twice. Whatever the moment, `--resume` must end in the bytes of a run that nobody
//! disturbed.

mod common;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{Bench, Ran};

/// Enough steps, with checkpoints between, that a moment in their midst can be met.
const STEPS: &str = "max_steps=80";
const LIMIT: &str = "save_total_limit=3";

const LONG: [&str; 6] = ["--set", STEPS, "--set", LIMIT, "--set", "gradient_accumulation_steps=2"];

fn command(bench: &Bench, dir: &str, resume: bool) -> Command {
    let mut args = vec!["train", "classify.yaml", "--output-dir", dir];
    args.extend(LONG);
    if resume {
        args.push("--resume");
    }
    bench.command(&args)
}

/// The highest step whose checkpoint directory is there (whole or not).
fn newest(dir: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    entries.filter_map(|e| e.file_name().to_str()?.strip_prefix("checkpoint-")?.parse().ok()).max()
}

/// Waits until `is` holds while the process runs; false if it ended before.
fn wait(child: &mut Child, is: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is() {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        // No expectation of speed: only that a hang ends some day.
        assert!(begun.elapsed() < Duration::from_secs(600), "the run does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
}

#[test]
fn killed_at_any_moment_and_resumed_is_undisturbed() {
    let bench = Bench::classify();
    let whole = Ran::from(command(&bench, "whole", false).output().unwrap());
    assert_eq!(whole.code, Some(0), "{}", whole.err);

    // Killed five times, each time later; what is killed is resumed. The second moment is before anything new can be saved.
    let dir = bench.path("killed");
    let mut kills = 0;
    for (round, step) in [2, 0, 21, 44, 62].into_iter().enumerate() {
        let mut child = command(&bench, "killed", round > 0).spawn().unwrap();
        let there = if step == 0 { wait(&mut child, || true) } else { wait(&mut child, || newest(&dir) >= Some(step)) };
        assert!(there, "ended before step {step}");
        child.kill().unwrap(); // SIGKILL
        let ended = child.wait_with_output().unwrap();
        kills += usize::from(ended.status.code().is_none());
        let at = newest(&dir).unwrap_or(0);
        assert!(at < 80, "the kill came too late to prove anything");
    }
    assert_eq!(kills, 5);
    let ran = Ran::from(command(&bench, "killed", true).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("resumed from"), "{}", ran.err);
    bench.same_runs("whole", "killed");
    assert!(bench.read("whole/checkpoint-80/adapter_model.safetensors") == bench.read("killed/checkpoint-80/adapter_model.safetensors"));
    let rest = std::fs::read_dir(&dir).unwrap().flatten().map(|f| f.file_name().to_string_lossy().into_owned());
    let rest: Vec<String> = rest.filter(|f| f.ends_with(".tmp") || f.contains("partial")).collect();
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn ctrl_c_saves_and_says_how_to_go_on() {
    let bench = Bench::classify();
    assert!(command(&bench, "whole", false).output().unwrap().status.success());
    let mut child = command(&bench, "stopped", false).spawn().unwrap();
    assert!(wait(&mut child, || newest(&bench.path("stopped")) >= Some(10)));
    signal(&child, "-INT");
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.err);
    // `step 11 of 80 is saved in stopped/checkpoint-11; …`, or `checkpoint-11+1` where it stopped inside an accumulation group.
    let (_, after) = ran.err.split_once("is saved in ").unwrap_or_else(|| panic!("{}", ran.err));
    let (saved, _) = after.split_once(';').unwrap_or_else(|| panic!("{}", ran.err));
    let name = saved.strip_prefix("stopped/checkpoint-").unwrap_or_else(|| panic!("{saved}"));
    let at: u64 = name.split('+').next().unwrap().parse().unwrap();
    assert!(at < 80, "stopped at {at}");
    assert!(bench.path(saved).join("DONE").is_file(), "{saved}");
    assert!(ran.err.contains(&format!("step {at} of 80 is saved in")), "{}", ran.err);

    // The message's last line is the command that goes on.
    let command = ran.err.trim_end().lines().last().unwrap().trim().to_owned();
    let mut words = command.split_whitespace().map(|w| w.trim_matches('\''));
    assert!(words.next().unwrap().ends_with("tunesmith"), "{command}");
    let args: Vec<&str> = words.collect();
    assert_eq!(args.last(), Some(&"--resume"), "{command}");
    let unfinished = bench.run(&["predict", "stopped", "text"]);
    assert_eq!(unfinished.code, Some(2));
    assert!(unfinished.err.contains("no result yet") && unfinished.err.contains("--resume"), "{}", unfinished.err);
    let resumed = bench.ok(&args);
    assert!(resumed.err.contains(&format!("resumed from {saved} (step {at})")), "{}", resumed.err);
    bench.same_runs("whole", "stopped");
}

#[test]
fn two_runs_do_not_share_a_directory() {
    let bench = Bench::classify();
    let mut child = command(&bench, "run", false).spawn().unwrap();
    assert!(wait(&mut child, || newest(&bench.path("run")) >= Some(2)));
    // The first is held where it is, so that the second surely meets it.
    signal(&child, "-STOP");
    let id = child.id().to_string();
    bench.refused(&["train", "classify.yaml", "--output-dir", "run", "--resume"], &["run: another run", &id, "another output directory"]);
    signal(&child, "-CONT");
    child.kill().unwrap();
    child.wait().unwrap();
    // A killed run holds nothing.
    let ran = Ran::from(command(&bench, "run", true).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn resume_where_nothing_was_saved_starts_fresh_and_says_so() {
    let bench = Bench::classify();
    let ran = bench.ok(&["train", "classify.yaml", "--output-dir", "run", "--resume", "--json"]);
    assert!(ran.err.contains("no checkpoint"), "{}", ran.err);
    // A complete run resumed has nothing left to do, and the same result.
    let before = bench.read("run/adapter_model.safetensors");
    let again = bench.ok(&["train", "classify.yaml", "--output-dir", "run", "--resume", "--json"]);
    assert!(bench.read("run/adapter_model.safetensors") == before);
    assert_eq!(again.rows()[0]["metrics"], ran.rows()[0]["metrics"]);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_loses_nothing() {
    let bench = Bench::classify();
    assert!(command(&bench, "whole", false).output().unwrap().status.success());
    let dir = bench.path("twice");
    let mut child = command(&bench, "twice", false).spawn().unwrap();
    assert!(wait(&mut child, || newest(&dir) >= Some(10)));
    // Held where it is until both have been sent, two kinds of them because equal ones that wait are one: it has no time to save
    // after the first.
    for name in ["-STOP", "-INT", "-TERM", "-CONT"] {
        signal(&child, name);
    }
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.err);
    assert!(ran.err.contains("press Ctrl-C again to end at once"), "{}", ran.err);
    assert!(!ran.err.contains("is saved in"), "{}", ran.err);
    assert!(newest(&dir).is_some_and(|step| step < 80));
    let resumed = Ran::from(command(&bench, "twice", true).output().unwrap());
    assert_eq!(resumed.code, Some(0), "{}", resumed.err);
    assert!(resumed.err.contains("resumed from"), "{}", resumed.err);
    bench.same_runs("whole", "twice");
}

#[test]
fn nobody_reading_the_progress_does_not_end_the_run() {
    let bench = Bench::classify();
    assert!(command(&bench, "whole", false).output().unwrap().status.success());
    // As `2>&1 | head -1` does: one line is read, then the other end of the pipe is gone.
    let mut child = command(&bench, "unread", false).spawn().unwrap();
    let mut line = String::new();
    {
        use std::io::{BufRead, BufReader};
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    }
    assert!(!line.is_empty());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0));
    bench.same_runs("whole", "unread");
}
