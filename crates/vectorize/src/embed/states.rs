//! Rows that a language model gives: a text's pooled hidden states. The model computes them elsewhere ([`TextModel`]); here they are
//! made comparable: every column is centred and scaled by what the fitted texts have there, every row has length 1.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Result, VectorizeError};
use crate::features::{Features, Norm};

/// What gives a text its vector. Equal texts have equal vectors, whatever else is asked with them.
pub trait TextModel: Send + Sync + fmt::Debug {
    /// How the vectors are made; two models of equal settings give equal vectors.
    fn settings(&self) -> &ModelSettings;

    /// The vectors, `texts × dim` numbers.
    ///
    /// # Errors
    /// A text that the model cannot read; a model that fails.
    fn vectors(&self, texts: &[&str]) -> Result<Vec<f32>>;
}

/// Which states of a text make its vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatePooling {
    /// The mean over all tokens, each scaled to length 1 (the first token's state is often a hundred times as long as the others').
    #[default]
    Mean,
    /// The last token's state, which has read all others.
    Last,
}

/// Which vectors of which model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The model as the user names it: a run, a directory, any model source.
    pub model: String,
    /// Hash of what it holds: vectors of another model under the same name would not fit.
    pub content: String,
    /// What the model reads, with `{text}` where the text goes.
    pub prompt: String,
    /// Which states.
    pub pooling: StatePooling,
    /// After how many layers; all of them: after the final norm.
    pub layer: usize,
    /// Longest prompt in tokens; longer texts are cut.
    pub max_tokens: usize,
    /// Numbers of a vector.
    pub dim: usize,
}

/// Fitted: a text becomes its vector, centred, scaled, of length 1.
#[derive(Debug)]
pub struct States {
    settings: ModelSettings,
    mean: Vec<f64>,
    scale: Vec<f64>,
    model: Option<Arc<dyn TextModel>>,
}

impl States {
    /// Learns the columns' means and spreads, and gives the texts' rows.
    ///
    /// # Errors
    /// No model, or one that fails.
    pub fn fit_transform<T: AsRef<str>>(
        settings: &ModelSettings,
        texts: &[T],
        model: Option<&Arc<dyn TextModel>>,
    ) -> Result<(Self, Features)> {
        let dim = settings.dim;
        let mut fitted = Self { settings: settings.clone(), mean: vec![0.0; dim], scale: vec![1.0; dim], model: None };
        fitted.model = Some(Arc::clone(fitting(settings, model)?));
        let vectors = fitted.raw(texts)?;
        let n = texts.len().max(1) as f64;
        let rows = || vectors.chunks_exact(dim.max(1));
        rows().for_each(|row| fitted.mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v) / n));
        let mut spread = vec![0.0; dim];
        rows().for_each(|row| spread.iter_mut().zip(row).zip(&fitted.mean).for_each(|((s, v), m)| *s += (f64::from(*v) - m).powi(2) / n));
        // A column that never changes says nothing, and is 0 once it is centred.
        fitted.scale = spread.into_iter().map(|s| if s > 0.0 { s.sqrt().recip() } else { 1.0 }).collect();
        let rows = fitted.rows(&vectors);
        Ok((fitted, rows))
    }

    /// From what was saved; [`Self::attach`] gives it the model.
    pub(crate) fn from_parts(settings: ModelSettings, mean: Vec<f64>, scale: Vec<f64>) -> Result<Self> {
        if mean.len() != settings.dim || scale.len() != settings.dim {
            return Err(VectorizeError::data(format!("means and spreads of {} columns do not fit {} numbers", mean.len(), settings.dim)));
        }
        Ok(Self { settings, mean, scale, model: None })
    }

    /// Gives it the model that its vectors come from.
    ///
    /// # Errors
    /// Another model.
    pub fn attach(&mut self, model: &Arc<dyn TextModel>) -> Result<()> {
        self.model = Some(Arc::clone(fitting(&self.settings, Some(model))?));
        Ok(())
    }

    /// Rows of other texts.
    ///
    /// # Errors
    /// No model, or one that fails.
    pub fn transform<T: AsRef<str>>(&self, texts: &[T]) -> Result<Features> {
        Ok(self.rows(&self.raw(texts)?))
    }

    fn raw<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<f32>> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let model = self.model.as_ref().ok_or_else(|| VectorizeError::setting("model", "is not open: these features need it"))?;
        let vectors = model.vectors(&texts)?;
        if vectors.len() != texts.len() * self.settings.dim {
            return Err(VectorizeError::data(format!("{} numbers for {} texts of {} each", vectors.len(), texts.len(), self.settings.dim)));
        }
        Ok(vectors)
    }

    fn rows(&self, vectors: &[f32]) -> Features {
        let mut out = Features::new(self.settings.dim);
        for row in vectors.chunks_exact(self.settings.dim.max(1)) {
            let mut row: Vec<f64> = row.iter().zip(&self.mean).zip(&self.scale).map(|((v, m), s)| (f64::from(*v) - m) * s).collect();
            Norm::L2.apply(&mut row);
            out.push(row.into_iter().enumerate().map(|(c, v)| (c as u32, v)));
        }
        out
    }

    /// How it was made.
    pub fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    pub(crate) fn parts(&self) -> (&[f64], &[f64]) {
        (&self.mean, &self.scale)
    }
}

/// The model, if it is the one that the settings speak of.
fn fitting<'m>(settings: &ModelSettings, model: Option<&'m Arc<dyn TextModel>>) -> Result<&'m Arc<dyn TextModel>> {
    let model = model.ok_or_else(|| VectorizeError::setting("model", "is not open: these features need it"))?;
    let own = model.settings();
    // The same content may lie elsewhere now.
    if *own != (ModelSettings { model: own.model.clone(), ..settings.clone() }) {
        return Err(VectorizeError::setting("model", format!("{} is not the model that these features were made with", own.model)));
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters counted: a vector that a test can foresee.
    #[derive(Debug)]
    struct Letters(ModelSettings);

    impl TextModel for Letters {
        fn settings(&self) -> &ModelSettings {
            &self.0
        }

        fn vectors(&self, texts: &[&str]) -> Result<Vec<f32>> {
            Ok(texts.iter().flat_map(|t| ['a', 'b', 'c'].map(|l| t.matches(l).count() as f32)).collect())
        }
    }

    fn settings() -> ModelSettings {
        let (model, content, prompt) = ("letters".into(), "1".into(), "{text}".into());
        ModelSettings { model, content, prompt, pooling: StatePooling::Mean, layer: 1, max_tokens: 9, dim: 3 }
    }

    #[test]
    fn columns_are_centred_and_scaled_and_rows_have_length_one() {
        let model: Arc<dyn TextModel> = Arc::new(Letters(settings()));
        let (fitted, x) = States::fit_transform(&settings(), &["aac", "bc", "c"], Some(&model)).unwrap();
        // Of a: 2, 0, 0 with mean 2/3 and spread sqrt(8)/3; of b: 0, 1, 0 with mean 1/3 and spread sqrt(2)/3; c never changes.
        let (a, b) = (4.0 / 8f64.sqrt(), -1.0 / 2f64.sqrt());
        let norm = (a * a + b * b).sqrt();
        let row = x.row(0).1;
        assert!((row[0] - a / norm).abs() < 1e-12 && (row[1] - b / norm).abs() < 1e-12 && row[2] == 0.0, "{row:?}");
        assert_eq!(fitted.transform(&["bc"]).unwrap().row(0), x.row(1));
    }

    #[test]
    fn another_model_or_none_is_refused() {
        let model: Arc<dyn TextModel> = Arc::new(Letters(settings()));
        let (fitted, _) = States::fit_transform(&settings(), &["a", "b"], Some(&model)).unwrap();
        let (mean, scale) = fitted.parts();
        let mut saved = States::from_parts(settings(), mean.to_vec(), scale.to_vec()).unwrap();
        assert!(saved.transform(&["a"]).unwrap_err().to_string().contains("not open"));
        let other: Arc<dyn TextModel> = Arc::new(Letters(ModelSettings { content: "2".into(), ..settings() }));
        assert!(saved.attach(&other).unwrap_err().to_string().contains("letters"));
        // Moved, but the same.
        let moved: Arc<dyn TextModel> = Arc::new(Letters(ModelSettings { model: "elsewhere".into(), ..settings() }));
        saved.attach(&moved).unwrap();
        assert_eq!(saved.transform(&["ab"]).unwrap(), fitted.transform(&["ab"]).unwrap());
    }
}
