#!/usr/bin/env python3
"""Golden values for crates/generate: greedy decoding and the filters of sampling, by transformers.

Reads the tiny models of crates/model/tests/data (see tiny_models.py) and writes
crates/generate/tests/data/generate.json.

    pip install torch transformers
    python oracles/generate.py
"""
import json
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, LogitsProcessorList
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "crates/model/tests/data"
OUT = ROOT / "crates/generate/tests/data/generate.json"
PROMPTS = [[5, 10, 26, 16, 3, 3, 22], [41], [7, 7, 7, 9, 30, 31, 32, 33, 34, 35, 36, 37]]


def greedy(name):
    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32).eval()
    cases = []
    for prompt in PROMPTS:
        for penalty in (1.0, 1.3):
            ids = torch.tensor([prompt])
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, repetition_penalty=penalty, max_new_tokens=18,
                eos_token_id=None, pad_token_id=0, return_dict_in_generate=True, output_logits=True)
            new = out.sequences[0, len(prompt):].tolist()
            # output_logits are the model's own, before the penalty.
            logp = [torch.log_softmax(l[0].double(), -1)[t].item() for l, t in zip(out.logits, new)]
            cases.append({"prompt": prompt, "repetition_penalty": penalty, "tokens": new, "logprob": sum(logp)})
    return cases


def filters():
    torch.manual_seed(7)
    cases = []
    for temperature, top_k, top_p, min_p, penalty in [
        (1.0, 0, 1.0, 0.0, 1.0), (0.7, 0, 0.9, 0.0, 1.0), (1.3, 12, 1.0, 0.0, 1.0), (1.0, 0, 1.0, 0.08, 1.0),
        (0.8, 20, 0.85, 0.02, 1.2), (2.0, 5, 0.5, 0.0, 0.8), (0.3, 3, 0.99, 0.5, 1.5)]:
        logits = (torch.randn(1, 64) * 2.5)
        seen = torch.randint(0, 64, (1, 9))
        chain = LogitsProcessorList()
        if penalty != 1.0:
            chain.append(RepetitionPenaltyLogitsProcessor(penalty))
        chain.append(TemperatureLogitsWarper(temperature))
        if top_k:
            chain.append(TopKLogitsWarper(top_k))
        if top_p < 1.0:
            chain.append(TopPLogitsWarper(top_p))
        if min_p > 0.0:
            chain.append(MinPLogitsWarper(min_p))
        p = torch.softmax(chain(seen, logits.clone()).double(), -1)[0]
        cases.append({
            "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": penalty,
            "seen": seen[0].tolist(), "logits": logits[0].tolist(), "probabilities": {str(i): v for i, v in enumerate(p.tolist()) if v > 0}})
    return cases


OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text(json.dumps({
    "transformers": transformers.__version__,
    "greedy": {name: greedy(name) for name in ("llama_gqa", "gpt2")},
    "filters": filters(),
}, separators=(",", ":")) + "\n")
print(OUT, OUT.stat().st_size, "bytes")
