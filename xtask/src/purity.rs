//! What a source file may not do, judged from its text: the invariants of ARCHITECTURE.md that are absences.

/// Crates that know no printing, environment, clock, network or argument parser.
const PURE: &[&str] = &["kernels", "engine", "model", "text", "dataset", "train", "generate", "evaluate", "vectorize"];

/// Modules (files or folders) of pure crates in which files may be touched.
const FILE_MODULES: &[&str] = &["load", "save", "import", "export"];

/// Words that betray each forbidden thing.
const IMPURE: &[(&str, &str)] = &[
    ("println!(", "prints"),
    ("print!(", "prints"),
    ("dbg!(", "prints"),
    ("std::env", "reads the environment"),
    ("env::var", "reads the environment"),
    ("Instant::now", "reads the clock"),
    ("SystemTime", "reads the clock"),
    ("std::net", "opens sockets"),
    ("ureq", "speaks HTTP"),
    ("clap::", "parses arguments"),
    ("async fn", "is asynchronous"),
];

/// Words that touch files.
const FILES: &[&str] = &["std::fs", "fs::", "File::open", "File::create", "OpenOptions"];

/// Longest file: past this it wants a second room.
const MAX_LINES: usize = 800;

/// Problems of one file; `name` is its path from the workspace root with forward slashes.
pub fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.starts_with("//!") {
        problems.push(format!("{name}:1: a module begins with `//!` and says what it is for"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        problems.push(format!("{name}: {lines} lines; past {MAX_LINES} a file wants a second room"));
    }
    let parts: Vec<&str> = name.split('/').collect();
    let (krate, in_src) = (parts.get(1).copied().unwrap_or_default(), parts.get(2) == Some(&"src"));
    let may_be_unsafe = krate == "kernels" || name == "crates/containers/src/mmap.rs";
    let files_allowed = parts.iter().any(|p| FILE_MODULES.contains(&p.trim_end_matches(".rs")));
    let pure = in_src && PURE.contains(&krate);
    for (number, line) in text.lines().enumerate() {
        // Unit tests stand at a file's end; what they do is their own business.
        if line.trim_start().starts_with("#[cfg(test)]") && !text.lines().nth(number + 1).is_some_and(|next| next.trim_end().ends_with(';'))
        {
            break;
        }
        if line.starts_with("#![cfg(test)]") {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        let mut found = |what: &str| problems.push(format!("{name}:{}: {what}", number + 1));
        if in_src && !may_be_unsafe && (code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")) {
            found("`unsafe` lives in kernels and in the module of containers that maps files");
        }
        if in_src && (code.contains("todo!(") || code.contains("unimplemented!(")) {
            found("a stub");
        }
        if !pure {
            continue;
        }
        for (word, what) in IMPURE.iter().filter(|(word, _)| code.contains(word)) {
            found(&format!("crate {krate} {what} (`{word}`); pass it in from the binary"));
        }
        if !files_allowed && FILES.iter().any(|w| code.contains(w)) {
            found(&format!("crate {krate} touches files outside a module named {}", FILE_MODULES.join(", ")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, body: &str) -> usize {
        check_file(name, &format!("//! A module.\n{body}\n")).len()
    }

    #[test]
    fn planted_failures_are_found() {
        assert_eq!(check_file("crates/engine/src/a.rs", "fn f() {}\n").len(), 1, "no //!");
        assert_eq!(problems("crates/engine/src/a.rs", &"\n".repeat(900)), 1, "too long");
        assert_eq!(problems("crates/engine/src/a.rs", "unsafe { x() }"), 1);
        assert_eq!(problems("crates/train/src/loop.rs", "std::fs::read(p)"), 1);
        assert_eq!(problems("crates/train/src/loop.rs", "let t = Instant::now();"), 1);
        assert_eq!(problems("crates/text/src/a.rs", "eprintln!(\"x\")"), 1);
        assert_eq!(problems("crates/model/src/a.rs", "std::env::var(\"X\")"), 2);
        assert_eq!(problems("crates/tunesmith/src/a.rs", "todo!()"), 1);
        assert_eq!(
            problems("crates/train/src/a.rs", "#[cfg(test)]\nmod laws;\nuse std::fs;"),
            1,
            "a test module's declaration ends nothing"
        );
    }

    #[test]
    fn what_is_allowed_passes() {
        assert_eq!(problems("crates/kernels/src/a.rs", "unsafe { x() }"), 0);
        assert_eq!(problems("crates/containers/src/mmap.rs", "unsafe { x() }"), 0);
        assert_eq!(problems("crates/train/src/save/store.rs", "std::fs::read(p)"), 0);
        assert_eq!(problems("crates/model/src/load.rs", "File::open(p)"), 0);
        assert_eq!(problems("crates/engine/src/a.rs", "// eprintln!() would be wrong here"), 0);
        assert_eq!(problems("crates/engine/src/a.rs", "#[cfg(test)]\nmod tests { fn f() { println!() } }"), 0);
        assert_eq!(problems("crates/tunesmith/src/a.rs", "println!()"), 0);
        assert_eq!(problems("crates/train/src/laws.rs", "#![cfg(test)]\nuse std::fs;"), 0);
    }
}
