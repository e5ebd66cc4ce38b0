#!/usr/bin/env python3
"""A tiny random chat model, small enough to commit, for the end-to-end tests of the command line.

    pip install torch transformers tokenizers
    python oracles/tiny_cli_model.py         # writes crates/tunesmith/tests/data/tiny/

A Llama of 32 x 2 with grouped-query attention and a tied head, saved by `transformers` in bfloat16, and a byte-level BPE
tokenizer trained on the sentences below, English and Chinese, with a ChatML template whose answers are marked as
`{% generation %}`. Nothing in it was taught: the tests prove what the program does with a model, not what the model knows.
"""
import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "crates/tunesmith/tests/data/tiny"
VOCABULARY = 400
BOS, EOS, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"

SENTENCES = [
    "Review: a wonderful film, warm and funny. Sentiment: positive",
    "Review: a dreadful film, cold and dull. Sentiment: negative",
    "The actors are good, the story is bad, and the music is in between.",
    "How do I reset my password? Open the settings and choose a new one.",
    "Where is my order? It was sent today and arrives tomorrow.",
    "这部电影很好看，演员很棒，音乐也很好听。",
    "这部电影太差了，故事很无聊，浪费时间。",
    "请问怎么重置密码？打开设置，选择新的密码。",
    "我的订单在哪里？今天已经发货，明天到。",
    "user assistant system",
]

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tokenizer():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[AddedToken(t, special=True) for t in (PAD, BOS, EOS)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, pad_token=PAD,
                                   chat_template=TEMPLATE, model_max_length=256)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    words = tokenizer()
    torch.manual_seed(20)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, initializer_range=0.1,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(OUT)
    words.save_pretrained(OUT)
    # On one line: the vocabulary is for programs.
    path = OUT / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False, separators=(",", ":")) + "\n")
    size = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{OUT}: {size / 1024:.0f} KiB, {len(words)} tokens")
    assert size < 150 * 1024


if __name__ == "__main__":
    main()
