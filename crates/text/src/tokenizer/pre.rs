//! Pre-tokenizers by llama.cpp's names.
