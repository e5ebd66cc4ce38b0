"""Reference values for the crate `containers`: every GGUF type decoded, three of them encoded, by the `gguf` package.

    pip install gguf numpy safetensors
    python oracles/gguf_types.py

Writes to crates/containers/tests/data/:
  types.gguf          one tensor of each type that gguf-py can both store and decode (random blocks, seed 7), and one
                      metadata entry of each value type
  types.safetensors   the same names, decoded to F32 by gguf.quants.dequantize; written by Hugging Face's safetensors
  quantize.safetensors  `x` (F32) and its encodings Q8_0, Q4_0, Q4_1 (bytes as U8) by gguf.quants.quantize

The Rust tests demand equality of bits, which holds because ggml, gguf-py and the crate round each product and sum alone
and in the same order.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file

OUT = Path(__file__).resolve().parent.parent / "crates/containers/tests/data"

# Byte positions of the f16 fields of a block: random bits there would be mostly absurd and sometimes NaN.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64], T.MXFP4: [],
}  # fmt: skip
ROWS = 3


def halves(rng, n):
    """Scales as they occur, of both signs, with zero, a subnormal and the largest half among them."""
    x = (rng.standard_normal(n) * 10.0 ** rng.integers(-4, 1, n)).astype(np.float16)
    x[:4] = np.array([0.0, -6e-8, 65504.0, -1e-5], dtype=np.float16)[: len(x[:4])]
    return x


def quantized(rng, kind):
    per_block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks_per_row = 2 if per_block == 256 else 5
    n = ROWS * blocks_per_row
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in HALVES[kind]:
        blocks[:, at : at + 2] = halves(rng, n).view(np.uint8).reshape(n, 2)
    if kind == T.MXFP4:
        blocks[:, 0] = rng.integers(100, 140, n)
        blocks[:4, 0] = [0, 1, 2, 250]
    return blocks.reshape(ROWS, blocks_per_row * size)


def floats(rng, kind):
    x = (rng.standard_normal((ROWS, 37)) * 100.0 ** rng.integers(-3, 3, (ROWS, 37))).astype(np.float32)
    if kind == T.F16:
        return x.clip(-6e4, 6e4).astype(np.float16)
    if kind == T.BF16:
        return gguf.quants.quantize(x, T.BF16)
    return x.astype({T.F32: np.float32, T.F64: np.float64}[kind])


def write_types(rng):
    writer = gguf.GGUFWriter(OUT / "types.gguf", "llama")
    writer.add_uint8("value.u8", 200)
    writer.add_int8("value.i8", -100)
    writer.add_uint16("value.u16", 60000)
    writer.add_int16("value.i16", -30000)
    writer.add_uint32("value.u32", 4_000_000_000)
    writer.add_int32("value.i32", -2_000_000_000)
    writer.add_uint64("value.u64", 2**63 + 1)
    writer.add_int64("value.i64", -(2**62))
    writer.add_float32("value.f32", 0.1)
    writer.add_float64("value.f64", 0.1)
    writer.add_bool("value.bool", True)
    writer.add_string("value.string", "Grüße, 世界 🌍")
    writer.add_array("array.i32", [1, -2, 3])
    writer.add_array("array.f32", [0.5, -1.25])
    writer.add_array("array.bool", [True, False])
    writer.add_array("array.string", ["", "a", "中文"])
    decoded = {}
    for kind in [T.F32, T.F16, T.BF16, T.F64, *HALVES]:
        raw = quantized(rng, kind) if kind in HALVES else floats(rng, kind)
        writer.add_tensor(kind.name, raw, raw_dtype=kind)
        with np.errstate(all="ignore"):
            value = raw.astype(np.float32) if kind == T.F64 else gguf.quants.dequantize(raw, kind)
        decoded[kind.name] = np.ascontiguousarray(value, dtype=np.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(decoded, OUT / "types.safetensors", metadata={"gguf": "0.19.0"})


def write_quantize(rng):
    x = (rng.standard_normal((16, 64)) * 0.05).astype(np.float32)
    x[0] = 0  # scale zero
    x[1] = 0.25  # all equal: range zero for Q4_1
    x[2, :32] = np.arange(32) - 16.0  # ties
    x[3, :32] = np.tile([1.0, -1.0], 16)  # equal magnitudes of both signs: which one is the largest?
    x[4, 5] = 40.0  # an outlier
    x[5] *= 1e-7  # scales that are subnormal halves
    encoded = {"x": x}
    for kind in [T.Q8_0, T.Q4_0, T.Q4_1]:
        with np.errstate(all="ignore"):
            encoded[kind.name] = gguf.quants.quantize(x, kind)
    save_file(encoded, OUT / "quantize.safetensors")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_types(np.random.default_rng(7))
    write_quantize(np.random.default_rng(11))
    for path in sorted(OUT.iterdir()):
        print(path.name, path.stat().st_size)
