//! What this processor can do and which code path the kernels therefore take.

use std::sync::OnceLock;

/// A code path: the instruction set that the kernels were compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the target guarantees.
    Portable,
    /// AVX2 and FMA, 8 lanes.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL), 16 lanes.
    Avx512,
}

impl Isa {
    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "AVX2",
            Isa::Avx512 => "AVX-512",
        }
    }

    /// Every path that this processor can run, the fastest last.
    pub fn available() -> Vec<Isa> {
        let best = isa();
        [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&i| i <= best).collect()
    }
}

/// The fastest path that this processor can run, found once.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if avx2 && avx512 {
        Isa::Avx512
    } else if avx2 {
        Isa::Avx2
    } else {
        Isa::Portable
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}

/// Which instructions the products of bf16 operands use ([`crate::product`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bf16Path {
    /// Pairs widened to f32 and multiplied with the instructions of [`Isa`].
    Widened(Isa),
    /// `vdpbf16ps`: two products a lane, subnormal numbers as zeros.
    Avx512Bf16,
}

impl Bf16Path {
    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Bf16Path::Widened(isa) => isa.name(),
            Bf16Path::Avx512Bf16 => "AVX-512 BF16",
        }
    }

    /// Every path that this processor can run, the fastest last.
    pub fn available() -> Vec<Bf16Path> {
        let mut paths: Vec<_> = Isa::available().into_iter().map(Bf16Path::Widened).collect();
        if bf16_path() == Bf16Path::Avx512Bf16 {
            paths.push(Bf16Path::Avx512Bf16);
        }
        paths
    }

    /// The instruction set for what surrounds the products.
    pub(crate) fn isa(self) -> Isa {
        match self {
            Bf16Path::Widened(isa) => isa,
            Bf16Path::Avx512Bf16 => Isa::Avx512,
        }
    }
}

/// The fastest path for products of bf16 operands, found once.
pub fn bf16_path() -> Bf16Path {
    static PATH: OnceLock<Bf16Path> = OnceLock::new();
    *PATH.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if isa() == Isa::Avx512 && is_x86_feature_detected!("avx512bf16") {
            return Bf16Path::Avx512Bf16;
        }
        Bf16Path::Widened(isa())
    })
}

/// Which instructions the products of 8-bit operands use; all give the same sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Int8Path {
    /// Plain integer arithmetic.
    Portable,
    /// Pairs widened to 16 bits (`vpmaddwd`).
    Avx2,
    /// `vpdpbusd`: four products a lane.
    Avx512Vnni,
}

impl Int8Path {
    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Int8Path::Portable => "portable",
            Int8Path::Avx2 => "AVX2",
            Int8Path::Avx512Vnni => "AVX-512 VNNI",
        }
    }

    /// Every path that this processor can run, the fastest last.
    pub fn available() -> Vec<Int8Path> {
        let best = int8_path();
        [Int8Path::Portable, Int8Path::Avx2, Int8Path::Avx512Vnni].into_iter().filter(|&p| p <= best).collect()
    }

    /// The instruction set for what surrounds the products.
    pub(crate) fn isa(self) -> Isa {
        match self {
            Int8Path::Portable => Isa::Portable,
            Int8Path::Avx2 => Isa::Avx2,
            Int8Path::Avx512Vnni => Isa::Avx512,
        }
    }
}

/// The fastest path for products of 8-bit operands, found once.
pub fn int8_path() -> Int8Path {
    static PATH: OnceLock<Int8Path> = OnceLock::new();
    *PATH.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if isa() == Isa::Avx512 && is_x86_feature_detected!("avx512vnni") {
            return Int8Path::Avx512Vnni;
        }
        if isa() >= Isa::Avx2 { Int8Path::Avx2 } else { Int8Path::Portable }
    })
}

/// The paths of both kinds of product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// For bf16 operands.
    pub bf16: Bf16Path,
    /// For 8-bit operands.
    pub int8: Int8Path,
}

impl Paths {
    /// The fastest of each.
    pub fn best() -> Self {
        Paths { bf16: bf16_path(), int8: int8_path() }
    }

    /// Pairs that together cover every path of either kind that this processor can run, the fastest last.
    pub fn available() -> Vec<Paths> {
        let (bf16, int8) = (Bf16Path::available(), Int8Path::available());
        let at = |i: usize| Paths { bf16: bf16[i.min(bf16.len() - 1)], int8: int8[i.min(int8.len() - 1)] };
        (0..bf16.len().max(int8.len())).map(at).collect()
    }
}

/// Features that matter for speed, each with whether this processor has it.
pub fn features() -> Vec<(&'static str, bool)> {
    #[cfg(target_arch = "x86_64")]
    {
        vec![
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("f16c", is_x86_feature_detected!("f16c")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512vl", is_x86_feature_detected!("avx512vl")),
            ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ]
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        Vec::new()
    }
}

/// Number of threads that kernels called from here would use.
pub fn threads() -> usize {
    rayon::current_num_threads()
}
