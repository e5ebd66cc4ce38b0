#!/usr/bin/env python3
"""The main job as Hugging Face Trainer + PEFT does it: LoRA-tune SmolLM2-135M-Instruct on reviews, then classify by comparing the
logits of the label tokens. Prints one JSON line. The rows are those that a run of ours saved (train.jsonl, heldout.jsonl).

  hf_rotten_tomatoes.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --train RUN/train.jsonl --test RUN/heldout.jsonl \\
      --seed 42 --dtype bf16 --group-by-length
"""
import argparse, csv, json, os, random, resource, tempfile, time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for k in [k for k in os.environ if k.startswith(("OPENBLAS", "NVPL"))]:
    del os.environ[k]  # older-BLAS settings of a shared machine would slow the peer down
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, Trainer, TrainingArguments, set_seed

a = argparse.ArgumentParser()
a.add_argument("--gguf", required=True)
a.add_argument("--train", required=True, help="rows with text and label (JSONL or CSV)")
a.add_argument("--seed", type=int, default=42)
a.add_argument("--test", required=True)
a.add_argument("--test-samples", type=int, default=1066)
a.add_argument("--epochs", type=float, default=1)
a.add_argument("--batch", type=int, default=16)
a.add_argument("--lr", type=float, default=2e-4)
a.add_argument("--rank", type=int, default=8)
a.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
a.add_argument("--group-by-length", action="store_true")
a.add_argument("--threads", type=int, default=2)
a = a.parse_args()

torch.set_num_threads(a.threads)
set_seed(a.seed)
where, name = os.path.split(os.path.abspath(a.gguf))
t_load = time.time()
tok = AutoTokenizer.from_pretrained(where, gguf_file=name)
# dense weights: transformers' packed GGUF layers are slower to train through
model = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32,
                                             quantization_config=GgufConfig(dequantize=True))
model.to(torch.bfloat16 if a.dtype == "bf16" else torch.float32)
model.config.use_cache = False
t_load = time.time() - t_load
LABELS = {"0": " negative", "1": " positive", "neg": " negative", "pos": " positive",
          "negative": " negative", "positive": " positive"}
label_ids = {v: tok(v, add_special_tokens=False)["input_ids"][0] for v in set(LABELS.values())}


def encode(row):
    prompt = tok(f"Review: {row['text'].strip()}\nSentiment:", add_special_tokens=False)["input_ids"]
    target = [label_ids[LABELS[row["label"]]], tok.eos_token_id]
    return {"input_ids": prompt + target, "labels": [-100] * len(prompt) + target}


def collate(rows):
    width = max(len(r["input_ids"]) for r in rows)
    pad = lambda key, fill: torch.tensor([r[key] + [fill] * (width - len(r[key])) for r in rows])
    ids = pad("input_ids", tok.eos_token_id)
    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": pad("labels", -100)}


def read(path):
    with open(path, encoding="utf8") as f:
        rows = [json.loads(line) for line in f] if path.endswith(".jsonl") else list(csv.DictReader(f))
    return [{"text": r["text"], "label": str(r["label"])} for r in rows]


rows = read(a.train)
random.Random(a.seed).shuffle(rows)
train = [encode(r) for r in rows]
test = read(a.test)
random.Random(a.seed).shuffle(test)
test = test[: a.test_samples]


@torch.no_grad()
def accuracy():
    model.eval()
    right, yes, no = 0, label_ids[" positive"], label_ids[" negative"]
    data = sorted(((encode(r), LABELS[r["label"]]) for r in test), key=lambda p: len(p[0]["input_ids"]))
    for i in range(0, len(data), 32):
        part = data[i : i + 32]
        ids = [e["input_ids"][:-2] for e, _ in part]
        width = max(map(len, ids))
        batch = torch.tensor([x + [tok.eos_token_id] * (width - len(x)) for x in ids])
        mask = torch.tensor([[1] * len(x) + [0] * (width - len(x)) for x in ids])
        hidden = model.base_model.model.model(input_ids=batch, attention_mask=mask).last_hidden_state
        last = hidden[torch.arange(len(ids)), mask.sum(1) - 1]
        logits = last @ model.base_model.model.lm_head.weight.T
        for row, (_, want) in zip(logits, part):
            right += (" positive" if row[yes] > row[no] else " negative") == want
    return right / len(test)


model = get_peft_model(model, LoraConfig(r=a.rank, lora_alpha=2 * a.rank, lora_dropout=0.0,
                                         target_modules="all-linear", task_type="CAUSAL_LM"))
t0 = time.time()
before = accuracy()
t_eval = time.time() - t0
extra = {"train_sampling_strategy": "group_by_length"} if a.group_by_length else {}
args = TrainingArguments(output_dir=os.path.join(tempfile.gettempdir(), "peer_out"), per_device_train_batch_size=a.batch, num_train_epochs=a.epochs,
                         learning_rate=a.lr, lr_scheduler_type="linear", warmup_steps=10, weight_decay=0.01,
                         logging_steps=10, save_strategy="no", report_to=[], use_cpu=True, bf16=a.dtype == "bf16",
                         seed=a.seed, disable_tqdm=True, **extra)
trainer = Trainer(model=model, args=args, train_dataset=train, data_collator=collate)
t0 = time.time()
trainer.train()
t_train = time.time() - t0
real = sum(len(r["input_ids"]) for r in train) * a.epochs
print(json.dumps({"peer": "transformers+peft", "dtype": a.dtype, "samples": len(train), "epochs": a.epochs,
                  "load_s": round(t_load, 1), "train_s": round(t_train, 1), "real_tokens_per_s": round(real / t_train, 1),
                  "examples_per_s": round(len(train) * a.epochs / t_train, 2), "eval_s": round(t_eval, 1),
                  "accuracy_before": round(before, 4), "accuracy_after": round(accuracy(), 4),
                  "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                  "torch": torch.__version__}))
