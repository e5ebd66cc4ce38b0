//! `bench`: what it prints, what it refuses. No expectation of speed: only that the numbers belong together.

mod common;

use common::{Bench, keys, number, tiny};

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

#[test]
fn a_step_is_timed_in_every_way_to_train() {
    let bench = Bench::new();
    let step = |more: &[&str]| {
        let mut args = vec!["bench", "train-step", "--arch", "tiny", "--batch", "2", "--seq", "16", "--steps", "2", "--json", "--quiet"];
        args.extend(more);
        bench.json(&args)
    };
    let lora = step(&["--threads", "2"]);
    let expected = [
        "model",
        "parameters",
        "trainable",
        "method",
        "batch",
        "seq",
        "trained_tokens_per_row",
        "dtype",
        "threads",
        "cached",
        "gradient_checkpointing",
        "steps",
        "ms_per_step",
        "ms_min",
        "ms_max",
        "tokens_per_s",
        "peak_rss_mb",
        "activations_mb",
        "gflop",
        "gflops",
        "peak",
        "fraction_of_peak",
        "loss",
    ];
    assert_eq!(keys(&lora), expected);
    assert_eq!((&lora["method"], &lora["threads"]), (&"lora".into(), &2.into()));
    let ms = number(&lora, "/ms_per_step");
    assert!(number(&lora, "/ms_min") <= ms && ms <= number(&lora, "/ms_max") && ms > 0.0, "{lora}");
    assert!(close(number(&lora, "/tokens_per_s"), 32.0 / ms * 1e3), "{lora}");
    assert!(close(number(&lora, "/fraction_of_peak"), number(&lora, "/gflop") / ms * 1e3 / number(&lora, "/peak/gflops")), "{lora}");
    // Nothing is learnt from two steps on random tokens: the loss is that of guessing.
    assert!((number(&lora, "/loss") - 512f64.ln()).abs() < 0.5, "{lora}");

    let full = step(&["--method", "full"]);
    assert_eq!(full["trainable"], full["parameters"]);
    let freeze = step(&["--method", "freeze"]);
    assert_eq!(freeze["method"], "last2");
    assert!(number(&lora, "/gflop") < number(&full, "/gflop") && number(&freeze, "/gflop") < number(&lora, "/gflop"));
    let cached = step(&["--method", "last2", "--cached"]);
    assert!(number(&cached, "/gflop") < number(&freeze, "/gflop"));
    // Where the frozen layers' outputs came from is a matter of rounding.
    assert!((number(&cached, "/loss") - number(&freeze, "/loss")).abs() < 0.02, "{cached}");
    let completion = step(&["--completion-only"]);
    assert_eq!((&completion["trained_tokens_per_row"], &lora["trained_tokens_per_row"]), (&2.into(), &15.into()));
    assert!(number(&completion, "/gflop") < number(&lora, "/gflop"));
    assert_eq!(step(&["--completion-only", "3"])["trained_tokens_per_row"], 3);

    let unlimited = step(&["--no-peak"]);
    assert!(unlimited["peak"].is_null() && unlimited["fraction_of_peak"].is_null(), "{unlimited}");
    for dtype in ["f32", "bf16", "int8"] {
        let report = step(&["--dtype", dtype]);
        assert_eq!(report["dtype"], dtype);
        assert!((number(&report, "/loss") - number(&lora, "/loss")).abs() < 0.02, "{report}");
    }

    let twice = step(&["--gradient-checkpointing"]);
    assert_eq!((&twice["gradient_checkpointing"], &twice["loss"]), (&true.into(), &lora["loss"]));
    assert_eq!((&lora["gradient_checkpointing"], &twice["gflop"]), (&false.into(), &lora["gflop"]));

    let real = tiny().display().to_string();
    let text = bench.ok(&["bench", "train-step", "--model", &real, "--seq", "8", "--steps", "1"]).out;
    for word in [&real, "[4 x 8]", "tokens/s", "GFLOP", "loss on every position"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn reading_and_writing_are_timed() {
    let bench = Bench::new();
    let read = bench.json(&["bench", "prefill", "--arch", "tiny", "--tokens", "20", "--repeats", "1", "--json", "--quiet"]);
    let expected = [
        "model",
        "parameters",
        "tokens",
        "batch",
        "dtype",
        "threads",
        "repeats",
        "ms",
        "tokens_per_s",
        "peak_rss_mb",
        "gflop",
        "gflops",
        "peak",
        "fraction_of_peak",
    ];
    assert_eq!(keys(&read), expected);
    assert!(close(number(&read, "/tokens_per_s"), 20.0 / number(&read, "/ms") * 1e3), "{read}");
    let write = |more: &[&str]| {
        let mut args = vec!["bench", "decode", "--arch", "tiny", "--tokens", "5", "--repeats", "2", "--json", "--quiet"];
        args.extend(more);
        bench.json(&args)
    };
    let one = write(&[]);
    let expected = [
        "model",
        "parameters",
        "tokens",
        "context",
        "batch",
        "dtype",
        "threads",
        "repeats",
        "ms_per_token",
        "tokens_per_s",
        "peak_rss_mb",
        "weights_gb",
        "read_gb_per_second",
        "peak",
        "fraction_of_read",
        "weights_read_gb_per_second",
    ];
    assert_eq!(keys(&one), expected);
    let several = write(&["--batch", "3", "--context", "7"]);
    assert!(close(number(&several, "/tokens_per_s"), 3.0 / number(&several, "/ms_per_token") * 1e3), "{several}");
    assert_eq!(several["weights_gb"], one["weights_gb"]);
    let model = tiny().display().to_string();
    let text = bench.ok(&["bench", "decode", "--model", &model, "--tokens", "2", "--repeats", "1"]).out;
    assert!(text.contains("GB of weights a token"), "{text}");
}

#[test]
fn products_are_timed_alone() {
    let bench = Bench::new();
    let products = |more: &[&str]| {
        let mut args = vec!["bench", "products", "--arch", "tiny", "--tokens", "20", "--repeats", "2", "--json", "--quiet"];
        args.extend(more);
        bench.json(&args)
    };
    for dtype in ["f32", "bf16", "int8"] {
        let report = products(&["--dtype", dtype]);
        let expected = ["model", "matrices", "tokens", "rank", "dtype", "threads", "repeats", "forward", "to_input", "peak"];
        assert_eq!(keys(&report), expected);
        // Four layers of queries, keys, values, output, gate, up, down.
        assert_eq!((&report["matrices"], &report["dtype"]), (&28.into(), &dtype.into()));
        let weights = 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160);
        for way in ["forward", "to_input"] {
            let gflop = number(&report, &format!("/{way}/gflop"));
            assert!(close(gflop, 2e-9 * 20.0 * f64::from(weights)), "{report}");
            let gflops = gflop / number(&report, &format!("/{way}/ms")) * 1e3;
            assert!(close(number(&report, &format!("/{way}/gflops")), gflops), "{report}");
            let share = number(&report, &format!("/{way}/fraction_of_peak"));
            assert!(close(share, gflops / number(&report, "/peak/gflops")), "{report}");
        }
    }
    let branch = products(&["--rank", "3", "--dtype", "bf16", "--no-peak"]);
    assert!(branch["rank"] == 3 && branch["forward"]["fraction_of_peak"].is_null(), "{branch}");
    // Rank 3 adds three columns of inputs to each output, and of outputs to each input.
    let (outputs, inputs) = (4 * (3 * 64 + 64 + 2 * 160), 4 * (6 * 64 + 160));
    for (way, thin) in [("forward", outputs), ("to_input", inputs)] {
        let weights = 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160);
        assert!(close(number(&branch, &format!("/{way}/gflop")), 2e-9 * 20.0 * f64::from(weights + 3 * thin)), "{way}: {branch}");
    }
    let model = tiny().display().to_string();
    let text = bench.ok(&["bench", "products", "--model", &model, "--tokens", "2", "--repeats", "1", "--dtype", "bf16"]).out;
    assert!(text.contains("to the input") && text.contains("% of the"), "{text}");
    bench.refused(&["bench", "products", "--arch", "tiny", "--dtype", "native"], &["--dtype native", "int8"]);
    bench.refused(&["bench", "products", "--arch", "tiny", "--dtype", "f32", "--rank", "8"], &["--rank", "f32"]);
    bench.refused(&["bench", "products", "--arch", "tiny", "--tokens", "0"], &["--tokens 0"]);
}

#[test]
fn senseless_sizes_are_refused_by_name() {
    let bench = Bench::new();
    let step = |more: &[&'static str], words: &[&str]| {
        let mut args = vec!["bench", "train-step"];
        args.extend(more);
        bench.refused(&args, words);
    };
    step(&["--arch", "gpt5"], &["gpt5", "smollm2-135m"]);
    step(&["--arch", "tiny", "--method", "some"], &["--method some", "last5"]);
    step(&["--arch", "tiny", "--method", "last9"], &["9 layers", "the model has 4"]);
    step(&["--arch", "tiny", "--seq", "1"], &["--seq 1", "two tokens"]);
    step(&["--arch", "tiny", "--seq", "9000"], &["--seq 9000", "8192"]);
    step(&["--arch", "tiny", "--batch", "0"], &["--batch 0"]);
    step(&["--arch", "tiny", "--steps", "0"], &["--steps 0"]);
    step(&["--arch", "tiny", "--completion-only", "0"], &["--completion-only 0"]);
    step(&["--arch", "tiny", "--cached"], &["--cached", "--method last5"]);
    step(&["--arch", "tiny", "--method", "full", "--dtype", "int8"], &["--dtype int8", "--method full", "bf16"]);
    step(&["--arch", "tiny", "--batch", "9223372036854775807", "--seq", "2"], &["--batch", "MiB", "can be had"]);
    step(&["--arch", "tiny", "--steps", "18446744073709551615"], &["--steps", "can be had"]);
    step(&["--arch", "tiny", "--rank", "4294967296"], &["4294967296", "q_proj"]);
    bench.refused(&["bench", "decode", "--arch", "tiny", "--batch", "4000000000", "--tokens", "1"], &["keys and values", "can be had"]);
    bench.refused(&["bench", "decode", "--arch", "tiny", "--context", "18446744073709551615"], &["--context", "8192"]);
    bench.refused(&["bench", "prefill", "--arch", "tiny", "--batch", "4000000000"], &["keys and values", "can be had"]);
    bench.refused(&["bench", "prefill", "--arch", "tiny", "--batch", "0"], &["--batch 0"]);
    step(&["--arch", "tiny", "--dtype", "native"], &["--dtype native", "int8"]);
    bench.refused(&["bench", "decode", "--arch", "tiny", "--dtype", "native"], &["--dtype native", "--model"]);
    step(&["--arch", "tiny", "--model", "x"], &["--arch", "--model"]);
    step(&["--model", "nowhere.gguf"], &["nowhere.gguf"]);
    bench.refused(&["bench", "prefill", "--arch", "tiny", "--tokens", "8193"], &["--tokens 8193", "8192"]);
    bench.refused(&["bench", "decode", "--arch", "tiny", "--context", "8192"], &["8192"]);
    bench.refused(&["bench", "decode", "--arch", "tiny", "--repeats", "0"], &["--repeats 0"]);
}
