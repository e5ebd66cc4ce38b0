//! The driver: mutates seeds for as long as it is told, keeps what behaves in a new way, writes down what fails.
//!
//! `cargo run -p fuzz -- [--seconds N] [--seed N] [--limit-ms N] [TARGET…]`: no target means all of them, one after the other, N seconds each.
//! `cargo run -p fuzz -- TARGET FILE…`: runs the target on files (what was written down). A finding is a panic, an input that takes longer than the
//! limit, or memory above 2 GB; it lies in `fuzz/artifacts/TARGET-HASH`, and the exit code is 1. An input that ends the whole process (its
//! stack, its memory) stays in `fuzz/artifacts/TARGET-now`.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fuzz::mutate::{Random, mutate};
use fuzz::{TARGETS, Target, seeds};

/// Inputs that are kept for mutation, at most.
const KEPT: usize = 4000;
/// Memory of the process from which on an input is a finding, KB.
const MEMORY_KB: usize = 2 << 20;
/// Readers nest: as much as the product gives its workers.
const STACK: usize = 32 << 20;

/// Where the last panic happened and what it said.
static LAST: Mutex<String> = Mutex::new(String::new());

struct Options {
    seconds: u64,
    seed: u64,
    limit: Duration,
}

fn main() -> ExitCode {
    let mut options = Options { seconds: 60, seed: 1, limit: Duration::from_millis(5000) };
    let (mut targets, mut files): (Vec<&Target>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|v| v.parse::<u64>().ok());
        match argument.as_str() {
            "--seconds" => options.seconds = number().unwrap_or(options.seconds),
            "--seed" => options.seed = number().unwrap_or(options.seed),
            "--limit-ms" => options.limit = number().map_or(options.limit, Duration::from_millis),
            name => match fuzz::target(name) {
                Some(target) => targets.push(target),
                None if Path::new(name).is_file() => files.push(name.into()),
                None => {
                    let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
                    eprintln!("{name} is no target and no file; targets: {}", names.join(" "));
                    return ExitCode::from(2);
                }
            },
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = LAST.lock() {
            *last = info.to_string();
        }
    }));
    let work = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let mut findings = 0;
        for target in targets {
            findings += if files.is_empty() { drive(target, &options) } else { replay(target, &files) };
        }
        findings
    });
    match work.map(std::thread::JoinHandle::join) {
        Ok(Ok(0)) => ExitCode::SUCCESS,
        Ok(Ok(_)) => ExitCode::FAILURE,
        _ => {
            let last = LAST.lock().map(|l| l.clone()).unwrap_or_default();
            eprintln!("the driver itself ended: {last}");
            ExitCode::FAILURE
        }
    }
}

fn replay(target: &Target, files: &[PathBuf]) -> usize {
    let mut findings = 0;
    for file in files {
        let Ok(bytes) = std::fs::read(file) else { continue };
        let begun = Instant::now();
        let good = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        let said = if good.is_ok() { "nothing".to_owned() } else { LAST.lock().map(|l| l.clone()).unwrap_or_default() };
        println!("{} {}: {said} ({:.0} ms, {} MB)", target.name, file.display(), begun.elapsed().as_secs_f64() * 1e3, peak_kb() >> 10);
        findings += usize::from(good.is_err());
    }
    findings
}

fn drive(target: &Target, options: &Options) -> usize {
    let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    let _ = std::fs::create_dir_all(&artifacts);
    let now = artifacts.join(format!("{}-now", target.name));
    let mut corpus = seeds::of(target);
    let mut seen: HashSet<u64> = HashSet::new();
    let mut findings: HashMap<String, usize> = HashMap::new();
    let mut random = Random::new(options.seed);
    let (mut runs, mut slowest) = (0u64, Duration::ZERO);
    let begun = Instant::now();
    let mut first: Vec<Vec<u8>> = corpus.clone();
    while begun.elapsed().as_secs() < options.seconds {
        let input = first.pop().unwrap_or_else(|| mutate(&mut random, &corpus, target.words));
        let _ = std::fs::write(&now, &input);
        let memory = peak_kb();
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let took = start.elapsed();
        runs += 1;
        slowest = slowest.max(took);
        let finding = match outcome {
            Err(_) => Some(LAST.lock().map(|l| l.clone()).unwrap_or_default()),
            Ok(_) if took > options.limit => Some(format!("slow: above {} ms", options.limit.as_millis())),
            Ok(_) if memory < MEMORY_KB && peak_kb() >= MEMORY_KB => Some(format!("memory: {} MB", peak_kb() >> 10)),
            Ok(outcome) => {
                if seen.insert(outcome) && runs > 1 && corpus.len() < KEPT {
                    corpus.push(input.clone());
                }
                None
            }
        };
        if let Some(finding) = finding {
            // One of each place is enough.
            let place: String = finding.lines().next().unwrap_or_default().to_owned();
            let times = findings.entry(place).or_default();
            *times += 1;
            if *times == 1 {
                let file = artifacts.join(format!("{}-{:016x}", target.name, fuzz::outcome(&finding, &[runs as usize])));
                let _ = std::fs::write(&file, &input);
                println!("{}: {finding}\n  in {} ({} ms)", target.name, file.display(), took.as_millis());
            }
        }
    }
    let _ = std::fs::remove_file(&now);
    println!(
        "{}: {runs} inputs in {} s, {} behaviours, slowest {} ms, peak {} MB, {} findings",
        target.name,
        begun.elapsed().as_secs(),
        seen.len(),
        slowest.as_millis(),
        peak_kb() >> 10,
        findings.len()
    );
    findings.len()
}

/// The most memory that the process has had, KB; 0 where the system does not say.
fn peak_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
