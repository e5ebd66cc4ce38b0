//! What can be typed behind `docs`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum Docs {
    /// Read files and folders into a store; what has not changed is not read again
    #[command(after_help = "Examples:
  tunesmith docs ingest contracts/ letters/*.pdf --store work
  tunesmith docs ingest secret.pdf --store work --password hunter2

PDF, Word (docx), Excel (xlsx), pictures (PNG, JPEG, TIFF), HTML, Markdown and plain text in any encoding. Pages without
text are recognised by Tesseract where it is installed (Debian: tesseract-ocr, tesseract-ocr-chi-sim). A file that cannot be read stops no other. A killed run goes
on with the same command.

JSON keys: files, pages, ocr_pages, empty_pages, failed [{file, page, reason}] (page is null for a whole file), passed_over
[{file, reason}] (files of a folder that are no documents this program reads), gone [file] (files of the store that are no
longer in the folders; docs rm removes them)")]
    Ingest(Ingest),
    /// List the files of a store with their pages and what could not be read
    #[command(after_help = "Example:
  tunesmith docs list --store work

JSON keys: files [{name, sha256, bytes, format, encoding, declared_pages, failed, notes, pages, ocr_pages, empty_pages,
failed_pages, blocks, chunks}], pages, chunks, empty [{file, page, reason}], failed [{file, page, reason}]")]
    List(List),
    /// Show what was read of a file
    #[command(after_help = "Examples:
  tunesmith docs show lease.pdf --store work --format markdown
  tunesmith docs show lease.pdf --store work --page 3 --format json

FILE is a name as `docs list` shows it, or an end of it that only one file has.

JSON keys (--format json): file, pages [{number, source, width, height, rotation, …}], blocks [{kind, level, text, start,
end, places [{page, bbox}], links, confidence, words}], text")]
    Show(Show),
    /// Cut the store's documents into chunks along their structure
    #[command(after_help = "Examples:
  tunesmith docs chunks --store work --tokenizer hf:HuggingFaceTB/SmolLM2-135M-Instruct --size 512 --overlap 64 --output chunks.jsonl
  tunesmith docs chunks --store work --size 800 --output chunks.jsonl
  tunesmith docs chunks --store work --output chunks.parquet

A chunk never begins or ends inside a sentence or a row of a table. Rows: {id, text, source {file, sha256, page, page_end,
start, end}}; start and end count code points of the document's cleaned text.

JSON keys: documents, chunks, mean_length, longest, over_size, unit, steps, dropped, output (steps and dropped as in docs preview)")]
    Chunks(Chunks),
    /// Show what a cleaning would change, and count it
    #[command(after_help = "Examples:
  tunesmith docs preview --store work
  tunesmith docs preview lease.pdf --store work --clean clean.yaml --show 10

A pipeline is a YAML file:
  steps:
    - unicode: nfc              # or nfkc
    - width: alphanumeric       # full-width letters and digits; or all
    - control                   # controls, zero-width characters
    - headers_footers: {share: 0.4}
    - whitespace
    - pii: {kinds: [email, phone, cn_id, card], custom: [{name: contract, pattern: 'No\\. \\d+'}]}
    - language: {keep: [zh, en]}
    - length: {min: 20}
    - duplicates: {near: 0.9}
'default' stands for unicode nfc, control, headers_footers, whitespace; 'none' for no cleaning.

JSON keys: documents, steps [{step, edits, kinds, removed, added, dropped}], dropped [{file, reason}], changes [{file, step,
before, removed, added, after}]")]
    Preview(Preview),
    /// Remove files from a store and tell what was made from them
    #[command(after_help = "Examples:
  tunesmith docs rm lease.pdf --store work --runs runs --dry-run
  tunesmith docs rm lease.pdf --store work

Rows of labels.db that were cut from the files, and their labels, are counted and stay.

JSON keys: removed, chunks, rows, labels, runs [{run, rows}], dry_run")]
    Rm(Rm),
}

#[derive(Debug, Args)]
pub struct Ingest {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The store's directory (made if there is none)
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Encoding of text files (default: told from the bytes)
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
    /// Password of encrypted files (may be repeated; each is tried)
    #[arg(long = "password", value_name = "PASSWORD")]
    pub passwords: Vec<String>,
    /// Do not recognise text in pictures of pages
    #[arg(long)]
    pub no_ocr: bool,
    /// Language for the recogniser (default: told from each page): eng, chi_sim, chi_sim+eng
    #[arg(long, value_name = "NAME", conflicts_with = "no_ocr")]
    pub ocr_language: Option<String>,
    /// Read unchanged files again
    #[arg(long)]
    pub again: bool,
}

#[derive(Debug, Args)]
pub struct List {
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The document
    #[arg(value_name = "FILE")]
    pub file: String,
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// How to show it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Only this page
    #[arg(long, value_name = "N")]
    pub page: Option<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Text,
    Markdown,
    Json,
}

#[derive(Debug, Args)]
pub struct Chunks {
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    #[command(flatten)]
    pub cutting: CuttingArgs,
    /// Write the chunks as Parquet (if the name ends in .parquet) or JSON lines
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How chunks are cut, where it is chosen.
#[derive(Debug, Args)]
pub struct CuttingArgs {
    /// A model whose tokens are counted (default: characters are counted)
    #[arg(long, value_name = "MODEL")]
    pub tokenizer: Option<String>,
    /// Clean by this pipeline first: a YAML file (see docs preview), default or none [default: default]
    #[arg(long, value_name = "FILE")]
    pub clean: Option<String>,
    /// Longest chunk, in tokens (or characters without --tokenizer) [default: 512]
    #[arg(long, value_name = "N")]
    pub size: Option<usize>,
    /// What a chunk repeats of the one before it, at most [default: 0]
    #[arg(long, value_name = "N")]
    pub overlap: Option<usize>,
}

impl CuttingArgs {
    /// How the user wants chunks to be cut; none if nothing is said of it.
    pub fn chosen(&self) -> Option<stages::docs::Cutting> {
        if self.tokenizer.is_none() && self.clean.is_none() && self.size.is_none() && self.overlap.is_none() {
            return None;
        }
        let usual = stages::docs::Cutting::default();
        Some(stages::docs::Cutting {
            tokenizer: self.tokenizer.clone(),
            clean: self.clean.clone().unwrap_or(usual.clean),
            options: stages::docs::ChunkOptions {
                size: self.size.unwrap_or(usual.options.size),
                overlap: self.overlap.unwrap_or(usual.options.overlap),
            },
        })
    }
}

#[derive(Debug, Args)]
pub struct Preview {
    /// Documents (default: all)
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// The pipeline: a YAML file, default or none
    #[arg(long, value_name = "FILE", default_value = "default")]
    pub clean: String,
    /// Changes of each step to show of each document
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub show: usize,
}

#[derive(Debug, Args)]
pub struct Rm {
    /// The documents
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Look through the runs below this directory for rows from them
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// Remove nothing, only tell
    #[arg(long)]
    pub dry_run: bool,
}
