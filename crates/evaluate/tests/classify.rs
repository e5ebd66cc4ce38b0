//! From samples to predictions: renderer, scorer and metrics together.

#[path = "../../generate/tests/common/mod.rs"]
mod common;

use dataset::{ClassifyTask, LabelSet, LabelSpec, Origin, Renderer, Sample, SampleKind, TaskSpec, Truncation};
use engine::{Arena, ParamStore};
use evaluate::classify::{Classification, hits};
use evaluate::{Bootstrap, EvaluateError, Scorer, classify};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

fn renderer() -> Renderer {
    let label = |text: &str| LabelSpec { text: Some(text.into()), ..Default::default() };
    let labels = LabelSet::new(vec![("bad".into(), label(" no")), ("good".into(), label(" yes"))]).unwrap();
    let task = TaskSpec::Classify(ClassifyTask { prompt: "film. {text} is it good".into(), labels, truncate_field: None });
    Renderer::new(Arc::new(common::tokenizer(2)), None, task, 64, Truncation::Right).unwrap()
}

fn sample(line: usize, text: &str, label: Option<&str>) -> Sample {
    let fields = BTreeMap::from([("text".to_owned(), text.to_owned())]);
    let origin = Origin { file: "rows.csv".into(), line };
    Sample::new(origin.to_string(), origin, SampleKind::Classify { fields, label: label.map(str::to_owned) })
}

fn run(samples: &[Sample]) -> evaluate::error::Result<Classification> {
    let decoder = common::load("llama_gqa");
    classify(&decoder, &ParamStore::new(), &Arena::new(), &renderer(), samples, &mut |_, _| ControlFlow::Continue(()))
}

#[test]
fn predictions_are_what_the_scorer_says_about_the_renderers_prompts() {
    let samples = [sample(2, "a fine thing", Some("good")), sample(3, "dull", None), sample(4, "it is the best in the land", Some("bad"))];
    let got = run(&samples).unwrap();
    assert_eq!((got.rows.len(), got.truncated(), got.labels.as_slice()), (3, 0, &["bad".to_owned(), "good".to_owned()][..]));

    let (renderer, decoder) = (renderer(), common::load("llama_gqa"));
    let scorer = Scorer::new(renderer.label_ids(), renderer.tokenizer().eos()).unwrap();
    assert!(scorer.labels().len() == 2 && !scorer.adds_eos());
    for (row, sample) in got.rows.iter().zip(&samples) {
        let prompt = renderer.prompt(sample).unwrap();
        assert_eq!(row.prompt, prompt.text);
        let alone = scorer.score(&decoder, &ParamStore::new(), &Arena::new(), &[&prompt.ids]).unwrap().remove(0);
        for (a, b) in row.scored.scores.iter().zip(&alone.scores) {
            assert!((a - b).abs() < 1e-5);
        }
        // The prompt's ids and the label's are the row that training sees.
        if let Some(label) = sample.label() {
            let trained = renderer.render(sample).unwrap().remove(0).input_ids;
            let ids = &renderer.label_ids().iter().find(|l| l.name == label).unwrap().ids;
            assert_eq!(trained, [&prompt.ids[..], ids, &[2]].concat());
        }
    }

    let plain: Vec<_> = got.predictions(&samples, false).map(|p| serde_json::to_value(p).unwrap()).collect();
    assert_eq!(plain[1].as_object().unwrap().keys().collect::<Vec<_>>(), ["text", "label", "scores", "normalized"]);
    assert_eq!(plain[1]["text"], "dull");
    let shown = serde_json::to_value(got.predictions(&samples, true).next().unwrap()).unwrap();
    assert_eq!(shown["prompt"], "film. a fine thing is it good");
    assert_eq!(shown["label_text"], if shown["label"] == "good" { " yes" } else { " no" });
}

#[test]
fn evaluation_needs_the_truth_and_says_where_it_is_missing() {
    let labelled = [sample(2, "a fine thing", Some("good")), sample(3, "dull", Some("bad"))];
    let got = run(&labelled).unwrap();
    let report = got.evaluate(&labelled, Bootstrap { resamples: 50, ..Default::default() }).unwrap();
    let right = hits(&got.decisions(&labelled).unwrap());
    assert_eq!((report.n, report.accuracy), (2, Some(right.iter().sum::<f64>() / 2.0)));

    let unlabelled = [sample(2, "a fine thing", Some("good")), sample(7, "dull", None)];
    let e = run(&unlabelled).unwrap().evaluate(&unlabelled, Bootstrap::default()).unwrap_err();
    assert!(matches!(e, EvaluateError::NoGold { .. }) && e.to_string().contains("rows.csv:7: label"), "{e}");
    let foreign = [sample(9, "dull", Some("neg"))];
    let e = run(&foreign).unwrap().evaluate(&foreign, Bootstrap::default()).unwrap_err().to_string();
    assert!(e.contains("rows.csv:9") && e.contains("`neg`") && e.contains("--label-map neg="), "{e}");
}

#[test]
fn rows_that_give_no_prompt_are_listed_not_lost() {
    let wrong = Sample::new("x".into(), Origin { file: "rows.csv".into(), line: 5 }, SampleKind::Text { text: "abc".into() });
    let samples = [sample(2, "fine", Some("good")), wrong, sample(3, "dull", Some("bad"))];
    let got = run(&samples).unwrap();
    assert_eq!(got.rows.iter().map(|r| r.sample).collect::<Vec<_>>(), [0, 2]);
    assert_eq!((got.dropped[0].sample, got.dropped[0].origin.as_str()), (1, "rows.csv:5"));
    assert!(!got.dropped[0].reason.is_empty());
    assert!(run(&[]).unwrap().rows.is_empty());
}
