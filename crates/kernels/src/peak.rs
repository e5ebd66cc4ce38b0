//! What this machine can do at most: loops that execute a known number of operations on registers, and one that reads
//! memory. There is no clock here; the caller takes the time and divides.
//!
//! Work is handed out in small equal tasks to as many threads as the kernels would use.

use crate::cpu::{Bf16Path, Int8Path, Isa, bf16_path, int8_path, isa};
use crate::simd::{Simd, dispatch};
use crate::team;
use std::hint::black_box;

/// Repetitions of a task's inner loop: some 20 µs.
const ROUNDS: usize = 1 << 13;
/// Independent chains: more than latency times instructions a cycle of any processor so far.
const CHAINS: usize = 16;

#[inline(always)]
unsafe fn fma_body<S: Simd>() -> f32 {
    unsafe {
        let (a, b) = (S::splat(black_box(0.999)), S::splat(black_box(0.001)));
        let mut acc = [S::splat(0.5); CHAINS];
        for _ in 0..ROUNDS {
            for v in &mut acc {
                *v = S::fma(*v, a, b);
            }
        }
        acc.into_iter().fold(0.0, |sum, v| sum + S::sum(v))
    }
}
dispatch!(fn fma_isa = fma_body() -> f32);

/// Runs `tasks` chains of f32 multiply-adds; returns the number of operations (two each).
pub fn f32(tasks: usize) -> f64 {
    let isa = isa();
    team::run(tasks, |_| {
        black_box(fma_isa(isa));
    });
    let lanes = if isa == Isa::Avx512 { 16 } else { 8 };
    (2 * lanes * CHAINS * ROUNDS * tasks) as f64
}

/// Runs `tasks` chains of bf16 dot products; returns the number of operations, or `None` if there is no instruction for
/// them (what [`f32`] measures is then the limit).
pub fn bf16(tasks: usize) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if bf16_path() == Bf16Path::Avx512Bf16 {
        team::run(tasks, |_| {
            // SAFETY: the path says that the processor has the instructions.
            black_box(unsafe { x86::bf16() });
        });
        return Some((4 * 16 * CHAINS * ROUNDS * tasks) as f64);
    }
    let _ = (tasks, bf16_path(), Bf16Path::Avx512Bf16);
    None
}

/// Runs `tasks` chains of 8-bit dot products; returns the number of operations, or `None` if there is no instruction for
/// them.
pub fn int8(tasks: usize) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if int8_path() == Int8Path::Avx512Vnni {
        team::run(tasks, |_| {
            // SAFETY: the path says that the processor has the instructions.
            black_box(unsafe { x86::int8() });
        });
        return Some((8 * 16 * CHAINS * ROUNDS * tasks) as f64);
    }
    let _ = (tasks, int8_path(), Int8Path::Avx512Vnni);
    None
}

#[inline(always)]
unsafe fn read_body<S: Simd>(x: &[u8]) -> f32 {
    unsafe {
        // Whatever the bits mean as numbers, comparing them costs the same.
        let mut acc = [S::splat(0.0); 8];
        let block = 32 * S::LANES;
        for l in 0..x.len() / block {
            for (j, v) in acc.iter_mut().enumerate() {
                *v = S::max(*v, S::load(x.as_ptr().add(l * block + 4 * j * S::LANES).cast()));
            }
        }
        let rest = x[x.len() / block * block..].iter().fold(0, |all, &byte| all | byte);
        acc.into_iter().fold(f32::from(rest), |top, v| f32::max(top, S::max_lane(v)))
    }
}
dispatch!(fn read_isa = read_body(x: &[u8]) -> f32);

/// Reads all of `parts` once, in tasks of up to 1 MB; returns the number of bytes. Take several times the last cache level.
pub fn read(parts: &[&[u8]]) -> f64 {
    const TASK: usize = 1 << 20;
    let isa = isa();
    let tasks: Vec<&[u8]> = parts.iter().flat_map(|part| part.chunks(TASK)).collect();
    team::run(tasks.len(), |i| {
        black_box(read_isa(isa, tasks[i]));
    });
    tasks.iter().map(|task| task.len() as f64).sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, ROUNDS};
    use std::arch::x86_64::*;
    use std::hint::black_box;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn bf16() -> f32 {
        // SAFETY: plain vectors of the same size.
        let a: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(black_box(0x3a83_3a83))) };
        let mut acc = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..ROUNDS {
            for v in &mut acc {
                *v = _mm512_dpbf16_ps(*v, a, a);
            }
        }
        acc.into_iter().fold(0.0, |sum, v| sum + _mm512_reduce_add_ps(v))
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn int8() -> i32 {
        let a = _mm512_set1_epi32(black_box(0x0101_0101));
        let mut acc = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..ROUNDS {
            for v in &mut acc {
                *v = _mm512_dpbusd_epi32(*v, a, a);
            }
        }
        acc.into_iter().fold(0, |sum, v| sum.wrapping_add(_mm512_reduce_add_epi32(v)))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_what_they_say() {
        assert_eq!(super::f32(6), 2.0 * super::f32(3));
        assert_eq!(super::bf16(4).is_some(), crate::cpu::bf16_path() == crate::cpu::Bf16Path::Avx512Bf16);
        assert_eq!(super::int8(4).is_some(), crate::cpu::int8_path() == crate::cpu::Int8Path::Avx512Vnni);
        assert_eq!(super::read(&[&vec![1; 3 << 20], &[2; 100]]), (3 << 20) as f64 + 100.0);
    }
}
