//! Label scores and losses of tiny random models: against transformers (`oracles/label_scores.py`,
//! `oracles/tiny_models.py`) and against their own laws.

use dataset::{LabelIds, Rendered};
use engine::{Arena, ParamStore};
use evaluate::error::EvaluateError;
use evaluate::perplexity::row_losses;
use evaluate::results::{ScoredRow, text_report};
use evaluate::{Bootstrap, Scorer};
use model::Decoder;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::PathBuf;

const MODELS: [&str; 2] = ["llama_gqa", "gpt2"];

fn dir(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data").join(name)
}

fn load(name: &str) -> Decoder {
    model::load_model(dir(name)).unwrap()
}

fn golden() -> Value {
    serde_json::from_str(include_str!("data/label_scores.json")).unwrap()
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

fn lists(v: &Value) -> Vec<Vec<u32>> {
    v.as_array().unwrap().iter().map(ids).collect()
}

/// Labels whose texts spell their tokens, so that a prefix of tokens is a prefix of text and only then.
fn labels(tokens: &[Vec<u32>]) -> Vec<LabelIds> {
    tokens
        .iter()
        .enumerate()
        .map(|(i, ids)| LabelIds { name: format!("label {i}"), text: ids.iter().map(|t| format!("<{t}>")).collect(), ids: ids.clone() })
        .collect()
}

fn score(decoder: &Decoder, scorer: &Scorer, prompts: &[Vec<u32>]) -> Vec<ScoredRow> {
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    scorer.score(decoder, &ParamStore::new(), &Arena::new(), &prompts).unwrap()
}

#[test]
fn scores_equal_the_plain_computation_of_transformers() {
    let golden = golden();
    let prompts = lists(&golden["prompts"]);
    let mut compared = 0;
    for name in MODELS {
        let decoder = load(name);
        for (case, tokens) in golden["labels"].as_object().unwrap() {
            let scorer = Scorer::new(&labels(&lists(tokens)), Some(2)).unwrap();
            assert_eq!(scorer.adds_eos(), case == "one begins another" || case == "shared beginnings" && has_prefix(&lists(tokens)));
            for (row, want) in score(&decoder, &scorer, &prompts).iter().zip(golden["models"][name][case].as_array().unwrap()) {
                let mut decide = Vec::new();
                for (got, want) in row.scores.iter().zip(want.as_array().unwrap()) {
                    let (score, eos) = (want["score"].as_f64().unwrap(), want["eos"].as_f64().unwrap());
                    assert!((got - score).abs() < 2e-5, "{name}, {case}: {got} instead of {score}");
                    decide.push(if scorer.adds_eos() { score + eos } else { score });
                    compared += 1;
                }
                let sum: f64 = decide.iter().map(|d| d.exp()).sum();
                for (got, want) in row.normalized.iter().zip(&decide) {
                    assert!((got - want.exp() / sum).abs() < 2e-5, "{name}, {case}");
                }
            }
        }
    }
    assert_eq!(compared, 2 * 4 * (2 + 2 + 5 + 3));
}

fn has_prefix(labels: &[Vec<u32>]) -> bool {
    labels.iter().enumerate().any(|(i, a)| labels.iter().enumerate().any(|(j, b)| i != j && b.starts_with(a)))
}

/// Equal up to the rounding of matrix products, which add in another order for another number of rows.
#[track_caller]
fn assert_close(a: &ScoredRow, b: &ScoredRow, what: &str) {
    assert_eq!(a.predicted, b.predicted, "{what}");
    for (x, y) in a.scores.iter().zip(&b.scores).chain(a.normalized.iter().zip(&b.normalized)) {
        assert!((x - y).abs() < 1e-5, "{what}: {a:?} {b:?}");
    }
}

#[test]
fn a_row_scores_the_same_alone_packed_and_in_any_batch() {
    let golden = golden();
    let prompts = lists(&golden["prompts"]);
    for name in MODELS {
        let decoder = load(name);
        for tokens in golden["labels"].as_object().unwrap().values() {
            let scorer = Scorer::new(&labels(&lists(tokens)), Some(2)).unwrap();
            let together = score(&decoder, &scorer, &prompts);
            for (p, want) in prompts.iter().zip(&together) {
                let alone = score(&decoder, &scorer, std::slice::from_ref(p)).remove(0);
                assert_close(&alone, want, name);
            }
        }
    }
}

#[test]
fn prompts_that_begin_alike_score_as_each_alone() {
    let golden = golden();
    let id = |i: usize| 3 + (i * i % 40) as u32;
    let beginning: Vec<u32> = (0..12).map(id).collect();
    let with = |rest: &[usize]| beginning.iter().copied().chain(rest.iter().map(|&i| id(i))).collect::<Vec<u32>>();
    // One prompt is the beginning of all others, two are the same, two share more.
    let alike = [with(&[5, 6]), with(&[]), with(&[9]), with(&[5, 6]), with(&[5, 7, 1])];
    let mut mixed = alike.to_vec();
    mixed.insert(2, vec![id(7), id(3)]);
    for name in MODELS {
        let decoder = load(name);
        for tokens in golden["labels"].as_object().unwrap().values() {
            let scorer = Scorer::new(&labels(&lists(tokens)), Some(2)).unwrap();
            for prompts in [&alike[..], &mixed] {
                let together = score(&decoder, &scorer, prompts);
                for (p, want) in prompts.iter().zip(&together) {
                    assert_close(&score(&decoder, &scorer, std::slice::from_ref(p)).remove(0), want, name);
                }
            }
        }
    }
}

#[test]
fn many_rows_come_back_in_their_order_with_progress() {
    let decoder = load("llama_gqa");
    let scorer = Scorer::new(&labels(&[vec![8, 9], vec![19]]), None).unwrap();
    // Lengths from 1 to 40: several batches, sorted inside.
    let prompts: Vec<Vec<u32>> = (0..120usize).map(|i| (0..1 + i * 7 % 40).map(|j| ((i + j) % 45 + 3) as u32).collect()).collect();
    let refs: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let mut seen = Vec::new();
    let all = scorer
        .score_all(&decoder, &ParamStore::new(), &Arena::new(), &refs, &mut |done, total| {
            assert_eq!(total, 120);
            seen.push(done);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(seen.len() > 1 && seen.is_sorted() && seen.last() == Some(&120), "{seen:?}");
    for i in [0, 1, 39, 77, 119] {
        assert_close(&all[i], &score(&decoder, &scorer, &prompts[i..=i])[0], &format!("row {i}"));
    }
    let stopped = scorer.score_all(&decoder, &ParamStore::new(), &Arena::new(), &refs, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(EvaluateError::Stopped { total: 120, done }) if done < 120));
    let mut with_empty = refs.clone();
    with_empty[77] = &[];
    let e = scorer.score_all(&decoder, &ParamStore::new(), &Arena::new(), &with_empty, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(e.to_string().contains("row 78"), "{e}");
}

#[test]
fn a_damaged_model_is_an_error_not_a_class() {
    let mut decoder = load("llama_gqa");
    decoder.final_norm.weight = engine::Vector::Frozen(std::sync::Arc::new(vec![f32::NAN; decoder.config.hidden_size]));
    let scorer = Scorer::new(&labels(&[vec![8], vec![19]]), None).unwrap();
    let e = scorer.score(&decoder, &ParamStore::new(), &Arena::new(), &[&[5, 6]]).unwrap_err();
    assert!(matches!(e, EvaluateError::NonFinite { .. }), "{e}");
}

#[test]
fn losses_equal_transformers() {
    for name in MODELS {
        let expected: Value = serde_json::from_str(&std::fs::read_to_string(dir(name).join("expected.json")).unwrap()).unwrap();
        let rows: Vec<Rendered> = expected["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| Rendered {
                input_ids: ids(&r["input_ids"]),
                labels: r["labels"].as_array().unwrap().iter().map(|l| l.as_i64().unwrap() as i32).collect(),
                cut: 0,
                key: 0,
            })
            .collect();
        let decoder = load(name);
        let run = |rows: &[Rendered]| {
            row_losses(&decoder, &ParamStore::new(), &Arena::new(), rows, &mut |_, _| ControlFlow::Continue(())).unwrap()
        };
        let losses = run(&rows);
        let report = text_report(&losses, Bootstrap { resamples: 50, ..Default::default() });
        let want = expected["loss"].as_f64().unwrap();
        assert!((report.loss.unwrap() - want).abs() < 1e-5, "{name}: {:?} instead of {want}", report.loss);
        assert!((report.perplexity.unwrap() - want.exp()).abs() < 1e-2);
        assert_eq!(report.tokens.unwrap() as usize, rows.iter().map(Rendered::trained_tokens).sum::<usize>());
        // Packed = alone, and a row without trained tokens counts nothing.
        let untrained = Rendered { labels: vec![-100; rows[0].input_ids.len()], ..rows[0].clone() };
        let mixed = run(&[rows[1].clone(), untrained, rows[0].clone()]);
        assert_eq!((mixed[1].tokens, mixed[1].nll), (0, 0.0));
        for (a, b) in [(mixed[0], losses[1]), (mixed[2], losses[0])] {
            assert!(a.tokens == b.tokens && (a.nll - b.nll).abs() < 1e-4, "{a:?} {b:?}");
        }
    }
}
