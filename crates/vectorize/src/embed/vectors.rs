//! Vectors of words: look-up, neighbours, analogies.

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Result, VectorizeError};
use crate::terms::Interner;

/// A word near another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// The word.
    pub word: String,
    /// Cosine of the angle between them.
    pub similarity: f64,
}

/// Vectors of words, the most frequent word first.
#[derive(Clone, Debug)]
pub struct WordVectors {
    words: Vec<String>,
    dim: usize,
    values: Vec<f32>,
    /// 1 / length of each vector; 0 for a vector of zeros.
    scales: Vec<f32>,
    index: Interner,
}

impl PartialEq for WordVectors {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words && self.dim == other.dim && self.values == other.values
    }
}

impl WordVectors {
    /// From words and `words × dim` numbers.
    ///
    /// # Errors
    /// Numbers that do not fit, a word that is there twice.
    pub fn new(words: Vec<String>, dim: usize, values: Vec<f32>) -> Result<Self> {
        if dim == 0 || values.len() != words.len() * dim {
            return Err(VectorizeError::data(format!("{} numbers are not {} vectors of {dim}", values.len(), words.len())));
        }
        let index = Interner::of(words.iter().map(String::as_str));
        if index.len() != words.len() {
            let mut sorted: Vec<&String> = words.iter().collect();
            sorted.sort_unstable();
            let twice = sorted.windows(2).find(|w| w[0] == w[1]).map_or("", |w| w[0].as_str());
            return Err(VectorizeError::data(format!("the word {twice:?} has two vectors")));
        }
        let scale = |row: &[f32]| {
            let length = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
            if length > 0.0 { (1.0 / length) as f32 } else { 0.0 }
        };
        let scales = values.chunks_exact(dim).map(scale).collect();
        Ok(Self { words, dim, values, scales, index })
    }

    /// Numbers of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// True without any word.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words in order.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// All numbers, word after word.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The number of a word.
    pub fn find(&self, word: &str) -> Option<u32> {
        self.index.get(word.as_bytes())
    }

    /// The vector of a word.
    pub fn get(&self, word: &str) -> Option<&[f32]> {
        self.find(word).map(|i| self.row(i))
    }

    /// The vector of a number.
    pub fn row(&self, number: u32) -> &[f32] {
        &self.values[number as usize * self.dim..][..self.dim]
    }

    /// The `n` words nearest to `Σ positive - Σ negative` of unit vectors (gensim's `most_similar`; with one positive word its
    /// neighbours, with `king`, `woman` against `man` an analogy). The given words are left out.
    ///
    /// # Errors
    /// A word without a vector; no word at all.
    pub fn nearest(&self, positive: &[&str], negative: &[&str], n: usize) -> Result<Vec<Near>> {
        let mut sum = vec![0.0f64; self.dim];
        let mut given = Vec::new();
        for (words, sign) in [(positive, 1.0), (negative, -1.0)] {
            for word in words {
                let i =
                    self.find(word).ok_or_else(|| VectorizeError::data(format!("{word:?} has no vector: it was too rare or not there")))?;
                let scale = f64::from(self.scales[i as usize]) * sign;
                sum.iter_mut().zip(self.row(i)).for_each(|(s, v)| *s += f64::from(*v) * scale);
                given.push(i);
            }
        }
        let length = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
        if given.is_empty() || length == 0.0 {
            return Err(VectorizeError::data("nothing to look for: give a word"));
        }
        let query: Vec<f32> = sum.iter().map(|v| (v / length) as f32).collect();
        let mut found: Vec<(u32, f32)> = self
            .values
            .par_chunks(self.dim)
            .enumerate()
            .map(|(i, row)| (i as u32, row.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>() * self.scales[i]))
            .filter(|(i, _)| !given.contains(i))
            .collect();
        found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(n);
        Ok(found.into_iter().map(|(i, s)| Near { word: self.words[i as usize].clone(), similarity: f64::from(s) }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_analogies() {
        let words = ["king", "man", "woman", "queen", "tree"].map(str::to_owned).to_vec();
        let values = vec![1.0, 1.0, 0.0, 1.0, 0.0, 0.1, 0.0, 1.0, 0.1, 0.1, 2.0, 0.0, -1.0, 0.0, 3.0];
        let v = WordVectors::new(words.clone(), 3, values).unwrap();
        assert_eq!(v.nearest(&["king", "woman"], &["man"], 1).unwrap()[0].word, "queen");
        assert_eq!(v.nearest(&["king"], &[], 9).unwrap().len(), 4);
        assert!(v.nearest(&["缺"], &[], 1).unwrap_err().to_string().contains("缺"));
        assert!(WordVectors::new(vec!["a".into(), "a".into()], 1, vec![1.0, 2.0]).is_err());
        assert!(WordVectors::new(words, 3, vec![1.0]).is_err());
    }
}
