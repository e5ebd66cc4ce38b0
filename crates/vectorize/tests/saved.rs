//! What is saved comes back and says the same; what is damaged is refused by name.

use vectorize::classifier::Labelled;
use vectorize::embed::{Doc2VecSettings, VectorSettings, Word2VecSettings};
use vectorize::learn::{CalibrationMethod, Knn, LinearSvm, LogisticRegression, NaiveBayes};
use vectorize::terms::HashingSettings;
use vectorize::{AnalyzerSettings, Classifier, ClassifierSettings, FeatureSettings, LearnerSettings, TermSettings, Unit};

fn data() -> (Vec<String>, Vec<u32>, Vec<String>) {
    let (good, bad) = (["good", "fine", "很好", "lovely"], ["bad", "dull", "糟糕", "awful"]);
    let text = |i: usize| {
        let words = if i.is_multiple_of(2) { good } else { bad };
        format!("a {} film {} {}", words[i % 3], words[(i / 2) % 4], words[(i / 3) % 4])
    };
    ((0..60).map(text).collect(), (0..60).map(|i| (i % 2) as u32).collect(), vec!["差".into(), "好".into()])
}

fn features() -> Vec<FeatureSettings> {
    let word2vec = Word2VecSettings { vector_size: 12, min_count: 1, epochs: 3, ..Default::default() };
    let vectors = VectorSettings { word2vec, ..Default::default() };
    let doc2vec = Doc2VecSettings { vector_size: 8, min_count: 1, epochs: 3, ..Default::default() };
    let chars = AnalyzerSettings { unit: Unit::CharWb, ngram_range: (1, 3), ..Default::default() };
    vec![
        FeatureSettings::Terms(TermSettings { analyzer: chars, ..Default::default() }),
        FeatureSettings::Hashing(HashingSettings { n_features: 64, alternate_sign: false, ..Default::default() }),
        FeatureSettings::Vectors(vectors.clone()),
        FeatureSettings::Documents(doc2vec),
        FeatureSettings::Combined { terms: TermSettings::default(), vectors },
    ]
}

#[test]
fn every_kind_of_classifier_comes_back() {
    let (texts, classes, labels) = data();
    let data = Labelled { texts: &texts, classes: &classes, labels: &labels, pretrained: None, model: None };
    let learners = [
        (LearnerSettings::Logistic(LogisticRegression::default()), None),
        (LearnerSettings::Svm(LinearSvm::default()), Some(CalibrationMethod::Sigmoid)),
        (LearnerSettings::Knn(Knn::default()), Some(CalibrationMethod::Isotonic)),
        (LearnerSettings::Bayes(NaiveBayes::default()), None),
    ];
    for features in features() {
        for (learner, calibration) in &learners {
            // Word vectors are negative in part, which naive Bayes refuses.
            let counts = matches!(features, FeatureSettings::Terms(_) | FeatureSettings::Hashing(_));
            let settings = ClassifierSettings { features: features.clone(), learner: learner.clone(), calibration: *calibration, seed: 1 };
            let trained = Classifier::train(&settings, data, &mut |_| true);
            if matches!(learner, LearnerSettings::Bayes(_)) && !counts {
                assert!(trained.unwrap_err().to_string().contains("naive Bayes"));
                continue;
            }
            let classifier = trained.unwrap();
            let dir = tempfile::tempdir().unwrap();
            vectorize::save::classifier(dir.path(), &classifier).unwrap();
            let back = vectorize::load::classifier(dir.path()).unwrap();
            let asked = ["a good 很好 film".to_owned(), "dull 糟糕".to_owned(), String::new()];
            let (a, b) = (classifier.predict_proba(&asked).unwrap(), back.predict_proba(&asked).unwrap());
            assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-12), "{settings:?}");
            assert_eq!((back.labels, back.settings), (labels.clone(), settings));
            assert!((0..3).all(|i| (a.row(i).iter().sum::<f64>() - 1.0).abs() < 1e-9));
        }
    }
}

#[test]
fn damage_is_named() {
    let (texts, classes, labels) = data();
    let data = Labelled { texts: &texts, classes: &classes, labels: &labels, pretrained: None, model: None };
    let settings = ClassifierSettings {
        features: FeatureSettings::Terms(TermSettings::default()),
        learner: LearnerSettings::Logistic(LogisticRegression::default()),
        calibration: None,
        seed: 1,
    };
    let classifier = Classifier::train(&settings, data, &mut |_| true).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = |damage: &dyn Fn()| {
        vectorize::save::classifier(dir.path(), &classifier).unwrap();
        damage();
        vectorize::load::classifier(dir.path()).unwrap_err().to_string()
    };
    let file = |name: &str| dir.path().join(name);
    assert!(error(&|| std::fs::write(file("classifier.json"), "{").unwrap()).contains("classifier.json:1"));
    assert!(error(&|| std::fs::write(file("vocabulary.json"), "[\"a\"]").unwrap()).contains("1 terms"));
    assert!(error(&|| std::fs::remove_file(file("classifier.safetensors")).unwrap()).contains("classifier.safetensors"));
}
