#!/usr/bin/env python3
"""Tiny random models and what an independent implementation computes with them.

    pip install torch transformers peft gguf safetensors
    python oracles/tiny_models.py            # writes crates/model/tests/data/

For each case a directory that `transformers` itself saved (config.json, model.safetensors), beside

* ``expected.json``         token ids of two sequences of different lengths, their labels (-100 = not trained), the loss
                            (mean of the cross-entropy over all trained tokens; labels[i] is the target of position i-1);
* ``expected.safetensors``  ``logits.0``, ``logits.1`` (f32, [tokens, vocab]) and ``grad.NAME`` for every parameter of
                            full fine-tuning (a tied matrix has one gradient, from both of its uses);
* ``adapters/NAME/``        an adapter that PEFT saved, with ``expected.safetensors`` (``logits.*`` and ``grad.NAME`` for
                            every trainable tensor under PEFT's *file* names) and ``expected.json`` (its loss).
                            B is not zero, otherwise every gradient of A would be.

transformers runs the two sequences as one right-padded batch with an attention mask; ours runs them end to end as
segments: agreement also proves that neither sees the other. Cases whose name starts with ``rope_`` hold logits only, with
sequences beyond the original context, where the scaling rules differ; the other logits-only cases are relatives of Llama
(a sliding window, Qwen2's biases, a partly rotated head). ``gguf/llama_gqa.gguf`` is ``llama_gqa`` written
as llama.cpp's converter does, with the rows of Q and K permuted to the interleaved layout.

Everything is f32, on one thread, from fixed seeds; dropout is off.
"""
import json
import os
import shutil
import sys
from pathlib import Path

if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT writes sets; the same order in every run
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})
os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, StableLmConfig

ROOT = Path(__file__).resolve().parent.parent
os.chdir(ROOT)  # PEFT writes the base's path into adapter_config.json: a relative one, the same on every machine
OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("crates/model/tests/data")
torch.set_num_threads(1)
torch.set_default_dtype(torch.float32)


def llama(**changes):
    """16 wide, 2 layers, 4 heads: small enough to commit, irregular enough to catch a swapped dimension."""
    config = dict(
        vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=None, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        attn_implementation="eager",
    )
    return LlamaConfig(**{**config, **changes})


FULL = {
    "llama_mha": llama(),
    # head_dim is not hidden / heads here, and theta is not the default
    "llama_gqa": llama(num_key_value_heads=2, tie_word_embeddings=True, head_dim=6,
                       rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    "llama_bias": llama(num_key_value_heads=1, attention_bias=True, mlp_bias=True),
    "gpt2": GPT2Config(vocab_size=48, n_positions=32, n_embd=16, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0,
                       attn_pdrop=0.0, bos_token_id=1, eos_token_id=2, attn_implementation="eager"),
}
SMALL = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=None,
             attn_implementation="eager")
# Relatives that are the same decoder with one thing changed; logits only
RELATIVES = {
    "mistral_window": MistralConfig(**{**SMALL, "head_dim": 4, "sliding_window": 5}),
    "qwen2": Qwen2Config(**SMALL, tie_word_embeddings=True),
    "stablelm_partial": StableLmConfig(**{**SMALL, "hidden_size": 32}, use_qkv_bias=True, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25}),
}
ROPE = {
    "rope_linear": llama(rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    "rope_dynamic": llama(max_position_embeddings=16,
                          rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
    # bases and contexts such that the ramp between kept and interpolated pairs covers several of the eight
    "rope_yarn": llama(head_dim=16, rope_parameters={
        "rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 64,
        "beta_fast": 8.0, "beta_slow": 0.5}),
    "rope_yarn_mscale": llama(head_dim=16, rope_parameters={
        "rope_type": "yarn", "rope_theta": 50.0, "factor": 8.0, "original_max_position_embeddings": 48,
        "beta_fast": 6.0, "beta_slow": 1.0, "mscale": 0.8, "mscale_all_dim": 0.5, "truncate": False}),
    "rope_llama3": llama(head_dim=16, rope_parameters={
        "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}),
    "rope_longrope": llama(rope_parameters={
        "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 16, "factor": 4.0,
        "short_factor": [1.0, 1.5], "long_factor": [2.0, 6.0]}),
}
ADAPTERS = {
    # case: {adapter: LoraConfig settings}
    "llama_mha": {
        "all_linear": dict(r=4, lora_alpha=8, target_modules="all-linear"),
        "modules_to_save": dict(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"],
                                modules_to_save=["lm_head", "embed_tokens"]),
        "lm_head": dict(r=2, lora_alpha=3, target_modules=["o_proj", "lm_head"]),
    },
    "llama_gqa": {
        "all_linear": dict(r=4, lora_alpha=8, target_modules="all-linear"),
        "patterns": dict(r=2, lora_alpha=4, use_rslora=True, target_modules=r".*\.(1\.self_attn\.[qk]_proj|mlp\.down_proj)",
                         rank_pattern={"down_proj": 3}, alpha_pattern={r"layers\.1\.self_attn\.k_proj": 7}),
        "layers": dict(r=2, lora_alpha=4, target_modules=["k_proj", "up_proj"], layers_to_transform=[1]),
    },
    "llama_bias": {
        "all_linear": dict(r=4, lora_alpha=8, target_modules="all-linear"),
        "bias_lora_only": dict(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"], bias="lora_only"),
        "bias_all": dict(r=2, lora_alpha=4, target_modules=["q_proj"], bias="all"),
    },
    "gpt2": {
        "all_linear": dict(r=4, lora_alpha=8, target_modules="all-linear", fan_in_fan_out=True),
        "c_attn": dict(r=2, lora_alpha=4, target_modules=["c_attn"], fan_in_fan_out=True),
    },
}


def randomise(model, seed):
    """Weights large enough that every nonlinearity bends: transformers' own 0.02 leaves the models almost linear."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if p.dim() == 1:
                p.copy_(0.1 * noise if name.endswith("bias") else 1.0 + 0.2 * noise)
            else:
                p.copy_(0.3 * noise)


def two_sequences(vocab, lengths, seed):
    g = torch.Generator().manual_seed(seed)
    rows = []
    for i, n in enumerate(lengths):
        ids = torch.randint(3, vocab, (n,), generator=g).tolist()
        # a masked prompt, and one masked token in the middle of the answer
        labels = [-100] * (2 + i) + ids[2 + i:]
        labels[n - 2 - i] = -100
        rows.append({"input_ids": ids, "labels": labels})
    return rows


def run(model, rows):
    """One right-padded batch -> per-row logits and the loss, with gradients left in the model."""
    width = max(len(r["input_ids"]) for r in rows)
    pad = lambda key, fill: torch.tensor([r[key] + [fill] * (width - len(r[key])) for r in rows])
    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows])
    out = model(input_ids=pad("input_ids", 0), attention_mask=mask, labels=pad("labels", -100), use_cache=False)
    logits = {f"logits.{i}": out.logits[i, : len(r["input_ids"])].detach().contiguous() for i, r in enumerate(rows)}
    return logits, out.loss


def write(directory, tensors, facts):
    directory.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, directory / "expected.safetensors")
    (directory / "expected.json").write_text(json.dumps(facts, indent=1) + "\n")


def build(config, seed):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    randomise(model, seed)
    return model


def adapter_case(case_dir, name, settings, rows, seed):
    torch.manual_seed(seed)  # PEFT draws A from the global generator
    base = AutoModelForCausalLM.from_pretrained(case_dir, dtype=torch.float32, attn_implementation="eager").eval()
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for pname, p in model.named_parameters():
            if p.requires_grad:
                p.add_(0.2 * torch.randn(p.shape, generator=g))
    logits, loss = run(model, rows)
    loss.backward()
    target = case_dir / "adapters" / name
    model.save_pretrained(target)
    (target / "README.md").unlink(missing_ok=True)
    # the names in the file, paired with the parameters by identity of storage
    in_file = get_peft_model_state_dict(model)
    by_ptr = {p.data_ptr(): p for p in model.parameters() if p.requires_grad}
    grads = {}
    for key, value in in_file.items():
        p = by_ptr.get(value.data_ptr())
        if p is not None and p.grad is not None:
            grads["grad." + key] = p.grad
    assert len(grads) == len(by_ptr), (name, sorted(in_file), len(grads), len(by_ptr))
    write(target, {**logits, **grads}, {"loss": loss.item(), "trainable": sorted(k[5:] for k in grads)})
    # PEFT must itself agree after a round trip
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(case_dir, dtype=torch.float32, attn_implementation="eager"), target).eval()
    logits2, _ = run(again, rows)
    for k in logits:
        assert torch.equal(logits[k], logits2[k]), (name, k)
    print(f"  adapter {name}: loss {loss.item():.6f}, {len(grads)} gradients")


def gguf_llama(case_dir, path):
    """What llama.cpp's convert_hf_to_gguf.py does with a Llama: names, keys and the permutation of Q and K."""
    import gguf

    model = AutoModelForCausalLM.from_pretrained(case_dir, dtype=torch.float32)
    c = model.config
    path.parent.mkdir(parents=True, exist_ok=True)
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    w.add_rope_dimension_count(c.head_dim)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_vocab_size(c.vocab_size)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    w.add_tokenizer_model("gpt2")
    w.add_token_list([f"t{i}" for i in range(c.vocab_size)])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)

    def permute(x, heads):
        return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, c.num_hidden_layers)
    seen = set()
    for name, p in model.named_parameters():
        x = p.detach().numpy()
        if name.endswith("q_proj.weight"):
            x = permute(x, c.num_attention_heads)
        if name.endswith("k_proj.weight"):
            x = permute(x, c.num_key_value_heads)
        w.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(x))
        seen.add(name)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    print(f"  {path.name}: {len(seen)} tensors")


def gguf_gpt2(case_dir, path):
    """GPT-2 as llama.cpp writes it: Conv1D matrices transposed to [out, in], the tied head repeated as output.weight."""
    import gguf

    model = AutoModelForCausalLM.from_pretrained(case_dir, dtype=torch.float32)
    c = model.config
    w = gguf.GGUFWriter(path, "gpt2")
    w.add_block_count(c.n_layer)
    w.add_context_length(c.n_positions)
    w.add_embedding_length(c.n_embd)
    w.add_feed_forward_length(4 * c.n_embd)
    w.add_head_count(c.n_head)
    w.add_layer_norm_eps(c.layer_norm_epsilon)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    w.add_tokenizer_model("gpt2")
    w.add_token_list([f"t{i}" for i in range(c.vocab_size)])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, c.n_layer)
    for name, p in model.named_parameters():
        x = p.detach().numpy()
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            x = x.T
        w.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    print(f"  {path.name}")


for number, (case, config) in enumerate(FULL.items()):
    where = OUT / case
    shutil.rmtree(where, ignore_errors=True)
    model = build(config, seed=100 + number)
    model.save_pretrained(where)
    rows = two_sequences(config.vocab_size, (7, 12), seed=200 + number)
    logits, loss = run(model, rows)
    loss.backward()
    grads = {"grad." + n: p.grad for n, p in model.named_parameters()}
    assert all(g is not None for g in grads.values())
    write(where, {**logits, **grads}, {"rows": rows, "loss": loss.item()})
    print(f"{case}: loss {loss.item():.6f}, {len(grads)} gradients")
    for k, (name, settings) in enumerate(ADAPTERS.get(case, {}).items()):
        adapter_case(where, name, settings, rows, seed=1000 + 10 * number + k)

for number, (case, config) in enumerate({**ROPE, **RELATIVES}.items()):
    where = OUT / case
    shutil.rmtree(where, ignore_errors=True)
    model = build(config, seed=300 + number)
    model.save_pretrained(where)
    # one row below the original context, one beyond it
    rows = two_sequences(config.vocab_size, (12, 40), seed=400 + number)
    facts, tensors = {"rows": rows}, {}
    # dynamic scaling looks at the longest position of a *batch*, so each row runs alone
    for i, row in enumerate(rows):
        fresh = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, attn_implementation="eager").eval()
        with torch.no_grad():
            tensors[f"logits.{i}"] = fresh(input_ids=torch.tensor([row["input_ids"]])).logits[0]
    write(where, tensors, facts)
    print(f"{case}: logits")

gguf_llama(OUT / "llama_gqa", OUT / "gguf/llama_gqa.gguf")
gguf_gpt2(OUT / "gpt2", OUT / "gguf/gpt2.gguf")
