//! The inner loops: a tile of a few rows by one panel, over one block of the inner dimension.
//!
//! Operands come in *groups* of four bytes along the inner dimension: two bf16 or four 8-bit numbers. A group of the
//! panel is [`PANEL`] dwords, one for each output; a group of the activations is one dword, broadcast. Sums continue
//! from what the tile holds, so how the inner dimension is cut into blocks changes no bit.

use super::PANEL;
use crate::cpu::{Bf16Path, Int8Path, Isa};
use crate::pairs::Pairs;
use crate::simd::dispatch;

/// Most rows of a tile: 6 x 4 sums of 16 lanes, 4 vectors of the panel and one broadcast fill 32 registers.
pub(super) const ROWS: usize = 6;
/// Dwords ahead that are asked for of a panel that comes from memory.
pub(super) const AHEAD: usize = 16 << 8;

/// Groups of a row in a cache line.
pub(super) const LINE: usize = 16;

/// One tile over one block of the inner dimension.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// The first row's first group.
    pub a: *const u8,
    /// Bytes from a row to the next.
    pub a_row: usize,
    /// Bytes from a group to the next.
    pub a_group: usize,
    /// What the next tile will read in place of `a`, row by row: asked for on the way. Or null.
    pub a_next: *const u8,
    /// `[groups][width]`.
    pub b: *const u32,
    /// Outputs of the panel: [`PANEL`], or for the widened products also 16 or 32.
    pub width: usize,
    /// Groups in this block.
    pub groups: usize,
    /// Sums: `[rows][PANEL]`.
    pub acc: *mut f32,
    /// The sums begin at zero instead of what `acc` holds.
    pub first: bool,
    /// `b` comes from memory: ask for what follows it.
    pub stream: bool,
    /// 8-bit numbers only: each row's scale in this block, `a_scale_row` apart,
    pub a_scales: *const f32,
    /// and what to take from each output's sum, `[PANEL]`.
    pub sums: *const i32,
    /// See `a_scales`.
    pub a_scale_row: usize,
}

/// `acc (+)= a·b` on `rows ≤ ROWS` rows.
pub(super) type TileFn = unsafe fn(rows: usize, t: &Tile);

/// The tile function of a path.
pub(super) fn bf16_tile(path: Bf16Path) -> TileFn {
    match path {
        #[cfg(target_arch = "x86_64")]
        Bf16Path::Avx512Bf16 => x86::bf16,
        #[cfg(target_arch = "x86_64")]
        Bf16Path::Widened(Isa::Avx512) => |rows, t| widened_isa(Isa::Avx512, rows, t),
        #[cfg(target_arch = "x86_64")]
        Bf16Path::Widened(Isa::Avx2) => |rows, t| widened_isa(Isa::Avx2, rows, t),
        _ => |rows, t| widened_isa(Isa::Portable, rows, t),
    }
}

/// The tile function of a path, for 8-bit numbers.
pub(super) fn int8_tile(path: Int8Path) -> TileFn {
    match path {
        #[cfg(target_arch = "x86_64")]
        Int8Path::Avx512Vnni => super::tile8::x86::vnni,
        #[cfg(target_arch = "x86_64")]
        Int8Path::Avx2 => super::tile8::x86::avx2,
        _ => super::tile8::portable,
    }
}

/// `M` rows by `N` vectors of columns.
#[inline(always)]
unsafe fn widened_block<S: Pairs, const M: usize, const N: usize>(t: &Tile) {
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        if !t.first {
            for i in 0..M {
                for j in 0..N {
                    acc[i][j] = S::load(t.acc.add(i * PANEL + j * S::LANES));
                }
            }
        }
        for g in 0..t.groups {
            let at = t.b.add(g * t.width);
            let mut b = [S::load_pairs(at); N];
            for j in 1..N {
                b[j] = S::load_pairs(at.add(j * S::LANES));
            }
            for i in 0..M {
                let pair = S::splat_pair(t.a.add(i * t.a_row + g * t.a_group).cast());
                for j in 0..N {
                    acc[i][j] = S::dot(acc[i][j], pair, b[j]);
                }
            }
        }
        for i in 0..M {
            for j in 0..N {
                S::store(t.acc.add(i * PANEL + j * S::LANES), acc[i][j]);
            }
        }
    }
}

#[inline(always)]
unsafe fn widened_body<S: Pairs>(rows: usize, t: &Tile) {
    unsafe {
        let mut j = 0;
        while j < t.width {
            let mut i = 0;
            while i < rows {
                let part = Tile { a: t.a.add(i * t.a_row), b: t.b.add(j), acc: t.acc.add(i * PANEL + j), ..*t };
                if S::LANES == 16 && t.width == 16 {
                    match rows - i {
                        1 => widened_block::<S, 1, 1>(&part),
                        2 => widened_block::<S, 2, 1>(&part),
                        3 => widened_block::<S, 3, 1>(&part),
                        4 => widened_block::<S, 4, 1>(&part),
                        5 => widened_block::<S, 5, 1>(&part),
                        _ => widened_block::<S, 6, 1>(&part),
                    }
                    i += 6;
                } else if S::LANES == 16 {
                    // 32 registers.
                    match rows - i {
                        1 => widened_block::<S, 1, 2>(&part),
                        2 => widened_block::<S, 2, 2>(&part),
                        3 => widened_block::<S, 3, 2>(&part),
                        4 => widened_block::<S, 4, 2>(&part),
                        5 => widened_block::<S, 5, 2>(&part),
                        _ => widened_block::<S, 6, 2>(&part),
                    }
                    i += 6;
                } else {
                    match rows - i {
                        1 => widened_block::<S, 1, 2>(&part),
                        2 => widened_block::<S, 2, 2>(&part),
                        _ => widened_block::<S, 3, 2>(&part),
                    }
                    i += 3;
                }
            }
            j += 2 * S::LANES;
        }
    }
}
dispatch!(fn widened_isa = widened_body(rows: usize, t: &Tile));

/// Calls `$rows::<R, STREAM>` for a tile of `$count` rows.
#[cfg(target_arch = "x86_64")]
macro_rules! by_count {
    ($rows:ident, $count:expr, $t:expr) => {
        match ($count, $t.stream) {
            (1, false) => $rows::<1, false>($t),
            (2, false) => $rows::<2, false>($t),
            (3, false) => $rows::<3, false>($t),
            (4, false) => $rows::<4, false>($t),
            (5, false) => $rows::<5, false>($t),
            (_, false) => $rows::<6, false>($t),
            (1, true) => $rows::<1, true>($t),
            (2, true) => $rows::<2, true>($t),
            (3, true) => $rows::<3, true>($t),
            (4, true) => $rows::<4, true>($t),
            (5, true) => $rows::<5, true>($t),
            (_, true) => $rows::<6, true>($t),
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use by_count;

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::{AHEAD, LINE, PANEL, Tile};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn rows<const R: usize, const STREAM: bool>(t: &Tile) {
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); 4]; R];
            if !t.first {
                for r in 0..R {
                    for j in 0..4 {
                        acc[r][j] = _mm512_load_ps(t.acc.add(r * PANEL + j * 16));
                    }
                }
            }
            let (mut a, mut a_next, mut b) = (t.a, t.a_next, t.b);
            for g in 0..t.groups {
                if g % LINE == 0 && !a_next.is_null() {
                    a_next = ask_line::<R>(a_next, t.a_row);
                }
                let mut bv = [_mm512_setzero_si512(); 4];
                for j in 0..4 {
                    if STREAM {
                        _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD + j * 16).cast());
                    }
                    bv[j] = _mm512_load_si512(b.add(j * 16).cast());
                }
                for r in 0..R {
                    let av = as_bf16(_mm512_set1_epi32(a.add(r * t.a_row).cast::<i32>().read_unaligned()));
                    for j in 0..4 {
                        acc[r][j] = _mm512_dpbf16_ps(acc[r][j], av, as_bf16(bv[j]));
                    }
                }
                a = a.add(t.a_group);
                b = b.add(PANEL);
            }
            for r in 0..R {
                for j in 0..4 {
                    _mm512_store_ps(t.acc.add(r * PANEL + j * 16), acc[r][j]);
                }
            }
        }
    }

    /// Asks for a line of each of `R` rows; returns where the next ones are.
    #[inline(always)]
    pub(in super::super) fn ask_line<const R: usize>(a: *const u8, a_row: usize) -> *const u8 {
        for r in 0..R {
            // SAFETY: a hint; any address will do.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(r * a_row).cast()) }
        }
        a.wrapping_add(4 * LINE)
    }

    #[inline(always)]
    fn as_bf16(x: __m512i) -> __m512bh {
        // SAFETY: both are 64 bytes of which any value is valid.
        unsafe { std::mem::transmute(x) }
    }

    /// # Safety
    /// The pointers of `t` cover what its sizes say, `acc` and `b` begin at a cache line; the instruction set.
    pub(super) unsafe fn bf16(count: usize, t: &Tile) {
        unsafe { by_count!(rows, count, t) }
    }
}
