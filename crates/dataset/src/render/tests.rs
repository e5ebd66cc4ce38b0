//! The renderer's laws, on a byte-level tokenizer (SmolLM, GPT-2, Qwen) and a SentencePiece one (Llama 2).

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use text::{ChatTemplate, Message, Tokenizer};

use super::*;
use crate::testing::{byte_level, chat, review, sample, sentence_piece};

/// SmolLM2's own template (no `{% generation %}`).
const SMOLLM: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe good.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// The same with marks that leave the end of the turn outside.
const MARKED: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}{% endgeneration %}{% else %}{{ message['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// Llama 2's: it writes BOS and EOS itself.
const LLAMA2: &str = "{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}";

fn renderer_with(tokenizer: &Arc<Tokenizer>, template: Option<&str>, task: Value, cutoff: usize, truncation: Truncation) -> Renderer {
    let template = template.map(|source| ChatTemplate::new(source, tokenizer.special_tokens().clone()).unwrap());
    Renderer::new(Arc::clone(tokenizer), template, serde_json::from_value(task).unwrap(), cutoff, truncation).unwrap()
}

fn renderer(tokenizer: &Arc<Tokenizer>, template: Option<&str>, task: Value) -> Renderer {
    renderer_with(tokenizer, template, task, 1000, Truncation::Right)
}

fn sentiment() -> Value {
    json!({"type": "classify", "prompt": "Review: {text}\nSentiment:", "labels": {"neg": " negative", "好": " positive"}})
}

fn one(renderer: &Renderer, sample: &Sample) -> Rendered {
    let mut rows = renderer.render(sample).unwrap();
    assert_eq!(rows.len(), 1);
    let row = rows.remove(0);
    assert_eq!(row.labels.len(), row.input_ids.len());
    for (label, id) in row.labels.iter().zip(&row.input_ids) {
        assert!(*label == IGNORED || *label == *id as i32);
    }
    row
}

/// The text of a row with what is trained in `«»`; every token of the row is shown.
fn shown(renderer: &Renderer, row: &Rendered) -> String {
    let mut bytes = Vec::new();
    let mut inside = false;
    for (&id, &label) in row.input_ids.iter().zip(&row.labels) {
        let trained = label != IGNORED;
        if trained != inside {
            bytes.extend(if trained { "«" } else { "»" }.bytes());
        }
        inside = trained;
        bytes.extend(renderer.tokenizer().byte_surface(id).unwrap());
    }
    bytes.extend(if inside { "»" } else { "" }.bytes());
    String::from_utf8(bytes).unwrap()
}

fn show(renderer: &Renderer, sample: &Sample) -> String {
    shown(renderer, &one(renderer, sample))
}

#[test]
fn a_classification_row_is_prompt_then_label_then_eos() {
    let tokenizer = byte_level(false);
    let r = renderer(&tokenizer, None, sentiment());
    let row = one(&r, &review("很 good", "好"));
    assert_eq!(shown(&r, &row), "Review: 很 good\nSentiment:« positive<|im_end|>»");
    let expected = [
        tokenizer.encode("Review: 很 good\nSentiment:", false).unwrap(),
        tokenizer.encode(" positive", false).unwrap(),
        vec![tokenizer.eos().unwrap()],
    ];
    assert_eq!(row.input_ids, expected.concat());
    assert_eq!(row.trained_tokens(), expected[1].len() + 1);
    assert_eq!(row.attention_mask(), vec![1; row.input_ids.len()]);
    let r = renderer(&byte_level(true), None, sentiment());
    assert_eq!(show(&r, &review("x", "neg")), "<|begin|>Review: x\nSentiment:« negative<|im_end|>»");
    assert_eq!(r.label_ids().iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["neg", "好"]);
}

#[test]
fn what_is_scored_is_what_was_trained() {
    for truncation in [Truncation::Right, Truncation::Left] {
        for tokenizer in [byte_level(true), sentence_piece()] {
            let r = renderer_with(&tokenizer, None, sentiment(), 60, truncation);
            for text in
                ["short", "a long review that goes on and on until nothing is left to say, 真的", "很长很长很长很长很长很长很长很长很长"]
            {
                let (row, prompt) = (one(&r, &review(text, "好")), r.prompt(&review(text, "neg")).unwrap());
                let label = &r.label_ids()[1].ids;
                assert_eq!(row.input_ids, [&prompt.ids[..], label, &[tokenizer.eos().unwrap()]].concat());
                assert_eq!(row.cut, prompt.cut);
                assert!(row.input_ids.len() <= 60);
                assert!(prompt.text.starts_with("Review: ") && prompt.text.ends_with("\nSentiment:"), "{}", prompt.text);
            }
        }
    }
}

#[test]
fn a_long_review_loses_its_own_end_or_start_alone() {
    let tokenizer = byte_level(false);
    // "Review: " 8 bytes, "\nSentiment:" 11, " positive" 7 tokens ("Ġpo" merges), " negative" 8, EOS 1.
    let cut = |text, truncation| {
        let r = renderer_with(&tokenizer, None, sentiment(), 34, truncation);
        let row = one(&r, &review(text, "好"));
        (shown(&r, &row), row.cut)
    };
    assert_eq!(cut("abcdefghij", Truncation::Right), ("Review: abcdef\nSentiment:« positive<|im_end|>»".into(), 4));
    assert_eq!(cut("abcdefghij", Truncation::Left), ("Review: efghij\nSentiment:« positive<|im_end|>»".into(), 4));
    // No half characters, and no white space left over at the cut.
    assert_eq!(cut("好好好好", Truncation::Right), ("Review: 好好\nSentiment:« positive<|im_end|>»".into(), 6));
    assert_eq!(cut("abcde fghij", Truncation::Right).0, "Review: abcde\nSentiment:« positive<|im_end|>»");
    let r = renderer_with(&tokenizer, None, sentiment(), 34, Truncation::Drop);
    assert!(r.render(&review("abcdefghij", "好")).unwrap_err().reason.contains("too long: the prompt has 29 tokens, 25 fit"));
    let r = renderer_with(&tokenizer, None, sentiment(), 20, Truncation::Right);
    assert!(r.render(&review("abcdefghij", "好")).unwrap_err().reason.contains("too long even without text"));
}

#[test]
fn a_very_long_review_fills_its_row() {
    let text: String = (0..5000).map(|i| ["good ", "很 ", "ab", "\u{1F600}"][i % 4]).collect();
    for truncation in [Truncation::Right, Truncation::Left] {
        for tokenizer in [byte_level(false), sentence_piece()] {
            let r = renderer_with(&tokenizer, None, sentiment(), 200, truncation);
            // One character of four tokens may not fit any more.
            let row = one(&r, &review(text.trim(), "neg"));
            assert!((195..=200).contains(&row.input_ids.len()), "{}", row.input_ids.len());
            let whole = renderer_with(&tokenizer, None, sentiment(), 100_000, truncation);
            assert_eq!(row.cut + row.input_ids.len(), one(&whole, &review(text.trim(), "neg")).input_ids.len());
        }
    }
}

#[test]
fn tasks_that_cannot_work_are_refused() {
    let tokenizer = byte_level(false);
    let new =
        |task: Value, cutoff| Renderer::new(Arc::clone(&tokenizer), None, serde_json::from_value(task).unwrap(), cutoff, Truncation::Right);
    let message = |task, cutoff| new(task, cutoff).unwrap_err().to_string();
    assert!(message(sentiment(), 8).contains("leaves no room for a prompt"));
    assert!(message(json!({"type": "classify", "prompt": "x:", "labels": ["a", "b"]}), 99).contains("names no field"));
    let task = json!({"type": "classify", "prompt": "{a}:", "labels": ["a", "b"], "truncate_field": "text"});
    assert!(message(task, 99).contains("no field of the prompt; it has: a"));
    let r = renderer(&tokenizer, None, json!({"type": "sft"}));
    assert!(matches!(r.render_all(&[chat(&[("user", "a"), ("assistant", "b")])]), Err(Error::NoTemplate)));
    assert!(r.render(&review("a", "好")).unwrap_err().reason.contains("does not fit"));
}

#[test]
fn prompt_and_completion_follow_each_other() {
    let row = |prompt: &str, completion: &str| sample(SampleKind::Prompt { prompt: prompt.into(), completion: Some(completion.into()) });
    let r = renderer(&byte_level(true), None, json!({"type": "sft"}));
    assert_eq!(show(&r, &row("问:", "\n答")), "<|begin|>问:«\n答<|im_end|>»");
    // ":\n" is one token of this vocabulary: it must not be, across the border.
    assert_eq!(r.prompt(&row("问:", "x")).unwrap().ids, one(&r, &row("问:", "\n答")).input_ids[..5]);
    assert_eq!(show(&r, &row("<|begin|>a", "b<|im_end|>")), "<|begin|>a«b<|im_end|>»", "neither BOS nor EOS twice");
    let r = renderer(&byte_level(true), None, json!({"type": "sft", "train_on_prompt": true}));
    assert_eq!(show(&r, &row("a", "b")), "«<|begin|>ab<|im_end|>»");
    let r = renderer(&byte_level(false), None, json!({"type": "sft", "template": "chatml"}));
    assert_eq!(show(&r, &row("a", "b")), "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n«b<|im_end|>»\n");
}

#[test]
fn a_row_that_was_cut_has_no_eos() {
    let row = |prompt: &str, completion: &str| sample(SampleKind::Prompt { prompt: prompt.into(), completion: Some(completion.into()) });
    let with = |truncation| renderer_with(&byte_level(true), None, json!({"type": "sft"}), 7, truncation);
    assert_eq!(show(&with(Truncation::Right), &row("abc", "xyz")), "<|begin|>abc«xyz»");
    assert_eq!(one(&with(Truncation::Right), &row("abc", "xyz")).cut, 1);
    assert_eq!(show(&with(Truncation::Left), &row("abc", "xyz")), "<|begin|>bc«xyz<|im_end|>»");
    assert!(with(Truncation::Drop).render(&row("abc", "xyz")).unwrap_err().reason.contains("8 tokens, cutoff_len is 7"));
    assert!(with(Truncation::Right).render(&row("abcdefg", "xyz")).unwrap_err().reason.contains("the prompt alone has 8 tokens"));
    assert!(with(Truncation::Left).render(&row("abc", "stuvwxyz")).unwrap_err().reason.contains("the completion alone has 9 tokens"));
}

const TALK: [(&str, &str); 4] = [("user", "你好"), ("assistant", "hi"), ("user", "good?"), ("assistant", "\ngood")];

#[test]
fn answers_are_found_by_prefixes() {
    let r = renderer(&byte_level(false), Some(SMOLLM), json!({"type": "sft"}));
    assert_eq!(
        show(&r, &chat(&TALK)),
        "<|im_start|>system\nBe good.<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n«hi<|im_end|>»\n\
         <|im_start|>user\ngood?<|im_end|>\n<|im_start|>assistant\n«\ngood<|im_end|>»\n"
    );
    let r = renderer(&byte_level(false), Some(SMOLLM), json!({"type": "sft", "mask_history": true, "system": "短"}));
    assert_eq!(
        show(&r, &chat(&TALK)),
        "<|im_start|>system\n短<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\nhi<|im_end|>\n\
         <|im_start|>user\ngood?<|im_end|>\n<|im_start|>assistant\n«\ngood<|im_end|>»\n"
    );
}

#[test]
fn marks_and_prefixes_agree_and_eos_is_trained_once() {
    let with_system: Vec<_> = [("system", "s")].into_iter().chain(TALK).collect();
    let by = |template| {
        let r = renderer(&byte_level(false), Some(template), json!({"type": "sft"}));
        one(&r, &chat(&with_system))
    };
    // One template ends the marks before the end of the turn, the other has no marks.
    assert_eq!(by(MARKED), by(SMOLLM));
    let eos = byte_level(false).eos().unwrap() as i32;
    assert_eq!(by(MARKED).labels.iter().filter(|&&l| l == eos).count(), 2);
    let r = renderer(&byte_level(false), Some(SMOLLM), json!({"type": "sft"}));
    assert_eq!(one(&r, &chat(&[("user", "a"), ("assistant", "b<|im_end|>")])), one(&r, &chat(&[("user", "a"), ("assistant", "b")])));
}

#[test]
fn the_question_asked_is_the_start_of_the_row_trained() {
    for (tokenizer, template) in [(byte_level(false), SMOLLM), (byte_level(true), MARKED), (sentence_piece(), LLAMA2)] {
        let r = renderer(&tokenizer, Some(template), json!({"type": "sft"}));
        let row = one(&r, &chat(&TALK));
        let prompt = r.prompt(&chat(&TALK)).unwrap();
        assert_eq!(row.input_ids[..prompt.ids.len()], prompt.ids, "{template}");
        assert!(row.labels[prompt.ids.len()] != IGNORED && row.labels[prompt.ids.len() - 1] == IGNORED);
        let messages: Vec<Message> = TALK[..3].iter().map(|(role, text)| Message::new(*role, *text)).collect();
        assert_eq!(r.chat_prompt(&messages, None).unwrap(), prompt);
    }
}

#[test]
fn sentence_pieces_keep_the_model_s_own_bos_and_eos() {
    let r = renderer(&sentence_piece(), Some(LLAMA2), json!({"type": "sft"}));
    let talk = chat(&[("user", "a b"), ("assistant", "yes"), ("user", "c"), ("assistant", "a")]);
    let ids = sentence_piece().encode("<s>[INST] a b [/INST] yes </s><s>[INST] c [/INST] a </s>", false).unwrap();
    let row = one(&r, &talk);
    assert_eq!(row.input_ids, ids, "the whole is tokenised at once, BOS and EOS are the template's");
    assert_eq!(shown(&r, &row).replace("»<s>", "» <s>").matches("</s>»").count(), 2, "{}", shown(&r, &row));
    assert!(shown(&r, &row).contains("[/INST]« yes </s>»"), "{}", shown(&r, &row));
}

#[test]
fn declared_templates_end_every_answer_with_the_model_s_eos() {
    let show_with = |name: &str| show(&renderer(&byte_level(true), None, json!({"type": "sft", "template": name})), &chat(&TALK));
    assert_eq!(
        show_with("alpaca"),
        "<|begin|>Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n\
         ### Instruction:\n你好\n\n### Response:\n«hi<|im_end|>»\n\n### Instruction:\ngood?\n\n### Response:\n«\ngood<|im_end|>»"
    );
    assert_eq!(show_with("plain"), "<|begin|>你好«hi<|im_end|>»good?«\ngood<|im_end|>»");
    assert!(show_with("vicuna").ends_with("questions. USER: 你好 ASSISTANT:« hi<|im_end|>»USER: good? ASSISTANT:« \ngood<|im_end|>»"));
    assert!(show_with("chatml").ends_with("<|im_start|>assistant\n«\ngood<|im_end|>»\n"));
    let r = renderer(&byte_level(true), None, json!({"type": "sft", "template": "alpaca"}));
    assert!(r.template_source().unwrap().contains("### Response"));
    assert!(r.render(&chat(&[("user", "a"), ("tool", "b"), ("assistant", "c")])).unwrap_err().reason.contains("knows no tools"));
}

#[test]
fn turns_obey_what_the_data_says() {
    let r = renderer(&byte_level(false), Some(MARKED), json!({"type": "sft"}));
    let mut talk = chat(&TALK);
    let SampleKind::Messages { turns, .. } = &mut talk.kind else { unreachable!() };
    turns[1].train = Some(false);
    let text = show(&r, &talk);
    assert!(text.contains("assistant\nhi<|im_end|>\n") && text.ends_with("«\ngood<|im_end|>»\n"), "{text}");
    let SampleKind::Messages { turns, .. } = &mut talk.kind else { unreachable!() };
    turns[3].train = Some(false);
    assert_eq!(r.render(&talk).unwrap_err().reason, "nothing in it would be trained");
}

#[test]
fn a_template_that_rewrites_history_is_refused_or_asked_for_the_last_answer() {
    // Answers of earlier turns lose what they thought, as Qwen 3's and DeepSeek's templates do it.
    let rewriting = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' and not loop.last %}{{ m['content'].split('/')[-1] }}{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    let talk = chat(&[("user", "a"), ("assistant", "think/b"), ("user", "c"), ("assistant", "think/d")]);
    let r = renderer(&byte_level(false), Some(rewriting), json!({"type": "sft"}));
    assert!(r.render(&talk).unwrap_err().reason.contains("writes turn 2 otherwise when more follows"));
    let r = renderer(&byte_level(false), Some(rewriting), json!({"type": "sft", "mask_history": true}));
    assert!(
        show(&r, &talk).ends_with("assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n«think/d<|im_end|>»\n")
    );
}

#[test]
fn long_conversations_lose_their_end_or_their_oldest_turns() {
    let r = renderer_with(&byte_level(false), Some(MARKED), json!({"type": "sft"}), 42, Truncation::Right);
    let talk = chat(&[("system", "s"), ("user", "aaaaaaaaaa"), ("assistant", "bbbb"), ("user", "c"), ("assistant", "d")]);
    let row = one(&r, &talk);
    assert_eq!((row.input_ids.len(), row.labels[41] as u32), (42, tokenizer_id("b")));
    let r = renderer_with(&byte_level(false), Some(MARKED), json!({"type": "sft"}), 40, Truncation::Left);
    assert_eq!(show(&r, &talk), "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n«d<|im_end|>»\n");
    let r = renderer_with(&byte_level(false), Some(MARKED), json!({"type": "sft"}), 20, Truncation::Left);
    assert!(r.render(&talk).unwrap_err().reason.contains("cutoff_len is 20"));
}

fn tokenizer_id(text: &str) -> u32 {
    byte_level(false).encode(text, false).unwrap()[0]
}

#[test]
fn texts_are_trained_whole_and_split_without_scraps() {
    let text = |text: &str| sample(SampleKind::Text { text: text.into() });
    let with = |truncation| renderer_with(&byte_level(true), None, json!({"type": "text"}), 6, truncation);
    assert_eq!(show(&with(Truncation::Right), &text("abcd")), "«<|begin|>abcd<|im_end|>»");
    assert_eq!(show(&with(Truncation::Right), &text("abcdef")), "«<|begin|>abcde»");
    assert_eq!(show(&with(Truncation::Left), &text("abcdef")), "«<|begin|>cdef<|im_end|>»");
    let r = with(Truncation::Split);
    let rows = r.render(&text("abcdef")).unwrap();
    assert_eq!(rows.iter().map(|row| shown(&r, row)).collect::<Vec<_>>(), ["«<|begin|>abc»", "«<|begin|>def<|im_end|>»"]);
    assert_ne!(rows[0].key, rows[1].key);
    assert_eq!(r.render_all(&[text("abcdef"), text("x")]).unwrap().samples, [0, 0, 1]);
}

#[test]
fn a_run_in_which_nothing_is_trained_does_not_start() {
    let r = renderer_with(&byte_level(false), Some(MARKED), json!({"type": "sft"}), 5, Truncation::Drop);
    let error = r.render_all(&[chat(&TALK), chat(&TALK[..2])]).unwrap_err().to_string();
    assert!(error.contains("nothing would be trained") && error.contains("too long") && error.contains("f:1"), "{error}");
    assert!(r.render_all(&[]).unwrap_err().to_string().contains("there are no rows"));
}

#[test]
fn what_is_cut_and_dropped_is_counted_with_its_place() {
    let r = renderer_with(&byte_level(false), None, sentiment(), 34, Truncation::Right);
    let all = r.render_all(&[review("a", "好"), review("abcdefghij", "neg"), review("x", "other")]).unwrap();
    assert_eq!((all.rows.len(), all.samples.clone()), (2, vec![0, 1]));
    assert_eq!((all.truncated[0].sample, all.truncated[0].cut), (1, 4));
    assert_eq!((all.dropped[0].sample, all.dropped[0].reason.as_str()), (2, "\"other\" is no label of the task"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a review says, its row fits, keeps the prompt's tail and the label, and begins with what would be scored.
    #[test]
    fn rows_of_any_text_keep_the_laws(text in "[a-z 好\u{1F600}{}\n<|>]{1,60}", cutoff in 34usize..80, left: bool) {
        let truncation = if left { Truncation::Left } else { Truncation::Right };
        let tokenizer = byte_level(true);
        let r = renderer_with(&tokenizer, None, sentiment(), cutoff, truncation);
        let asked = review(text.trim(), "好");
        let Ok(rows) = r.render(&asked) else { return Ok(()); };
        let row = &rows[0];
        prop_assert!(row.input_ids.len() <= cutoff);
        let prompt = r.prompt(&asked).unwrap();
        prop_assert!(row.input_ids.starts_with(&prompt.ids));
        prop_assert!(prompt.text.ends_with("\nSentiment:"));
        prop_assert_eq!(row.trained_tokens(), r.label_ids()[1].ids.len() + 1);
        prop_assert_eq!(prompt.cut == 0, prompt.text.contains(text.trim()));
    }

    /// The trained stretches of a conversation are the answers and their EOS, in order, whatever the texts.
    #[test]
    fn trained_stretches_are_the_answers(answers in prop::collection::vec("[a-z:\n 好]{1,12}", 1..4), question in "[a-z:\n好]{1,12}") {
        let r = renderer(&byte_level(false), Some(SMOLLM), json!({"type": "sft"}));
        let turns: Vec<(&str, &str)> = answers.iter().flat_map(|a| [("user", question.as_str()), ("assistant", a.as_str())]).collect();
        let row = one(&r, &chat(&turns));
        let text = shown(&r, &row);
        let found: Vec<&str> = text.split('«').skip(1).filter_map(|part| part.split('»').next()).collect();
        let expected: Vec<String> = answers.iter().map(|a| format!("{a}<|im_end|>")).collect();
        prop_assert_eq!(found, expected);
    }
}
