#!/usr/bin/env python3
"""What SmolLM2's published tokenizer makes of the corpus.

    pip install tokenizers gguf
    python oracles/tokenizer_smollm.py SmolLM2-135M-Instruct.Q4_1.gguf

Vocabulary and merges come from the GGUF file, the rest is the published definition of HuggingFaceTB/SmolLM2-135M-Instruct:
no normalizer; each digit on its own, then GPT-2's byte-level pre-tokenizer; BPE without unknown token; the 17 control tokens
are special. (`transformers`' own GGUF route drops the digits and is no oracle.)

Reads crates/text/tests/data/corpus.json, writes crates/text/tests/data/smollm_ids.json: for each text the ids, the byte
ranges' code-point form, and what the ids decode to with and without special tokens where that is not the text itself.
"""
import json
import sys
from pathlib import Path

import tokenizers
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

DATA = Path(__file__).resolve().parent.parent / "crates/text/tests/data"


def main(path):
    fields = GGUFReader(path).fields
    get = lambda key: fields[key].contents()
    tokens, types = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in get("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])

    corpus = json.loads((DATA / "corpus.json").read_text())
    rows = []
    for text in corpus:
        encoding = tokenizer.encode(text)
        row = {"ids": encoding.ids, "offsets": [list(o) for o in encoding.offsets]}
        whole = tokenizer.decode(encoding.ids, skip_special_tokens=False)
        plain = tokenizer.decode(encoding.ids, skip_special_tokens=True)
        row |= {"decoded": whole} if whole != text else {}
        row |= {"skipped": plain} if plain != whole else {}
        rows.append(row)
    out = DATA / "smollm_ids.json"
    head = json.dumps({"tokenizers": tokenizers.__version__, "vocab_size": len(tokens), "eos": get("tokenizer.ggml.eos_token_id"),
                       "bos": get("tokenizer.ggml.bos_token_id"), "pad": get("tokenizer.ggml.padding_token_id")})
    out.write_text(head[:-1] + ', "rows": [\n' + ",\n".join(json.dumps(r) for r in rows) + "\n]}\n")
    print(f"{out}: {len(rows)} texts, {sum(len(r['ids']) for r in rows)} ids, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
