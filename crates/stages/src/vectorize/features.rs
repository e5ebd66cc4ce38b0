//! Which features, in one place: what a user chose ([`FeatureChoice`]) made into rows of numbers, whether they are counted, learned, or a
//! language model's. Every verb that learns from texts goes through here; which classifier learns from the rows is
//! [`super::choices::LearnerChoice`], and models that give labels themselves are `crate::language::teacher`.

use std::sync::Arc;

use vectorize::{FeatureSettings, Features, Given, TextModel, Vectorizer, WordVectors};

use super::choices::FeatureChoice;
use super::fit::learning;
use crate::environment::Environment;
use crate::error::Result;
use crate::language::states::StateModel;
use crate::progress::Progress;

/// Features that are ready to be fitted: settings, and what they need beside the texts.
pub(crate) struct Source {
    /// The library's settings.
    pub settings: FeatureSettings,
    /// Word vectors from a file.
    pub pretrained: Option<Arc<WordVectors>>,
    model: Option<Arc<StateModel>>,
}

impl Source {
    /// Opens what the choice needs; the language of `texts` decides how they are cut into words.
    ///
    /// # Errors
    /// Files or a model that cannot be read.
    pub fn open(environment: &Environment, choice: &FeatureChoice, texts: &[String], progress: &mut dyn Progress) -> Result<Self> {
        let model = if choice.kind.needs_model() { Some(StateModel::open(environment, &choice.model, progress)?) } else { None };
        let settings = choice.settings(texts, model.as_ref().map(|m| m.settings()), progress)?;
        Ok(Self { settings, pretrained: choice.pretrained(progress)?, model })
    }

    /// The language model as the library takes it.
    pub fn model(&self) -> Option<Arc<dyn TextModel>> {
        self.model.clone().map(|m| m as Arc<dyn TextModel>)
    }

    /// Computes what takes long of these texts, with a bar; asking afterwards is quick.
    ///
    /// # Errors
    /// A model that fails.
    pub fn prepare<T: AsRef<str>>(&self, texts: &[T], progress: &mut dyn Progress) -> Result<()> {
        self.model.as_ref().map_or(Ok(()), |model| model.prepare(texts, progress))
    }

    /// Fits on texts and gives their rows.
    ///
    /// # Errors
    /// Settings that make no sense, texts that leave nothing to count, a model that fails.
    pub fn fit<T: AsRef<str> + Sync>(&self, texts: &[T], progress: &mut dyn Progress) -> Result<(Vectorizer, Features)> {
        self.prepare(texts, progress)?;
        let model = self.model();
        learning(&self.settings, progress, |step| {
            Vectorizer::fit_transform(&self.settings, texts, Given { pretrained: self.pretrained.as_ref(), model: model.as_ref(), step })
        })
    }

    /// Rows of other texts.
    ///
    /// # Errors
    /// A model that fails.
    pub fn transform(&self, vectorizer: &Vectorizer, texts: &[String], progress: &mut dyn Progress) -> Result<Features> {
        self.prepare(texts, progress)?;
        Ok(vectorizer.transform(texts)?)
    }
}

/// Gives features that were loaded the language model that they were made with, if they were.
pub(crate) fn attach(
    environment: &Environment,
    vectorizer: &mut Vectorizer,
    progress: &mut dyn Progress,
) -> Result<Option<Arc<StateModel>>> {
    let Some(settings) = vectorizer.settings().model().cloned() else { return Ok(None) };
    let model = StateModel::again(environment, &settings, progress)?;
    vectorizer.attach(&(model.clone() as Arc<dyn TextModel>))?;
    Ok(Some(model))
}
