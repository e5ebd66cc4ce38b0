//! Element types of stored tensors: their names, and how many bytes a block of them takes.
//!
//! Two families share one enum because everything after loading asks the same questions of both: plain elements, as
//! safetensors stores them, and ggml's block formats, in which a group of values shares scales. The table below is the
//! only place that knows the sizes; they are ggml's (`ggml-common.h`, `GGML_QUANT_SIZES` of `gguf-py`).

use std::fmt;

macro_rules! dtypes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, values $values:literal, bytes $bytes:literal, ggml $ggml:expr, safetensors $st:expr;)+) => {
        /// The element type of a stored tensor.
        ///
        /// A type is read in *blocks* of [`block_len`](DType::block_len) values that take
        /// [`block_bytes`](DType::block_bytes) bytes; plain types have blocks of one value.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DType {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DType {
            /// Every type, in the order of declaration.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)+];

            /// The name used in safetensors headers and by llama.cpp, e.g. `BF16`, `Q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)+ }
            }

            /// Number of values in a block (1 for plain types).
            pub fn block_len(self) -> usize {
                match self { $(DType::$variant => $values,)+ }
            }

            /// Bytes of a block.
            pub fn block_bytes(self) -> usize {
                match self { $(DType::$variant => $bytes,)+ }
            }

            /// The number by which GGUF names the type; `None` for types that GGUF cannot hold.
            pub fn ggml_id(self) -> Option<u32> {
                match self { $(DType::$variant => $ggml,)+ }
            }

            /// Whether safetensors can hold the type.
            pub fn in_safetensors(self) -> bool {
                match self { $(DType::$variant => $st,)+ }
            }
        }
    };
}

dtypes! {
    /// IEEE double.
    F64 = "F64", values 1, bytes 8, ggml Some(28), safetensors true;
    /// IEEE single.
    F32 = "F32", values 1, bytes 4, ggml Some(0), safetensors true;
    /// IEEE half.
    F16 = "F16", values 1, bytes 2, ggml Some(1), safetensors true;
    /// The upper half of an IEEE single.
    BF16 = "BF16", values 1, bytes 2, ggml Some(30), safetensors true;
    /// 8-bit float, 4 exponent bits, finite only. Meaningless without scales that lie beside it.
    F8_E4M3 = "F8_E4M3", values 1, bytes 1, ggml None, safetensors true;
    /// 8-bit float, 5 exponent bits.
    F8_E5M2 = "F8_E5M2", values 1, bytes 1, ggml None, safetensors true;
    /// 8-bit power of two, a scale.
    F8_E8M0 = "F8_E8M0", values 1, bytes 1, ggml None, safetensors true;
    /// Signed 64-bit integer.
    I64 = "I64", values 1, bytes 8, ggml Some(27), safetensors true;
    /// Unsigned 64-bit integer.
    U64 = "U64", values 1, bytes 8, ggml None, safetensors true;
    /// Signed 32-bit integer.
    I32 = "I32", values 1, bytes 4, ggml Some(26), safetensors true;
    /// Unsigned 32-bit integer.
    U32 = "U32", values 1, bytes 4, ggml None, safetensors true;
    /// Signed 16-bit integer.
    I16 = "I16", values 1, bytes 2, ggml Some(25), safetensors true;
    /// Unsigned 16-bit integer.
    U16 = "U16", values 1, bytes 2, ggml None, safetensors true;
    /// Signed byte.
    I8 = "I8", values 1, bytes 1, ggml Some(24), safetensors true;
    /// Byte.
    U8 = "U8", values 1, bytes 1, ggml None, safetensors true;
    /// One byte a truth value.
    Bool = "BOOL", values 1, bytes 1, ggml None, safetensors true;
    /// 4 bits and one scale.
    Q4_0 = "Q4_0", values 32, bytes 18, ggml Some(2), safetensors false;
    /// 4 bits, scale and minimum.
    Q4_1 = "Q4_1", values 32, bytes 20, ggml Some(3), safetensors false;
    /// 5 bits and one scale.
    Q5_0 = "Q5_0", values 32, bytes 22, ggml Some(6), safetensors false;
    /// 5 bits, scale and minimum.
    Q5_1 = "Q5_1", values 32, bytes 24, ggml Some(7), safetensors false;
    /// 8 bits and one scale.
    Q8_0 = "Q8_0", values 32, bytes 34, ggml Some(8), safetensors false;
    /// 2 bits; 16 groups of 16 with 4-bit scales and minima.
    Q2_K = "Q2_K", values 256, bytes 84, ggml Some(10), safetensors false;
    /// 3 bits; 16 groups of 16 with 6-bit scales.
    Q3_K = "Q3_K", values 256, bytes 110, ggml Some(11), safetensors false;
    /// 4 bits; 8 groups of 32 with 6-bit scales and minima.
    Q4_K = "Q4_K", values 256, bytes 144, ggml Some(12), safetensors false;
    /// 5 bits; 8 groups of 32 with 6-bit scales and minima.
    Q5_K = "Q5_K", values 256, bytes 176, ggml Some(13), safetensors false;
    /// 6 bits; 16 groups of 16 with 8-bit scales.
    Q6_K = "Q6_K", values 256, bytes 210, ggml Some(14), safetensors false;
    /// 4-bit index into a table of 16 uneven levels, one scale.
    IQ4_NL = "IQ4_NL", values 32, bytes 18, ggml Some(20), safetensors false;
    /// As `IQ4_NL`; 8 groups of 32 with 6-bit scales.
    IQ4_XS = "IQ4_XS", values 256, bytes 136, ggml Some(23), safetensors false;
    /// Ternary, five values a byte.
    TQ1_0 = "TQ1_0", values 256, bytes 54, ggml Some(34), safetensors false;
    /// Ternary, four values a byte.
    TQ2_0 = "TQ2_0", values 256, bytes 66, ggml Some(35), safetensors false;
    /// OCP microscaling: 4-bit floats with a shared power of two.
    MXFP4 = "MXFP4", values 32, bytes 17, ggml Some(39), safetensors false;
    /// Codebook of 2.06 bits. Recognised, not decoded.
    IQ2_XXS = "IQ2_XXS", values 256, bytes 66, ggml Some(16), safetensors false;
    /// Codebook of 2.31 bits. Recognised, not decoded.
    IQ2_XS = "IQ2_XS", values 256, bytes 74, ggml Some(17), safetensors false;
    /// Codebook of 2.56 bits. Recognised, not decoded.
    IQ2_S = "IQ2_S", values 256, bytes 82, ggml Some(22), safetensors false;
    /// Codebook of 3.06 bits. Recognised, not decoded.
    IQ3_XXS = "IQ3_XXS", values 256, bytes 98, ggml Some(18), safetensors false;
    /// Codebook of 3.44 bits. Recognised, not decoded.
    IQ3_S = "IQ3_S", values 256, bytes 110, ggml Some(21), safetensors false;
    /// Codebook of 1.56 bits. Recognised, not decoded.
    IQ1_S = "IQ1_S", values 256, bytes 50, ggml Some(19), safetensors false;
    /// Codebook of 1.75 bits. Recognised, not decoded.
    IQ1_M = "IQ1_M", values 256, bytes 56, ggml Some(29), safetensors false;
}

impl DType {
    /// The type that safetensors calls `name`.
    pub fn from_safetensors_name(name: &str) -> Option<DType> {
        DType::ALL.iter().copied().find(|d| d.in_safetensors() && d.name() == name)
    }

    /// The type that GGUF numbers `id`.
    pub fn from_ggml_id(id: u32) -> Option<DType> {
        DType::ALL.iter().copied().find(|d| d.ggml_id() == Some(id))
    }

    /// Whether values are stored in blocks that share scales.
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Whether [`crate::quant::dequantize`] can turn the type into f32: floats and decoded block formats, not integers
    /// (which hold indices or foreign packed weights) and not scale-less 8-bit floats.
    pub fn is_readable_as_f32(self) -> bool {
        use DType::*;
        matches!(self, F64 | F32 | F16 | BF16 | Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q2_K | Q3_K | Q4_K | Q5_K | Q6_K)
            || matches!(self, IQ4_NL | IQ4_XS | TQ1_0 | TQ2_0 | MXFP4)
    }

    /// Bytes of `numel` values; `None` when they do not fill whole blocks or the count overflows.
    pub fn bytes_for(self, numel: usize) -> Option<usize> {
        if !numel.is_multiple_of(self.block_len()) {
            return None;
        }
        (numel / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
