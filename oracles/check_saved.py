#!/usr/bin/env python3
"""Loads what Tunesmith saved with PEFT and transformers and compares logits with Tunesmith's own.

    cargo run -p model --example write_for_oracle -- saved /some/dir
    python oracles/check_saved.py /some/dir

For each adapter: `PeftModel.from_pretrained` on the tiny base; the merged directories (streamed from safetensors, from
GGUF, sharded) with `AutoModelForCausalLM.from_pretrained`; the bf16 one must be the f32 one rounded. Exit code 1 at the first difference, or if PEFT or
transformers report a missing or unexpected tensor.
"""
import json
import os
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_error()
warnings.simplefilter("ignore")
ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "crates/model/tests/data"
checked = 0


def load(where):
    model, info = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, attn_implementation="eager",
                                                       output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], (where, info)
    return model.eval()


def compare(model, where, rows, bound):
    global checked
    ours = load_file(where / "logits.safetensors")
    for i, row in enumerate(rows):
        with torch.no_grad():
            theirs = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        error = ((ours[f"logits.{i}"] - theirs).norm() / theirs.norm()).item()
        assert error < bound, (str(where), i, error)
        checked += 1


for where in sorted(p.parent for p in Path(sys.argv[1]).glob("*/*/adapter")):
    case = where.parent.name
    rows = json.loads((DATA / case / "expected.json").read_text())["rows"]
    peft = PeftModel.from_pretrained(load(DATA / case), where / "adapter").eval()
    # PEFT ignores what it does not know: every tensor of the file must be in the wrapped model
    state = {k.replace(".default", "").replace(".modules_to_save", "") for k in peft.state_dict()}
    file = load_file(where / "adapter/adapter_model.safetensors")
    assert set(file) <= state, sorted(set(file) - state)
    compare(peft, where, rows, 1e-5)
    for merged in ("merged", "sharded", "merged_gguf"):
        if (where / merged).exists():
            compare(load(where / merged), where, rows, 1e-5)
    load(where / "merged_bf16")
    exact, rounded = (load_file(where / m / "model.safetensors") for m in ("merged", "merged_bf16"))
    assert all(torch.equal(exact[k].bfloat16(), rounded[k]) for k in exact | rounded), where
    print(f"{case}/{where.name}: ok")
assert checked, "nothing was there to check"
print(f"{checked} logits agree")
