//! doc2vec: a vector for every document (Le & Mikolov 2014, "Distributed representations of sentences and documents"), by PV-DM (the
//! document and the words around predict a word) or PV-DBOW (the document alone predicts its words).

use kernels::embed::{SharedRows, add, gather, step};
use kernels::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::corpus::{Corpus, Noise, keep};
use super::train::Schedule;
use super::word2vec::{Worker, check_sizes, random_rows};
use crate::analyze::{Analyzer, AnalyzerSettings, Scratch};
use crate::error::{Result, VectorizeError};
use crate::terms::{Interner, hash_text};

/// Keeps these draws apart from every other use of a seed ("d2v").
const STREAM: u64 = 0x64_3276;

/// Settings; the names are gensim's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Doc2VecSettings {
    /// How texts become words.
    pub analyzer: AnalyzerSettings,
    /// PV-DM; otherwise PV-DBOW.
    pub dm: bool,
    /// Numbers of a vector.
    pub vector_size: usize,
    /// Most words to each side (PV-DM).
    pub window: usize,
    /// Leave out words of fewer appearances.
    pub min_count: u64,
    /// Words drawn against each one that is there.
    pub negative: usize,
    /// Words more frequent than this share are skipped now and then; 0 skips none.
    pub sample: f64,
    /// Passes over the texts, and over a new document.
    pub epochs: usize,
    /// Learning rate at the start.
    pub alpha: f32,
    /// And at the end.
    pub min_alpha: f32,
    /// Threads that learn side by side without locks; with 1 results repeat to the bit.
    pub workers: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for Doc2VecSettings {
    fn default() -> Self {
        Self {
            analyzer: AnalyzerSettings::default(),
            dm: false,
            vector_size: 100,
            window: 5,
            min_count: 2,
            negative: 5,
            sample: 1e-3,
            epochs: 20,
            alpha: 0.025,
            min_alpha: 1e-4,
            workers: 1,
            seed: 42,
        }
    }
}

/// A trained model: vectors of the documents, and what it takes to find those of new ones.
pub struct Doc2Vec {
    settings: Doc2VecSettings,
    analyzer: Analyzer,
    words: Vec<String>,
    counts: Vec<u64>,
    index: Interner,
    noise: Noise,
    keep: Vec<u32>,
    /// Vectors of words around (PV-DM).
    input: SharedRows,
    output: SharedRows,
    /// `documents × vector_size`.
    documents: Vec<f32>,
}

impl std::fmt::Debug for Doc2Vec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doc2Vec").field("settings", &self.settings).field("words", &self.words.len()).finish_non_exhaustive()
    }
}

/// One pass over a document: its vector is row `document` of `documents`; with `learn` words learn, too.
#[allow(clippy::too_many_arguments)]
fn pass(
    worker: &mut Worker,
    settings: &Doc2VecSettings,
    (text, keep, noise): (&[u32], &[u32], &Noise),
    (input, output): (&SharedRows, &SharedRows),
    documents: &SharedRows,
    document: u32,
    rate: f32,
    learn: bool,
) {
    worker.skim(text, keep);
    for i in 0..worker.kept.len() {
        let word = worker.kept[i];
        worker.draw(word, settings.negative, noise);
        worker.error.fill(0.0);
        if !settings.dm {
            gather(documents, &[document], 1.0, &mut worker.hidden);
            step(output, &worker.hidden, &mut worker.error, &worker.targets, rate, learn);
            add(documents, document, &worker.error, 1.0);
            continue;
        }
        worker.look_around(i, settings.window);
        let share = 1.0 / (worker.around.len() + 1) as f32;
        gather(input, &worker.around, 1.0, &mut worker.hidden);
        // The document's vector is one more of those that are averaged.
        let mut own = std::mem::take(&mut worker.error);
        gather(documents, &[document], 1.0, &mut own);
        worker.hidden.iter_mut().zip(&own).for_each(|(h, d)| *h = (*h + d) * share);
        own.fill(0.0);
        worker.error = own;
        step(output, &worker.hidden, &mut worker.error, &worker.targets, rate, learn);
        add(documents, document, &worker.error, 1.0);
        if learn {
            for j in 0..worker.around.len() {
                add(input, worker.around[j], &worker.error, 1.0);
            }
        }
    }
}

impl Doc2Vec {
    /// Learns. `progress` hears of words done and may end the work.
    ///
    /// # Errors
    /// Settings out of range, too little text, [`VectorizeError::Stopped`].
    pub fn train<T: AsRef<str> + Sync>(
        settings: &Doc2VecSettings,
        texts: &[T],
        progress: &mut (dyn FnMut(u64) -> bool + Send),
    ) -> Result<Self> {
        let s = settings;
        check_sizes(s.vector_size, s.window, s.negative)?;
        let schedule = Schedule { epochs: s.epochs, alpha: s.alpha, min_alpha: s.min_alpha, workers: s.workers };
        schedule.check()?;
        let analyzer = Analyzer::new(&s.analyzer)?;
        let corpus = Corpus::read(&analyzer, texts, s.min_count)?;
        let input = random_rows(corpus.words.len(), s.vector_size, s.seed, STREAM);
        let output = SharedRows::zeros(corpus.words.len(), s.vector_size);
        let documents = random_rows(texts.len(), s.vector_size, s.seed, STREAM + 1);
        let (noise, keep) = (Noise::new(&corpus.counts), keep(&corpus.counts, s.sample));
        let stride = output.stride();
        schedule.run(
            &corpus.ends,
            |worker| Worker::new(s.seed, &[STREAM, 2, worker as u64], stride),
            |_, texts, rate, worker| {
                for i in texts {
                    pass(worker, s, (corpus.text(i), &keep, &noise), (&input, &output), &documents, i as u32, rate, true);
                }
            },
            progress,
        )?;
        let index = Interner::of(corpus.words.iter().map(String::as_str));
        let documents = documents.values();
        Ok(Self { settings: s.clone(), analyzer, words: corpus.words, counts: corpus.counts, index, noise, keep, input, output, documents })
    }

    /// From what was saved.
    ///
    /// # Errors
    /// Parts that do not fit together.
    pub fn from_saved(settings: Doc2VecSettings, words: Vec<String>, counts: Vec<u64>, input: &[f32], output: &[f32]) -> Result<Self> {
        let size = words.len() * settings.vector_size;
        if settings.vector_size == 0 || input.len() != size || output.len() != size || counts.len() != words.len() || words.is_empty() {
            return Err(VectorizeError::data("the saved words, counts and vectors of doc2vec do not fit together"));
        }
        let dim = settings.vector_size;
        Ok(Self {
            analyzer: Analyzer::new(&settings.analyzer)?,
            index: Interner::of(words.iter().map(String::as_str)),
            noise: Noise::new(&counts),
            keep: keep(&counts, settings.sample),
            input: SharedRows::from_values(input, dim),
            output: SharedRows::from_values(output, dim),
            documents: Vec::new(),
            settings,
            words,
            counts,
        })
    }

    /// The vector of a document that was trained on; none after loading.
    pub fn document(&self, i: usize) -> Option<&[f32]> {
        self.documents.chunks_exact(self.settings.vector_size).nth(i)
    }

    /// Vectors of new documents (`documents × vector_size`): the words stay as they are, a document's vector is learned from zero.
    /// A document's result depends on its own text alone.
    pub fn infer<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Vec<f32> {
        let s = &self.settings;
        let one = |text: &T| {
            let mut tokens = Vec::new();
            self.analyzer.tokens(text.as_ref(), &mut Scratch::default(), &mut |t| tokens.extend(self.index.get(t.as_bytes())));
            let key = hash_text(text.as_ref());
            let mut own = SharedRows::zeros(1, s.vector_size);
            let mut rng = Rng::keyed(s.seed, &[STREAM, 3, key]);
            own.row_mut(0).iter_mut().for_each(|v| *v = (rng.uniform() - 0.5) / s.vector_size as f32);
            let mut worker = Worker::new(s.seed, &[STREAM, 4, key], own.stride());
            for epoch in 0..s.epochs {
                let rate = s.alpha - (s.alpha - s.min_alpha) * epoch as f32 / s.epochs as f32;
                pass(&mut worker, s, (&tokens, &self.keep, &self.noise), (&self.input, &self.output), &own, 0, rate, false);
            }
            own.values()
        };
        texts.par_iter().flat_map_iter(one).collect()
    }

    /// How it was made.
    pub fn settings(&self) -> &Doc2VecSettings {
        &self.settings
    }

    /// What saving needs: words, their counts, their vectors, and the output rows.
    pub(crate) fn parts(&self) -> (&[String], &[u64], Vec<f32>, Vec<f32>) {
        let (input, output) = (self.input.values(), self.output.values());
        (&self.words, &self.counts, input, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 documents of 30 topics, each with words of its own: inferring a document's vector anew must find the document.
    #[test]
    fn a_document_is_found_again() {
        let mut rng = Rng::keyed(9, &[]);
        let texts: Vec<String> = (0..300)
            .map(|d| {
                let word = |rng: &mut Rng| match rng.below(4) {
                    0 => format!("common{}", rng.below(40)),
                    1 => format!("topic{}x{}", d % 30, rng.below(20)),
                    _ => format!("own{}x{}", d, rng.below(12)),
                };
                (0..60).map(|_| word(&mut rng)).collect::<Vec<_>>().join(" ")
            })
            .collect();
        for dm in [true, false] {
            let settings = Doc2VecSettings { dm, vector_size: 40, epochs: 40, alpha: 0.05, ..Default::default() };
            let model = Doc2Vec::train(&settings, &texts, &mut |_| true).unwrap();
            let inferred = model.infer(&texts);
            assert_eq!(inferred, model.infer(&texts));
            let cosine = |a: &[f32], b: &[f32]| {
                let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
                dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
            };
            let rank_of_own = |d: usize| {
                let query = &inferred[d * 40..(d + 1) * 40];
                let own = cosine(query, model.document(d).unwrap());
                (0..300).filter(|&o| cosine(query, model.document(o).unwrap()) > own).count()
            };
            let found = (0..300).filter(|&d| rank_of_own(d) < 10).count();
            assert!(found >= 297, "dm {dm}: {found} of 300");
        }
    }
}
