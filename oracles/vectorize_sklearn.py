#!/usr/bin/env python3
"""Golden values for crates/vectorize: what scikit-learn (and jieba) make of the same texts.

Writes crates/vectorize/tests/data/sklearn.json: rows of CountVectorizer, TfidfVectorizer and HashingVectorizer under many
settings, in English and Chinese, and weights and probabilities of the classifiers on the TF-IDF rows.

    pip install scikit-learn jieba
    python oracles/vectorize_sklearn.py
"""
import json
import re
from pathlib import Path

import jieba
import numpy as np
import sklearn
from sklearn.calibration import _SigmoidCalibration
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.svm import LinearSVC

OUT = Path(__file__).resolve().parent.parent / "crates/vectorize/tests/data/sklearn.json"

ENGLISH = [
    "A gripping film: the cast is superb, and the ending is a surprise.",
    "The film is dull. The cast tries, but the story is dull, dull, dull!",
    "Superb story; a surprise at every turn -- I'd see it again.",
    "I want my two hours back. The ending is no surprise at all.",
    "It's a café drama about naïve twenty-year-olds in 1999.",
    "NAÏVE and dull, a café film of 1999 with no story",
    "",
    "The the THE the cast cast",
    "A film to remember; a cast to remember; a story to forget.",
    "every turn of the story is superb",
    "x y z",
    "Two hours of  white   space\tand\nlines, again and again",
]
CHINESE = [
    "这部电影非常精彩，演员的表演令人难忘。",
    "剧情拖沓，看了两个小时就想离场。",
    "导演把上海的夜晚拍得很美，音乐也很好听！",
    "我再也不会看这个导演的电影了。",
    "人工智能和机器学习正在改变制造业。",
    "合同双方应当在三十日内支付违约金。",
    "本合同自双方签字盖章之日起生效，违约方承担赔偿责任。",
    "他来到北京清华大学研究自然语言处理。",
]
LABELS = [0, 1, 0, 1, 2, 1, 2, 1, 0, 0, 2, 1]
HAN = re.compile(r"[\u4e00-\u9fff]+")


def han(text):
    """Words of the Han runs, as jieba cuts them."""
    return [w for run in HAN.findall(text) for w in jieba.lcut(run)]


def rows(matrix):
    matrix = matrix.tocsr()
    matrix.sort_indices()
    return [[matrix.indices[a:b].tolist(), matrix.data[a:b].tolist()] for a, b in zip(matrix.indptr, matrix.indptr[1:])]


def case(name, texts, kind, ours, **settings):
    cls = {"tfidf": TfidfVectorizer, "counts": CountVectorizer, "hashing": HashingVectorizer}[kind]
    vectorizer = cls(**settings)
    matrix = vectorizer.fit_transform(texts)
    names = [] if kind == "hashing" else vectorizer.get_feature_names_out().tolist()
    return {"name": name, "kind": kind, "language": "zh" if texts is CHINESE else "en", "settings": ours, "terms": names, "rows": rows(matrix)}


def cases():
    en = lambda name, kind="tfidf", ours=None, **s: case(name, ENGLISH, kind, s if ours is None else ours, **s)
    yield en("defaults")
    yield en("counts", "counts")
    yield en("bigrams", ngram_range=(1, 2), sublinear_tf=True)
    yield en("only trigrams", ngram_range=(3, 3), norm="l1")
    yield en("up to 5-grams", "counts", ngram_range=(2, 5))
    yield en("frequencies", min_df=2, max_df=0.5)
    yield en("share", min_df=0.25)
    yield en("unsmoothed", smooth_idf=False, norm=None)
    yield en("no idf", use_idf=False, binary=True)
    yield en("stop words", stop_words="english", ngram_range=(1, 2))
    yield en("own stop words", stop_words=["the", "film"])
    yield en("case", lowercase=False)
    yield en("accents", strip_accents="unicode")
    yield en("ascii", strip_accents="ascii")
    yield en("short words", token_pattern=r"(?u)\b\w+\b")
    yield en("pattern", token_pattern=r"[a-z]+-?[a-z]*")
    yield en("group", "counts", token_pattern=r"the (\w+)")
    yield en("char", analyzer="char", ngram_range=(1, 3))
    yield en("char_wb", analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    yield en("char_wb long", "counts", analyzer="char_wb", ngram_range=(4, 6))
    yield en("hashing", "hashing", n_features=64)
    yield en("hashing unsigned", "hashing", n_features=1000, alternate_sign=False, norm="l1", ngram_range=(1, 2))
    zh = lambda name, kind="tfidf", ours=None, **s: case(name, CHINESE, kind, s if ours is None else ours, **s)
    yield zh("jieba", ours={"analyzer": "jieba"}, tokenizer=han, token_pattern=None)
    yield zh("jieba bigrams", ours={"analyzer": "jieba", "ngram_range": (1, 2), "sublinear_tf": True}, tokenizer=han, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True)
    yield zh("han", "counts", ours={"analyzer": "han", "ngram_range": (1, 2)}, tokenizer=lambda t: re.findall(r"[\u4e00-\u9fff]", t), token_pattern=None, ngram_range=(1, 2))
    yield zh("char", analyzer="char", ngram_range=(1, 2))


def learners():
    x = TfidfVectorizer().fit_transform(ENGLISH)
    y = np.array(LABELS)
    two = (y > 0).astype(int)
    weights = np.linspace(0.5, 2, len(y))
    exact = dict(tol=1e-10, max_iter=100000)
    for name, labels, w, settings in [
        ("two", two, None, dict(C=1.0)),
        ("two C=10 weights", two, weights, dict(C=10.0)),
        ("three", y, None, dict(C=3.0)),
        ("three balanced", y, None, dict(C=0.5, class_weight="balanced")),
    ]:
        m = LogisticRegression(**settings, **exact).fit(x, labels, sample_weight=w)
        yield {"learner": "logistic", "name": name, "y": labels.tolist(), "weights": None if w is None else w.tolist(), "c": settings["C"],
               "balanced": "class_weight" in settings, "coef": m.coef_.tolist(), "intercept": m.intercept_.tolist(), "proba": m.predict_proba(x).tolist()}
    for name, labels, c in [("two", two, 1.0), ("three", y, 4.0)]:
        m = LinearSVC(C=c, dual=False, **exact).fit(x, labels)
        yield {"learner": "svm", "name": name, "y": labels.tolist(), "c": c, "coef": m.coef_.tolist(), "intercept": m.intercept_.tolist()}
    for name, cls, alpha in [("multinomial-nb", MultinomialNB, 1.0), ("multinomial-nb", MultinomialNB, 0.1), ("complement-nb", ComplementNB, 0.5)]:
        m = cls(alpha=alpha).fit(x, y)
        yield {"learner": name, "name": name, "y": y.tolist(), "alpha": alpha, "proba": m.predict_proba(x).tolist()}


def curves():
    rng = np.random.default_rng(5)
    scores = np.round(rng.normal(size=60), 2)
    truth = (rng.random(60) < 1 / (1 + np.exp(-1.5 * scores))).astype(int)
    asked = np.linspace(-3, 3, 25)
    sigmoid = _SigmoidCalibration().fit(scores, truth)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(scores, truth)
    return {"scores": scores.tolist(), "truth": truth.tolist(), "asked": asked.tolist(),
            "sigmoid": sigmoid.predict(asked).tolist(), "isotonic": isotonic.predict(asked).tolist()}


OUT.parent.mkdir(parents=True, exist_ok=True)
result = {"sklearn": sklearn.__version__, "english": ENGLISH, "chinese": CHINESE, "labels": LABELS, "cases": list(cases()), "learners": list(learners()), "curves": curves()}
OUT.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
print(OUT, OUT.stat().st_size)
