#!/usr/bin/env python3
"""PyTorch (+ PEFT) training steps, one process that waits for orders: forward + backward + AdamW on random tokens, loss on all
positions. The model is made and one step is run as warm-up (with --compile: compiled); then a line of JSON says that it is ready.
Each line on standard input, a number N, runs N steps and answers with one line of JSON; the end of input ends it.

  torch_train_step.py --arch smollm2-135m --method lora --batch 4 --seq 256 --dtype bf16 [--compile]

By hand: echo 5 | torch_train_step.py ...
"""
import argparse
import json
import os
import resource
import sys
import time

for key in [k for k in os.environ if k.startswith(("OPENBLAS", "NVPL"))]:
    del os.environ[key]  # older-BLAS settings of a shared machine would slow it down
os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--arch", choices=["smollm2-135m", "gpt2"], default="smollm2-135m")
parser.add_argument("--method", choices=["lora", "full", "last5"], default="lora")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seq", type=int, default=256)
parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
parser.add_argument("--compile", action="store_true")
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(0)
if args.arch == "gpt2":
    model = GPT2LMHeadModel(GPT2Config(use_cache=False, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    layers = model.transformer.h
else:
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True, rope_theta=100000.0, use_cache=False))
    layers = model.model.layers
vocab = model.config.vocab_size
if args.dtype == "bf16":
    model = model.to(torch.bfloat16)
if args.method == "lora":
    config = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM",
                        fan_in_fan_out=args.arch == "gpt2")
    model = get_peft_model(model, config, autocast_adapter_dtype=False)
    if args.dtype == "bf16":
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
elif args.method == "last5":
    model.requires_grad_(False)
    for layer in layers[-5:]:
        layer.requires_grad_(True)
model.train()
trainable = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=1e-4, fused=True)
run = torch.compile(model) if args.compile else model


def step():
    ids = torch.randint(0, vocab, (args.batch, args.seq))
    begun = time.perf_counter()
    run(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - begun) * 1e3


def peak_rss_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


first = step()
if args.compile:
    step()  # the first step compiled; this one still meets cold memory
print(json.dumps({"ready": True, "peer": "torch " + torch.__version__, "trainable": sum(p.numel() for p in trainable),
                  "first_step_ms": round(first, 1), "peak_rss_mb": peak_rss_mb()}), flush=True)
for line in sys.stdin:
    times = [step() for _ in range(int(line))]
    print(json.dumps({"ms": [round(t, 2) for t in times], "peak_rss_mb": peak_rss_mb()}), flush=True)
