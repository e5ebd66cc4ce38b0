//! word2vec with negative sampling (Mikolov et al. 2013, "Distributed representations of words and phrases"), in gensim's terms:
//! windows shrink at random, frequent words are skipped at random, CBOW averages its window.

use kernels::embed::{SharedRows, add, gather, step};
use kernels::rng::Rng;
use serde::{Deserialize, Serialize};

use super::corpus::{Corpus, Fast, Noise, keep};
use super::train::Schedule;
use super::vectors::WordVectors;
use crate::analyze::Analyzer;
use crate::error::{Result, VectorizeError};

/// Keeps these draws apart from every other use of a seed ("w2v").
const STREAM: u64 = 0x77_3276;

/// What predicts what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// The words around predict the word: fast, good for frequent words.
    #[default]
    Cbow,
    /// The word predicts each word around: slower, good for rare words and few texts.
    Skipgram,
}

/// Settings; the names are gensim's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Word2VecSettings {
    /// CBOW or skip-gram.
    pub architecture: Architecture,
    /// Numbers of a vector.
    pub vector_size: usize,
    /// Most words to each side.
    pub window: usize,
    /// Leave out words of fewer appearances.
    pub min_count: u64,
    /// Words drawn against each one that is there.
    pub negative: usize,
    /// Words more frequent than this share are skipped now and then; 0 skips none.
    pub sample: f64,
    /// Passes over the texts.
    pub epochs: usize,
    /// Learning rate at the start.
    pub alpha: f32,
    /// And at the end.
    pub min_alpha: f32,
    /// Threads that learn side by side without locks. With 1 the result is the same to the bit every time; with more it is not.
    pub workers: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for Word2VecSettings {
    fn default() -> Self {
        Self {
            architecture: Architecture::Cbow,
            vector_size: 100,
            window: 5,
            min_count: 5,
            negative: 5,
            sample: 1e-3,
            epochs: 5,
            alpha: 0.025,
            min_alpha: 1e-4,
            workers: 1,
            seed: 42,
        }
    }
}

pub(super) fn check_sizes(vector_size: usize, window: usize, negative: usize) -> Result<()> {
    for (name, value, most) in [("vector_size", vector_size, 4096), ("window", window, 1000), ("negative", negative, 1000)] {
        if value == 0 || value > most {
            return Err(VectorizeError::setting(name, format!("{value} is not between 1 and {most}")));
        }
    }
    Ok(())
}

/// Small random numbers, a row for each of `n`.
pub(super) fn random_rows(n: usize, dim: usize, seed: u64, stream: u64) -> SharedRows {
    let mut rows = SharedRows::zeros(n, dim);
    for i in 0..n {
        let mut rng = Rng::keyed(seed, &[stream, i as u64]);
        rows.row_mut(i).iter_mut().for_each(|v| *v = (rng.uniform() - 0.5) / dim as f32);
    }
    rows
}

/// A worker's buffers.
pub(super) struct Worker {
    pub rng: Fast,
    pub kept: Vec<u32>,
    pub around: Vec<u32>,
    pub targets: Vec<u32>,
    pub hidden: Vec<f32>,
    pub error: Vec<f32>,
}

impl Worker {
    pub fn new(seed: u64, keys: &[u64], stride: usize) -> Self {
        Worker {
            rng: Fast::keyed(seed, keys),
            kept: Vec::new(),
            around: Vec::new(),
            targets: Vec::new(),
            hidden: vec![0.0; stride],
            error: vec![0.0; stride],
        }
    }

    /// The text without the words that are skipped this time.
    pub fn skim(&mut self, text: &[u32], keep: &[u32]) {
        self.kept.clear();
        for &word in text {
            let chance = keep[word as usize];
            if chance == u32::MAX || self.rng.next() < chance {
                self.kept.push(word);
            }
        }
    }

    /// `word`, and `negative` draws that are other words.
    pub fn draw(&mut self, word: u32, negative: usize, noise: &Noise) {
        self.targets.clear();
        self.targets.push(word);
        for _ in 0..negative {
            let drawn = noise.draw(&mut self.rng);
            if drawn != word {
                self.targets.push(drawn);
            }
        }
    }

    /// The words within a random distance of at most `window` around place `i`.
    pub fn look_around(&mut self, i: usize, window: usize) {
        let reach = window - self.rng.below(window as u32) as usize;
        let (from, to) = (i.saturating_sub(reach), (i + reach + 1).min(self.kept.len()));
        self.around.clear();
        self.around.extend((from..to).filter(|&j| j != i).map(|j| self.kept[j]));
    }
}

/// Learns vectors of the words of `texts`. `step` hears of words done (of `epochs` times the frequent words of all texts) and may end
/// the work.
///
/// # Errors
/// Settings out of range, too little text, [`VectorizeError::Stopped`].
pub fn train<T: AsRef<str> + Sync>(
    analyzer: &Analyzer,
    settings: &Word2VecSettings,
    texts: &[T],
    progress: &mut (dyn FnMut(u64) -> bool + Send),
) -> Result<WordVectors> {
    let s = settings;
    check_sizes(s.vector_size, s.window, s.negative)?;
    let schedule = Schedule { epochs: s.epochs, alpha: s.alpha, min_alpha: s.min_alpha, workers: s.workers };
    schedule.check()?;
    let corpus = Corpus::read(analyzer, texts, s.min_count)?;
    let input = random_rows(corpus.words.len(), s.vector_size, s.seed, STREAM);
    let output = SharedRows::zeros(corpus.words.len(), s.vector_size);
    let (noise, keep) = (Noise::new(&corpus.counts), keep(&corpus.counts, s.sample));
    let stride = input.stride();
    schedule.run(
        &corpus.ends,
        |worker| Worker::new(s.seed, &[STREAM, 1, worker as u64], stride),
        |_, texts, rate, worker| {
            for text in texts {
                worker.skim(corpus.text(text), &keep);
                for i in 0..worker.kept.len() {
                    worker.look_around(i, s.window);
                    let word = worker.kept[i];
                    match s.architecture {
                        Architecture::Cbow => cbow(worker, &input, &output, &noise, word, s.negative, rate),
                        Architecture::Skipgram => {
                            for j in 0..worker.around.len() {
                                // As gensim and the original: the vector of the word around learns to predict this one.
                                let around = worker.around[j];
                                worker.draw(word, s.negative, &noise);
                                gather(&input, &[around], 1.0, &mut worker.hidden);
                                worker.error.fill(0.0);
                                step(&output, &worker.hidden, &mut worker.error, &worker.targets, rate, true);
                                add(&input, around, &worker.error, 1.0);
                            }
                        }
                    }
                }
            }
        },
        progress,
    )?;
    WordVectors::new(corpus.words, s.vector_size, input.values())
}

fn cbow(worker: &mut Worker, input: &SharedRows, output: &SharedRows, noise: &Noise, word: u32, negative: usize, rate: f32) {
    if worker.around.is_empty() {
        return;
    }
    worker.draw(word, negative, noise);
    let share = 1.0 / worker.around.len() as f32;
    gather(input, &worker.around, share, &mut worker.hidden);
    worker.error.fill(0.0);
    step(output, &worker.hidden, &mut worker.error, &worker.targets, rate, true);
    // As the original and gensim: each word around makes the whole step, though the hidden vector is a mean.
    for i in 0..worker.around.len() {
        add(input, worker.around[i], &worker.error, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::AnalyzerSettings;

    /// Two worlds of words that never meet: words of one must be nearer to each other than to the other's.
    pub(crate) fn worlds(n: usize) -> Vec<String> {
        let mut rng = Rng::keyed(3, &[]);
        let words = [["红", "橙", "黄", "绿", "蓝", "紫"], ["one", "two", "three", "four", "five", "six"]];
        (0..n).map(|i| (0..8).map(|_| words[i % 2][rng.below(6) as usize]).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn every_word_of_a_window_makes_the_whole_step() {
        let (input, output) = (random_rows(9, 20, 1, 1), random_rows(9, 20, 1, 2));
        let mut worker = Worker::new(1, &[1], input.stride());
        worker.around = vec![1, 2, 4];
        let before = input.values();
        cbow(&mut worker, &input, &output, &Noise::new(&[5; 9]), 0, 5, 0.5);
        assert!(worker.error.iter().any(|e| *e != 0.0));
        let after = input.values();
        for (i, (old, new)) in before.chunks(20).zip(after.chunks(20)).enumerate() {
            let whole = if [1, 2, 4].contains(&i) { 1.0 } else { 0.0 };
            let wrong = (0..20).find(|&l| (new[l] - old[l] - whole * worker.error[l]).abs() > 1e-6);
            assert_eq!(wrong, None, "word {i}");
        }
    }

    #[test]
    fn words_that_keep_company_become_neighbours_and_one_worker_repeats_itself() {
        let analyzer = Analyzer::new(&AnalyzerSettings { token_pattern: Some(r"(?u)\b\w+\b".into()), ..Default::default() }).unwrap();
        let texts = worlds(400);
        for architecture in [Architecture::Cbow, Architecture::Skipgram] {
            let settings = Word2VecSettings { architecture, vector_size: 20, sample: 0.0, alpha: 0.05, epochs: 5, ..Default::default() };
            let run = |workers| train(&analyzer, &Word2VecSettings { workers, ..settings }, &texts, &mut |_| true).unwrap();
            let vectors = run(1);
            assert_eq!(vectors, run(1), "{architecture:?}");
            for v in [vectors, run(2)] {
                let near = v.nearest(&["红"], &[], 5).unwrap();
                assert!(near.iter().all(|n| !n.word.is_ascii()), "{architecture:?} {near:?}");
            }
        }
        let none = train(&analyzer, &Word2VecSettings::default(), &["a b"], &mut |_| true).unwrap_err().to_string();
        assert!(none.contains("min_count"), "{none}");
        let stopped = train(&analyzer, &Word2VecSettings::default(), &texts, &mut |_| false).unwrap_err();
        assert!(matches!(stopped, VectorizeError::Stopped));
    }
}
