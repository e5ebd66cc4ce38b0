//! Decoding tiny random models: against transformers (`oracles/generate.py`) and against its own laws.

mod common;

use common::{load, tokenizer};
use engine::{Arena, ParamStore, Segments, Tape};
use generate::decode::MOST_TOGETHER;
use generate::{Event, FinishReason, GenerateError, Generation, Prompt, SamplingParams, Session, generate, sample};
use model::Decoder;
use serde_json::Value;
use std::ops::ControlFlow;
use text::Tokenizer;

const MODELS: [&str; 2] = ["llama_gqa", "gpt2"];

fn prompt(ids: &[u32], stream: u64) -> Prompt {
    Prompt { text: format!("prompt {stream}"), ids: ids.into(), stream }
}

fn run(decoder: &Decoder, tokenizer: &Tokenizer, prompts: &[Prompt], sampling: &SamplingParams) -> Vec<Generation> {
    generate(decoder, &ParamStore::new(), &Arena::new(), tokenizer, prompts, sampling, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn limit(n: usize) -> SamplingParams {
    SamplingParams { max_new_tokens: n, ..Default::default() }
}

/// Equal texts; log-probabilities up to the rounding of matrix products, which add in another order for another
/// number of rows.
#[track_caller]
fn assert_same(a: &Generation, b: &Generation) {
    assert!((a.logprob - b.logprob).abs() < 1e-4, "{a:?} {b:?}");
    assert_eq!(a, &Generation { logprob: a.logprob, ..b.clone() });
}

fn golden() -> Value {
    serde_json::from_str(include_str!("data/generate.json")).unwrap()
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

#[test]
fn greedy_tokens_and_log_probabilities_equal_transformers() {
    let golden = golden();
    for name in MODELS {
        let decoder = load(name);
        // An end-of-sequence id outside what these runs produce, because the oracle has none.
        for case in golden["greedy"][name].as_array().unwrap() {
            let want = ids(&case["tokens"]);
            let eos = (0..3).find(|t| !want.contains(t)).expect("one of three is not generated");
            let sampling = SamplingParams { repetition_penalty: case["repetition_penalty"].as_f64().unwrap() as f32, ..limit(want.len()) };
            let got = run(&decoder, &tokenizer(eos), &[prompt(&ids(&case["prompt"]), 0)], &sampling);
            assert_eq!(got[0].tokens, want, "{name} {}", case["prompt"]);
            assert!((got[0].logprob - case["logprob"].as_f64().unwrap()).abs() < 1e-4, "{name}: {} {}", got[0].logprob, case["logprob"]);
            assert_eq!(got[0].finish_reason, FinishReason::Length);
        }
    }
}

#[test]
fn filters_equal_transformers() {
    for case in golden()["filters"].as_array().unwrap() {
        let f = |k: &str| case[k].as_f64().unwrap() as f32;
        let params = SamplingParams {
            temperature: f("temperature"),
            top_k: case["top_k"].as_u64().unwrap() as usize,
            top_p: f("top_p"),
            min_p: f("min_p"),
            repetition_penalty: f("repetition_penalty"),
            ..Default::default()
        };
        let mut logits: Vec<f32> = case["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        sample::penalise_repetition(&mut logits, &ids(&case["seen"]), params.repetition_penalty);
        let got = sample::distribution(&logits, &params);
        let want = case["probabilities"].as_object().unwrap();
        assert_eq!(got.len(), want.len(), "{params:?}");
        for (id, p) in got {
            let want = want[&id.to_string()].as_f64().unwrap();
            assert!((p - want).abs() < 1e-6, "{params:?}: token {id} has {p} instead of {want}");
        }
    }
}

#[test]
fn cached_decoding_is_reading_everything_again() {
    for name in MODELS {
        let (decoder, tokenizer, store, arena) = (load(name), tokenizer(2), ParamStore::new(), Arena::new());
        let start = vec![5, 10, 26, 16, 3];
        let got = run(&decoder, &tokenizer, &[prompt(&start, 0)], &limit(12));
        let mut all = start;
        for &token in &got[0].tokens {
            let mut tape = Tape::inference(&store, &arena);
            let hidden = decoder.forward(&mut tape, &all, &Segments::from_lengths(&[all.len()]), None).unwrap();
            let last = tape.select_rows(&hidden, &[all.len() as u32 - 1]).unwrap();
            let logits = tape.linear(&last, decoder.head()).unwrap();
            let best = sample::choose(&tape.read(&logits), &all, &limit(1), 0.0).unwrap();
            assert_eq!(best.token, token, "{name} after {}", all.len());
            all.push(token);
        }
    }
}

#[test]
fn a_prompt_alone_is_a_prompt_in_a_batch() {
    let prompts: Vec<Prompt> = [&[5u32, 10, 26, 16][..], &[41], &[7, 7, 9, 30, 31, 32, 33], &[41]]
        .iter()
        .enumerate()
        .map(|(i, ids)| prompt(ids, i as u64))
        .collect();
    for name in MODELS {
        let (decoder, tokenizer) = (load(name), tokenizer(2));
        for sampling in [limit(10), SamplingParams { temperature: 1.0, top_p: 0.95, ..limit(10) }] {
            let together = run(&decoder, &tokenizer, &prompts, &sampling);
            for (p, want) in prompts.iter().zip(&together) {
                let alone = run(&decoder, &tokenizer, std::slice::from_ref(p), &sampling);
                assert_same(&alone[0], want);
            }
        }
    }
}

#[test]
fn the_seed_and_the_stream_decide() {
    let (decoder, tokenizer) = (load("llama_gqa"), tokenizer(2));
    let hot = |seed, stream| {
        let sampling = SamplingParams { temperature: 1.5, seed, ..limit(16) };
        run(&decoder, &tokenizer, &[prompt(&[5, 10], stream)], &sampling).remove(0).tokens
    };
    assert_eq!(hot(1, 0), hot(1, 0));
    assert_ne!(hot(1, 0), hot(2, 0));
    assert_ne!(hot(1, 0), hot(1, 1));
}

#[test]
fn the_stream_is_the_text() {
    let (decoder, tokenizer) = (load("llama_gqa"), tokenizer(2));
    let prompts = [prompt(&[5, 10, 26], 0), prompt(&[33, 34], 1), prompt(&[9], 2)];
    // Random enough to meet half characters.
    let sampling = SamplingParams { temperature: 2.0, stop: vec!["e".into(), "中".into()], ..limit(40) };
    let mut streamed = vec![String::new(); 3];
    let mut done = vec![0; 3];
    let got = generate(&decoder, &ParamStore::new(), &Arena::new(), &tokenizer, &prompts, &sampling, &mut |event| {
        match event {
            Event::Text { index, piece } => {
                assert!(!piece.is_empty() && done[index] == 0);
                streamed[index] += piece;
            }
            Event::Done { index, generation } => {
                done[index] += 1;
                assert_eq!(generation.text, streamed[index]);
            }
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(done, [1, 1, 1]);
    for (g, s) in got.iter().zip(&streamed) {
        assert_eq!(&g.text, s);
        assert!(!g.text.contains('e') && !g.text.contains('中'), "{}", g.text);
    }
}

#[test]
fn stop_strings_and_the_end_token_end_the_text() {
    let decoder = load("llama_gqa");
    let plain = run(&decoder, &tokenizer(2), &[prompt(&[5, 10, 26], 0)], &limit(14)).remove(0);
    assert!(plain.text.chars().count() > 6, "{}", plain.text);
    // A stop string that crosses token borders somewhere in the middle.
    let middle: String = plain.text.chars().skip(3).take(3).collect();
    let at = plain.text.find(&middle).unwrap();
    let stopped = run(&decoder, &tokenizer(2), &[prompt(&[5, 10, 26], 0)], &SamplingParams { stop: vec![middle], ..limit(14) }).remove(0);
    assert_eq!((stopped.text.as_str(), stopped.finish_reason), (&plain.text[..at], FinishReason::Stop));
    assert!(stopped.tokens.len() < plain.tokens.len());
    // The end token: what the model writes third, declared to be the end.
    let eos = plain.tokens[2];
    let first = plain.tokens.iter().position(|&t| t == eos).unwrap();
    let ended = run(&decoder, &tokenizer(eos), &[prompt(&[5, 10, 26], 0)], &limit(14)).remove(0);
    assert_eq!((ended.tokens.as_slice(), ended.finish_reason), (&plain.tokens[..=first], FinishReason::Stop));
    let json = serde_json::to_value(&ended).unwrap();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["prompt", "text", "finish_reason", "logprob"]);
    assert_eq!(json["finish_reason"], "stop");
}

#[test]
fn the_context_window_ends_the_text() {
    // GPT-2's tiny model has 32 learned positions: one more would be an error of the model.
    let (decoder, tokenizer) = (load("gpt2"), tokenizer(2));
    let window = decoder.config.max_positions;
    let got = run(&decoder, &tokenizer, &[prompt(&vec![5; window - 2], 0), prompt(&[6], 1)], &limit(1000));
    let tokens = |g: &Generation| g.tokens.len();
    // Room for two more to be read, and what follows the last need not be.
    assert_eq!((got[0].finish_reason, tokens(&got[0])), (FinishReason::Length, 3));
    assert_eq!((got[1].finish_reason, tokens(&got[1])), (FinishReason::Length, window));
}

#[test]
fn cancelling_ends_everything_at_once() {
    let (decoder, tokenizer) = (load("llama_gqa"), tokenizer(2));
    let prompts = [prompt(&[5, 10, 26], 0), prompt(&[33, 34], 1)];
    let mut pieces = 0;
    let got = generate(&decoder, &ParamStore::new(), &Arena::new(), &tokenizer, &prompts, &limit(30), &mut |event| match event {
        Event::Text { .. } => {
            pieces += 1;
            if pieces == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        Event::Done { .. } => ControlFlow::Continue(()),
    })
    .unwrap();
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|g| g.finish_reason == FinishReason::Cancelled && g.tokens.len() < 30));
}

#[test]
fn more_prompts_than_fit_together_follow_in_batches() {
    let (decoder, tokenizer) = (load("llama_gqa"), tokenizer(2));
    let prompts: Vec<Prompt> = (0..MOST_TOGETHER * 2 + 3).map(|i| prompt(&[5 + i as u32 % 30, 10], i as u64)).collect();
    let mut done = Vec::new();
    let mut on_event = |event: Event<'_>| {
        if let Event::Done { index, .. } = event {
            done.push(index);
        }
        if done.len() == MOST_TOGETHER + 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let got = generate(&decoder, &ParamStore::new(), &Arena::new(), &tokenizer, &prompts, &limit(4), &mut on_event).unwrap();
    assert_eq!(got.len(), prompts.len());
    done.sort_unstable();
    // The first batch and, cancelled, the second; of the third nothing was begun.
    assert_eq!(done, (0..2 * MOST_TOGETHER).collect::<Vec<_>>());
    assert!(got[2 * MOST_TOGETHER..].iter().all(|g| g.finish_reason == FinishReason::Cancelled && g.tokens.is_empty()));
    for i in [0, MOST_TOGETHER - 1] {
        assert_same(&got[i], &run(&decoder, &tokenizer, &prompts[i..=i], &limit(4))[0]);
    }
    let all = run(&decoder, &tokenizer, &prompts, &limit(4));
    assert!(all.iter().zip(&prompts).all(|(g, p)| g.prompt == p.text && g.finish_reason != FinishReason::Cancelled));
}

#[test]
fn a_conversation_reads_only_what_is_new_and_says_the_same() {
    for name in MODELS {
        let (decoder, tokenizer, store, arena) = (load(name), tokenizer(2), ParamStore::new(), Arena::new());
        let mut session = Session::new(&decoder, 0);
        let mut turns = vec![5, 10, 26];
        for addition in [&[3u32, 4][..], &[20], &[9, 8]] {
            let p = prompt(&turns, 0);
            let mut streamed = String::new();
            let reply = session
                .reply(&decoder, &store, &arena, &tokenizer, &p, &limit(3), &mut |piece| {
                    streamed += piece;
                    ControlFlow::Continue(())
                })
                .unwrap();
            let fresh = run(&decoder, &tokenizer, std::slice::from_ref(&p), &limit(3)).remove(0);
            assert_same(&reply, &fresh);
            assert_eq!(streamed, reply.text);
            // Everything read so far stays: the prompt and all but the last token.
            assert_eq!(session.held(), turns.len() + reply.tokens.len() - 1);
            turns.extend(&reply.tokens);
            turns.extend(addition);
        }
        // Rewritten history, and the very same prompt again.
        let p = prompt(&[5, 10, 7, 7], 0);
        for _ in 0..2 {
            let reply = session.reply(&decoder, &store, &arena, &tokenizer, &p, &limit(3), &mut |_| ControlFlow::Continue(())).unwrap();
            assert_same(&reply, &run(&decoder, &tokenizer, std::slice::from_ref(&p), &limit(3))[0]);
        }
    }
}

#[test]
fn impossible_requests_are_named() {
    let (decoder, tokenizer) = (load("gpt2"), tokenizer(2));
    let run = |ids: &[u32], sampling: &SamplingParams| {
        generate(&decoder, &ParamStore::new(), &Arena::new(), &tokenizer, &[prompt(&[5], 0), prompt(ids, 1)], sampling, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap_err()
    };
    assert!(matches!(run(&[], &limit(3)), GenerateError::EmptyPrompt { index: 1 }));
    assert!(matches!(run(&[99], &limit(3)), GenerateError::UnknownToken { id: 99, .. }));
    let long = run(&vec![5; decoder.config.max_positions], &limit(3)).to_string();
    assert!(long.contains("shorten it by at least 1 tokens"), "{long}");
    assert!(matches!(run(&[5], &limit(0)), GenerateError::Setting { name: "max_new_tokens", .. }));
    let none =
        generate(&decoder, &ParamStore::new(), &Arena::new(), &tokenizer, &[], &limit(3), &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(none.is_empty());
}
