//! What the end-to-end tests share: a workplace in a temporary directory with the tiny model (`oracles/tiny_cli_model.py`), data in
//! English and Chinese, recipes, and the binary run as a script would run it, with an environment of its own and offline.

#![allow(dead_code)] // each test binary uses its part

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A user's directory.
pub struct Bench {
    dir: TempDir,
}

/// What a command said.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The keys of a classification's report, in order.
pub const REPORT_KEYS: [&str; 8] = ["n", "accuracy", "macro", "micro", "per_class", "confusion", "loss", "confidence"];

impl Bench {
    /// An empty directory.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// With `reviews.csv` and `classify.yaml`: a LoRA run of 12 steps on 60 reviews.
    pub fn classify() -> Self {
        let bench = Self::new();
        bench.write("reviews.csv", reviews(60, "pos", "neg"));
        bench.write("classify.yaml", classify_recipe("reviews.csv"));
        bench
    }

    /// With `chat.jsonl` and `chat.yaml`: conversations.
    pub fn chat() -> Self {
        let bench = Self::new();
        bench.write("chat.jsonl", conversations(24));
        let recipe = format!(
            "model: {}\ndataset: {{sources: [{{source: chat.jsonl}}], val_size: 0.2}}\ntask: {{type: sft}}\n\
             finetuning_type: lora\nper_device_train_batch_size: 4\nlearning_rate: 1e-2\nmax_steps: 10\nlogging_steps: 5\n",
            yaml(&tiny())
        );
        bench.write("chat.yaml", &recipe);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// A copy of the tiny model that a test may damage.
    pub fn copy_model(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        fs::create_dir(&to).expect("created");
        for file in fs::read_dir(tiny()).expect("listed").flatten() {
            fs::copy(file.path(), to.join(file.file_name())).expect("copied");
        }
        to
    }

    /// The binary in this directory, with nothing of the tester's own environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tunesmith"));
        command.current_dir(self.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("TUNESMITH_CACHE", self.path("cache"));
        command.arg("--offline").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("the binary starts"))
    }

    /// Runs to the end with something on standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        use std::io::Write;
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the binary starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("read by the program");
        Ran::from(child.wait_with_output().expect("ended"))
    }

    /// Must succeed.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    /// Must succeed and print one JSON object, and nothing else, on standard output.
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.ok(args);
        let rows = ran.rows();
        assert_eq!(rows.len(), 1, "{}", ran.out);
        rows[0].clone()
    }

    /// Must be refused as the user's mistake (exit code 2, nothing on standard output) in words that hold each of `words`.
    pub fn refused(&self, args: &[&str], words: &[&str]) {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}\n{}\n{}", ran.out, ran.err);
        assert_eq!(ran.out, "", "{args:?}");
        for word in words {
            assert!(ran.err.contains(word), "{args:?}: `{word}` is not in:\n{}", ran.err);
        }
    }

    /// `train RECIPE --output-dir DIR` with more arguments.
    pub fn train(&self, recipe: &str, dir: &str, more: &[&str]) -> Value {
        let mut args = vec!["train", recipe, "--output-dir", dir, "--json", "--quiet"];
        args.extend(more);
        self.json(&args)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Ran {
    /// Standard output as JSON lines.
    pub fn rows(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }
}

impl Bench {
    /// Two runs hold the same bytes in everything that has no time in it.
    pub fn same_runs(&self, a: &str, b: &str) {
        for file in
            ["adapter_model.safetensors", "metrics.jsonl", "train.jsonl", "heldout.jsonl", "run.json", "tokenizer.json", "evaluation.json"]
        {
            assert!(self.read(&format!("{a}/{file}")) == self.read(&format!("{b}/{file}")), "{file} differs between {a} and {b}");
        }
    }
}

/// The committed model.
pub fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny")
}

/// A path as a YAML text.
pub fn yaml(path: &Path) -> String {
    Value::from(path.display().to_string()).to_string()
}

/// An object's keys in order.
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

/// A number in an object.
pub fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} is no number in {value}"))
}

/// `n` reviews in English and Chinese as CSV with a byte-order mark, quoted commas and a quoted line break.
pub fn reviews(n: usize, good: &str, bad: &str) -> String {
    const GOOD: [&str; 4] = ["a wonderful film, warm", "funny and good", "这部电影很好看", "演员很棒，音乐也很好听"];
    const BAD: [&str; 4] = ["a dreadful film, cold", "dull and bad", "这部电影太差了", "故事很无聊，浪费时间"];
    let mut text = String::from("\u{feff}review,sentiment\r\n");
    for i in 0..n {
        let (words, label) = if i % 2 == 0 { (GOOD, good) } else { (BAD, bad) };
        let end = if i == 4 { "\nsecond line" } else { "" };
        let _ = write!(text, "\"{} {i}{end}\",{label}\r\n", words[i / 2 % 4]);
    }
    text
}

/// A classifier's recipe for such reviews.
pub fn classify_recipe(data: &str) -> String {
    format!(
        "model: {}
dataset:
  sources: [{{source: {data}, columns: {{text: review, label: sentiment}}}}]
  val_size: 0.2
task:
  type: classify
  prompt: \"Review: {{text}}\\nSentiment:\"
  labels:
    negative: {{from: [neg], text: \" negative\"}}
    positive: {{from: [pos], text: \" positive\"}}
finetuning_type: lora
lora_rank: 4
lora_dropout: 0.1
per_device_train_batch_size: 4
learning_rate: 1e-2
max_steps: 12
save_steps: 2
logging_steps: 1
",
        yaml(&tiny())
    )
}

/// Conversations in the shape of OpenAI's `messages`.
pub fn conversations(n: usize) -> String {
    const TURNS: [(&str, &str); 4] = [
        ("How do I reset my password?", "Open the settings."),
        ("Where is my order?", "It arrives tomorrow."),
        ("请问怎么重置密码？", "打开设置。"),
        ("我的订单在哪里？", "明天到。"),
    ];
    let row = |i: usize| {
        let (question, answer) = TURNS[i % 4];
        let question = format!("{question} ({i})");
        let turns = serde_json::json!([{"role": "user", "content": question}, {"role": "assistant", "content": answer}]);
        serde_json::json!({"messages": turns}).to_string() + "\n"
    };
    (0..n).map(row).collect()
}
