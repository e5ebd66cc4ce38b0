#!/usr/bin/env python3
"""Golden values for the metrics and intervals of crates/evaluate.

Writes crates/evaluate/tests/data/metrics_sklearn.json: random gold/predicted labels and probabilities with what
scikit-learn says about them, and Student-t intervals by SciPy.

    pip install scikit-learn scipy numpy
    python oracles/metrics_sklearn.py
"""
import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

OUT = Path(__file__).resolve().parent.parent / "crates/evaluate/tests/data/metrics_sklearn.json"


def averages(gold, pred, average, labels):
    p, r, f, _ = precision_recall_fscore_support(gold, pred, average=average, labels=labels, zero_division=0)
    return {"precision": float(p), "recall": float(r), "f1": float(f)}


def case(name, gold, prob):
    prob = np.asarray(prob)
    gold = np.asarray(gold)
    k = prob.shape[1]
    pred = prob.argmax(axis=1)
    everything = list(range(k))
    p, r, f, s = precision_recall_fscore_support(gold, pred, labels=everything, zero_division=0)
    return {
        "name": name,
        "classes": k,
        "gold": gold.tolist(),
        "prob": prob.tolist(),
        "predicted": pred.tolist(),
        "accuracy": accuracy_score(gold, pred),
        # scikit-learn's own default: the labels that occur in gold or predicted.
        "macro": averages(gold, pred, "macro", None),
        "micro": averages(gold, pred, "micro", None),
        "per_class": [
            {"precision": float(a), "recall": float(b), "f1": float(c), "support": int(d)} for a, b, c, d in zip(p, r, f, s)
        ],
        "confusion": confusion_matrix(gold, pred, labels=everything).tolist(),
        "log_loss": log_loss(gold, prob, labels=everything),
    }


def random_case(name, rng, n, weights, skill):
    k = len(weights)
    gold = rng.choice(k, size=n, p=np.asarray(weights) / sum(weights))
    logits = rng.normal(size=(n, k)) + skill * np.eye(k)[gold]
    e = np.exp(logits)
    return case(name, gold, np.round(e / e.sum(axis=1, keepdims=True), 12))


def main():
    rng = np.random.default_rng(20260110)
    cases = [
        random_case("two balanced classes", rng, 200, [1, 1], 1.5),
        random_case("two classes, one rare", rng, 150, [20, 1], 1.0),
        random_case("seven classes, uneven", rng, 300, [30, 20, 10, 5, 3, 2, 1], 1.2),
        case("a class never predicted", [0, 1, 2, 2], [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]),
        case("a class that does not occur", [0, 1, 0, 1], [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]]),
        case("one row", [1], [[0.25, 0.75]]),
    ]
    means = []
    for x in ([0.839, 0.845, 0.851], [0.1, -0.2, 0.3, 0.05, 0.0], rng.normal(size=40).round(6).tolist()):
        low, high = stats.t.interval(0.95, len(x) - 1, loc=np.mean(x), scale=stats.sem(x))
        means.append({"values": x, "mean": float(np.mean(x)), "sd": float(np.std(x, ddof=1)), "low": float(low), "high": float(high)})
    # SciPy's percentile bootstrap with many resamples: ours draws other numbers, so it agrees within sampling error.
    hits = (rng.random(500) < 0.84).astype(float)
    b = stats.bootstrap((hits,), np.mean, n_resamples=20000, method="percentile", rng=rng).confidence_interval
    quantile = rng.normal(size=37).round(6)
    OUT.write_text(json.dumps({
        "versions": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
        "cases": cases,
        "means": means,
        "t_quantiles": [{"df": d, "p": p, "t": float(stats.t.ppf(p, d))} for d in (1, 2, 3, 4, 9, 30, 101) for p in (0.9, 0.975, 0.995)],
        "bootstrap": {"values": hits.tolist(), "low": float(b.low), "high": float(b.high)},
        "quantile": {"values": quantile.tolist(), "q": [{"p": p, "value": float(np.quantile(quantile, p))} for p in (0, 0.025, 0.5, 0.975, 1)]},
        "wilson": [
            {"hits": h, "n": n, "low": float(c.low), "high": float(c.high)}
            for h, n in ((0, 20), (20, 20), (33, 50), (840, 1000))
            for c in [stats.binomtest(h, n).proportion_ci(0.95, method="wilson")]
        ],
    }, indent=None, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
