#!/usr/bin/env python3
"""Tiny tokenizers of every kind, trained here, and what their own libraries make of the corpus.

    pip install tokenizers transformers sentencepiece protobuf
    python oracles/tokenizers_tiny.py

Reads crates/text/tests/data/corpus.json, writes to crates/text/tests/data/:
  byte_level.json     a byte-level BPE vocabulary whose merges cross word borders, so that every pre-tokenizer shows; and for
                      each family of pre-tokenizers, by llama.cpp's name, the ids by Hugging Face's `tokenizers` with the
                      definition of that family's published tokenizer.json
  sentencepiece.json  a BPE and a unigram model by Google's `sentencepiece` (byte fallback, identity normalization, as Llama's),
                      with and without the space prefix: pieces, scores, types, and the ids by `sentencepiece` itself
  gpt2_dir/, llama_dir/  directories saved by `transformers`, and in dirs.json what AutoTokenizer makes of the corpus
"""
import io
import json
import shutil
import tempfile
from pathlib import Path

import sentencepiece as spm
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

DATA = Path(__file__).resolve().parent.parent / "crates/text/tests/data"
CORPUS = json.loads((DATA / "corpus.json").read_text())
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER = "<custom>"

# The expressions of the published tokenizer.json files.
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Letters of cased scripts, as they stand in deepseek-llm's file (by code point: some of them do not survive normalization).
LETTERS = """41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c 38e-3a1 3a3-3f5
3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d
1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec
1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183 2184
2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a
ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943"""
LETTERS = "".join("-".join(chr(int(c, 16)) for c in r.split("-")) for r in LETTERS.split())
CJK = "[一-龥ࠀ-一가-\ud7ff]+"
V3 = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
SEED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
EXAONE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
JAIS2 = LLAMA3.removesuffix(r"\s+(?!\S)|\s+") + "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2")) + r"|\s{1}"
CPM5 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}+")

bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
digits = pre_tokenizers.Digits(individual_digits=True)
split = lambda regex: pre_tokenizers.Split(Regex(regex), "isolated")
cuts = lambda *regexes: pre_tokenizers.Sequence([split(r) if isinstance(r, str) else r for r in regexes] + [bytes_only])
falcon = pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), gpt2, pre_tokenizers.Digits(individual_digits=False), split("[0-9][0-9][0-9]")])

# name: (pre-tokenizer, NFC, ignore_merges, BOS by default)
FAMILIES = {
    "default": (falcon, False, False, False),
    "gpt-2": (gpt2, False, False, False),
    "olmo": (gpt2, True, False, False),
    "smollm": (pre_tokenizers.Sequence([digits, gpt2]), False, False, False),
    "command-r": (pre_tokenizers.Sequence([digits, gpt2]), True, False, False),
    "llama-bpe": (cuts(LLAMA3), False, True, True),
    "dbrx": (cuts(LLAMA3), False, False, False),
    "qwen2": (cuts(QWEN2), True, False, False),
    "stablelm2": (cuts(QWEN2), False, False, False),
    "qwen35": (cuts(QWEN35), True, False, False),
    "tekken": (cuts(TEKKEN), False, True, True),
    "gpt-4o": (cuts(GPT4O), False, False, False),
    "deepseek-llm": (cuts("[\r\n]", rf"\s?[{LETTERS}]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", CJK, digits), False, False, False),
    "deepseek-coder": (cuts("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, digits), False, False, False),
    "deepseek-v3": (cuts(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", V3), False, False, False),
    "bloom": (cuts(BLOOM), False, False, False),
    "viking": (cuts(BLOOM, digits), False, False, False),
    "bailingmoe": (cuts(BAILING), False, False, False),
    "seed-coder": (cuts(SEED), False, False, False),
    "jais-2": (cuts(JAIS2), False, False, False),
    "exaone-moe": (cuts(EXAONE), False, False, False),
    "superbpe": (cuts(r"\p{N}+", r"(?=(\d{3})+(?!\d))"), False, False, False),
    "minicpm5": (cuts(r"\p{N}{1,3}", CPM5), False, True, False),
}


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = bytes_only
    trainer = trainers.BpeTrainer(vocab_size=1200, special_tokens=SPECIAL + [USER], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    assert SPECIAL + [USER] == vocab[:4]
    # A token that no merge makes: ignore_merges shows.
    vocab += ["ĠHello"]
    out = {"tokens": vocab, "merges": [" ".join(m) for m in merges], "families": {}}
    for name, (pre, nfc, ignore, bos) in FAMILIES.items():
        tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocab)}, merges=[tuple(m) for m in merges], ignore_merges=ignore))
        tokenizer.pre_tokenizer = pre
        tokenizer.normalizer = normalizers.NFC() if nfc else None
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
        tokenizer.add_tokens([AddedToken(USER, normalized=False)])
        if bos:
            tokenizer.post_processor = processors.TemplateProcessing(single=f"{SPECIAL[1]} $A", special_tokens=[(SPECIAL[1], 1)])
        out["families"][name] = [tokenizer.encode(text).ids for text in CORPUS]
    distinct = {json.dumps(ids) for ids in out["families"].values()}
    print(f"byte level: {len(vocab)} tokens, {len(FAMILIES)} families, {len(distinct)} distinct results")
    (DATA / "byte_level.json").write_text(dump(out))
    return vocab, merges


def dump(value, depth=2):
    """JSON with one line for each entry of the first levels."""
    if depth and isinstance(value, dict):
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {dump(v, depth - 1)}" for k, v in value.items()) + "\n}"
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def sentencepiece():
    text = "\n".join(t.replace("\n", " ").replace("\r", " ").replace("\0", " ") for t in CORPUS * 2)
    out = {}
    for kind in ("bpe", "unigram"):
        blob = io.BytesIO()
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(text.split("\n")), model_writer=blob, model_type=kind, vocab_size=900 if kind == "bpe" else 700, byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.9995, split_digits=True,
            allow_whitespace_only_pieces=True, user_defined_symbols=[USER], minloglevel=2, hard_vocab_limit=False, num_threads=1,
        )
        proto = pb.ModelProto.FromString(blob.getvalue())
        for prefix in (True, False):
            proto.normalizer_spec.add_dummy_prefix = prefix
            sp = spm.SentencePieceProcessor(model_proto=proto.SerializeToString())
            # sentencepiece takes no special tokens from text, and cuts at NUL: those texts are for the other oracle.
            # (Hugging Face's Unigram also takes a byte piece from text that spells it, "<0x0A>"; sentencepiece does not.)
            other = ("<s>", "</s>", "<unk>", "\0", "▁", USER) + (("<0x",) if kind == "unigram" else ())
            plain = [i for i, t in enumerate(CORPUS) if not any(s in t for s in other)]
            out[f"{kind}{'' if prefix else ' without prefix'}"] = {
                "tokens": [p.piece for p in proto.pieces], "scores": [p.score for p in proto.pieces], "types": [p.type for p in proto.pieces],
                "prefix": prefix, "texts": plain, "ids": [sp.encode(CORPUS[i]) for i in plain],
                "decoded": {i: sp.decode(sp.encode(CORPUS[i])) for i in plain if sp.decode(sp.encode(CORPUS[i])) != CORPUS[i]},
            }
        print(f"sentencepiece {kind}: {len(proto.pieces)} pieces")
    (DATA / "sentencepiece.json").write_text(dump(out))


def directories(vocab, merges):
    results = {}
    # GPT-2: byte-level, no special frame, template in the configuration.
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocab)}, merges=[tuple(m) for m in merges]))
    tokenizer.pre_tokenizer, tokenizer.decoder = gpt2, decoders.ByteLevel()
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=16)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>", unk_token="<|endoftext|>",
                                   pad_token="<|pad|>", additional_special_tokens=["<|im_start|>", "<|im_end|>"])
    # (A span that ends with the very first token would meet a slip of transformers: it takes token 0 for "none".)
    fast.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] + eos_token }}{% endgeneration %}{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
    )
    results["gpt2_dir"] = save(fast, "gpt2_dir")
    # Llama: SentencePiece with prefix, BOS frame.
    model = json.loads((DATA / "sentencepiece.json").read_text())["bpe"]
    ids = {t: i for i, t in enumerate(model["tokens"])}
    from transformers.convert_slow_tokenizer import generate_merges

    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=generate_merges(ids, dict(zip(model["tokens"], model["scores"]))), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken(USER, normalized=False)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.chat_template = {"default": "{{ bos_token }}{{ messages[0].content }}", "tool_use": "{{ tools | tojson }}"}
    results["llama_dir"] = save(fast, "llama_dir")
    (DATA / "dirs.json").write_text(dump(results))


def save(fast, name):
    path = DATA / name
    shutil.rmtree(path, ignore_errors=True)
    fast.save_pretrained(path)
    # One line each: these files are fixtures, not reading matter.
    for file in path.glob("*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()), ensure_ascii=True, separators=(",", ":")) + "\n")
    auto = AutoTokenizer.from_pretrained(path)
    chats = [[{"role": "user", "content": t}, {"role": "assistant", "content": f"{t} 好 👩‍👧 ok"}] * 2 for t in CORPUS[1:12]]
    masks = []
    if "generation" in str(auto.chat_template):
        for chat in chats:
            out = auto.apply_chat_template(chat, return_assistant_tokens_mask=True, return_dict=True)
            masks.append({"ids": out["input_ids"], "mask": out["assistant_masks"]})
    return {
        "ids": [auto(t, truncation=False, padding=False)["input_ids"] for t in CORPUS],
        "plain": [auto(t, add_special_tokens=False)["input_ids"] for t in CORPUS],
        "decoded": [auto.decode(auto(t)["input_ids"], skip_special_tokens=True) for t in CORPUS],
        "special": auto.special_tokens_map, "vocab_size": len(auto), "eos": auto.eos_token_id, "bos": auto.bos_token_id, "pad": auto.pad_token_id,
        "chats": chats, "masks": masks,
    }


if __name__ == "__main__":
    print("tokenizers", tokenizers.__version__, "transformers", transformers.__version__, "sentencepiece", spm.__version__)
    directories_input = byte_level()
    sentencepiece()
    directories(*directories_input)
    for path in sorted(DATA.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:8} {path.relative_to(DATA)}")
