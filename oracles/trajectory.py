#!/usr/bin/env python3
"""Twenty optimizer steps in PyTorch, written out by hand and checked against transformers' own Trainer.

    pip install torch transformers peft accelerate safetensors
    python oracles/tiny_models.py && python oracles/trajectory.py      # writes crates/train/tests/data/

Procedure, for LoRA and for full fine-tuning of the tiny Llama ``crates/model/tests/data/llama_gqa`` (copied to ``base/``;
its head is tied to its embedding):

* ``rows.json``: 21 rows ``{"input_ids", "labels"}``; labels[i] is the target at position i-1, -100 is not trained, and
  position 0 has no prediction (so the trained tokens of a row are the labels != -100 in ``labels[1:]``).
* Rows run in file order, the same order each epoch, two rows a micro-batch: 11 micro-batches, the last has one row.
  Three micro-batches make an optimizer step: groups of 3, 3, 3 and a *tail group of 2* (3 rows): 4 steps an epoch, 5 epochs,
  20 steps. The accumulation never crosses an epoch's end.
* loss of a step = sum of cross-entropies over all trained tokens of the group / their number (one mean over the group,
  not a mean of the micro-batches' means). That is what the gradient is of and what ``loss`` reports.
* ``grad_norm`` = global L2 norm before clipping; clipped to ``max_grad_norm`` as torch.nn.utils.clip_grad_norm_ does
  (factor = max_grad_norm / (norm + 1e-6) where that is below 1).
* AdamW (decoupled decay), betas 0.9 / 0.999, eps 1e-8. Full: no decay for norm weights and biases; LoRA: decay for all A and B.
* lr of step k (k = 0..19) = learning_rate * k / warmup_steps while k < warmup_steps, then
  learning_rate * (20 - k) / (20 - warmup_steps): the first step has a learning rate of zero, as in transformers.
* LoRA starts from the adapter in ``lora/initial`` (A random, B zero), saved by PEFT.

``lora/trajectory.json`` and ``full/trajectory.json``: the settings, and for each step loss, grad_norm, lr, tokens.
``lora/final.safetensors`` (PEFT's names) and ``full/final.safetensors``: the trained tensors after step 20.
"""
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT writes sets; the same order in every run
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments, get_linear_schedule_with_warmup

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)  # PEFT writes the base's path into adapter_config.json: a relative one, the same on every machine
BASE = Path("crates/model/tests/data/llama_gqa")
OUT = Path("crates/train/tests/data")
torch.set_num_threads(1)

# the clip binds in some steps and not in others
SETTINGS = {
    "lora": dict(learning_rate=2e-2, weight_decay=0.01, max_grad_norm=1.5),
    "full": dict(learning_rate=5e-3, weight_decay=0.1, max_grad_norm=3.0),
}
COMMON = dict(per_device_train_batch_size=2, gradient_accumulation_steps=3, num_train_epochs=5, warmup_steps=4,
              adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8, lr_scheduler_type="linear")
STEPS = 20


def make_rows():
    g = torch.Generator().manual_seed(7)
    rows = []
    for _ in range(21):
        n = int(torch.randint(4, 15, (1,), generator=g))
        prompt = int(torch.randint(0, n - 1, (1,), generator=g))
        # half the vocabulary, so that there is something to learn
        ids = torch.randint(3, 24, (n,), generator=g).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return rows


def collate(rows):
    width = max(len(r["input_ids"]) for r in rows)
    pad = lambda key, fill: torch.tensor([list(r[key]) + [fill] * (width - len(r[key])) for r in rows])
    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows])
    return {"input_ids": pad("input_ids", 0), "attention_mask": mask, "labels": pad("labels", -100)}


def load(method):
    model = AutoModelForCausalLM.from_pretrained(OUT / "base", dtype=torch.float32, attn_implementation="eager")
    model.config.use_cache = False
    if method == "lora":
        model = PeftModel.from_pretrained(model, OUT / "lora/initial", is_trainable=True)
    return model


def by_hand(method, rows):
    model, s = load(method).train(), {**COMMON, **SETTINGS[method]}
    trainable = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = [p for n, p in trainable if "norm" in n or n.endswith("bias")]
    decayed = [p for n, p in trainable if not ("norm" in n or n.endswith("bias"))]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": s["weight_decay"]}, {"params": plain, "weight_decay": 0.0}],
        lr=s["learning_rate"], betas=(s["adam_beta1"], s["adam_beta2"]), eps=s["adam_epsilon"])
    schedule = get_linear_schedule_with_warmup(optimizer, s["warmup_steps"], STEPS)
    size, group = s["per_device_train_batch_size"], s["gradient_accumulation_steps"]
    steps = []
    for _ in range(s["num_train_epochs"]):
        micro = [rows[i : i + size] for i in range(0, len(rows), size)]
        for g in range(0, len(micro), group):
            batches = [collate(m) for m in micro[g : g + group]]
            tokens = sum(int((b["labels"][:, 1:] != -100).sum()) for b in batches)
            total = 0.0
            for b in batches:
                logits = model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits
                loss = torch.nn.functional.cross_entropy(
                    logits[:, :-1].reshape(-1, logits.shape[-1]), b["labels"][:, 1:].reshape(-1),
                    ignore_index=-100, reduction="sum") / tokens
                loss.backward()
                total += loss.item()
            norm = torch.nn.utils.clip_grad_norm_([p for _, p in trainable], s["max_grad_norm"]).item()
            lr = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            steps.append({"loss": total, "grad_norm": norm, "lr": lr, "tokens": tokens})
    assert len(steps) == STEPS
    return model, s, steps


def by_trainer(method, rows):
    """The same through transformers' Trainer: the losses that it logs, as a second opinion on the procedure."""
    model, s = load(method), {**COMMON, **SETTINGS[method]}
    args = TrainingArguments(output_dir=tempfile.mkdtemp(), logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
                             disable_tqdm=True, remove_unused_columns=False, train_sampling_strategy="sequential", **s)
    trainer = Trainer(model=model, args=args, train_dataset=rows, data_collator=collate)
    trainer.train()
    return [h for h in trainer.state.log_history if "loss" in h]


def main():
    shutil.rmtree(OUT / "base", ignore_errors=True)
    (OUT / "base").mkdir(parents=True)
    for f in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(BASE / f, OUT / "base" / f)
    rows = make_rows()
    (OUT / "rows.json").write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")

    torch.manual_seed(11)
    fresh = get_peft_model(AutoModelForCausalLM.from_pretrained(OUT / "base", dtype=torch.float32),
                           LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear"))
    fresh.save_pretrained(OUT / "lora/initial")
    (OUT / "lora/initial/README.md").unlink(missing_ok=True)

    for method in ("lora", "full"):
        (OUT / method).mkdir(exist_ok=True)
        model, settings, steps = by_hand(method, rows)
        try:
            opinion = by_trainer(method, rows)
            for mine, theirs in zip(steps, opinion, strict=True):
                assert abs(mine["loss"] - theirs["loss"]) < 2e-4, (mine, theirs)
                assert abs(mine["grad_norm"] - theirs["grad_norm"]) < 1e-3 * mine["grad_norm"], (mine, theirs)
                assert abs(mine["lr"] - theirs["learning_rate"]) < 1e-9, (mine, theirs)
            print(f"{method}: Trainer agrees")
        except ImportError as why:
            print(f"{method}: not compared with Trainer: {why}")
        text = json.dumps({"settings": settings, "steps": steps}, indent=1)
        (OUT / method / "trajectory.json").write_text(text + "\n")
        state = get_peft_model_state_dict(model) if method == "lora" else dict(model.named_parameters())
        save_file({k: v.detach().contiguous() for k, v in state.items()}, OUT / method / "final.safetensors")
        print(f"{method}: loss {steps[0]['loss']:.4f} -> {steps[-1]['loss']:.4f}, "
              f"norms {min(s['grad_norm'] for s in steps):.2f} .. {max(s['grad_norm'] for s in steps):.2f}")


main()
