#!/usr/bin/env python3
"""Golden values for crates/evaluate: label scores of a language model, by transformers, in the plainest way (one
sequence at a time, no cache, logits everywhere).

Reads the tiny models of crates/model/tests/data (see tiny_models.py) and writes
crates/evaluate/tests/data/label_scores.json.

    pip install torch transformers
    python oracles/label_scores.py
"""
import json
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "crates/evaluate/tests/data/label_scores.json"
EOS = 2
PROMPTS = [[5, 10, 26, 16, 3, 3, 22], [41], [7, 7, 7, 9, 30, 31, 32, 33, 34, 35, 36, 37], [11, 12]]
LABELS = {
    "one token each": [[8], [19]],
    "several tokens": [[8, 9, 10], [19, 4]],
    "shared beginnings": [[8, 9, 10, 11], [8, 9, 12], [8, 13], [20], [8, 9, 12, 14, 15]],
    "one begins another": [[8], [8, 9], [30, 31, 32]],
}


@torch.no_grad()
def scores(model, prompt, labels):
    out = []
    for label in labels:
        ids = prompt + label + [EOS]
        logp = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        at = [logp[i - 1, ids[i]].item() for i in range(len(prompt), len(ids))]
        out.append({"score": sum(at[:-1]), "eos": at[-1]})
    return out


def main():
    result = {"transformers": transformers.__version__, "prompts": PROMPTS, "labels": LABELS, "eos": EOS, "models": {}}
    for name in ("llama_gqa", "gpt2"):
        model = AutoModelForCausalLM.from_pretrained(ROOT / "crates/model/tests/data" / name, dtype=torch.float32).eval()
        result["models"][name] = {case: [scores(model, p, labels) for p in PROMPTS] for case, labels in LABELS.items()}
    OUT.write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
