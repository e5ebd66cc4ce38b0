//! Weights as GGUF keeps them, in groups of 32 inputs with f16 scales, and products that read them so.
//!
//! A weight is laid out once in panels of [`PANEL`] outputs ([`QuantPanels`]); nothing is rounded on the way, the numbers are those
//! of the file. For a product the activations are quantised too ([`Rows`]): each group of 32 to int8 with its own scale, so that
//! the inner loop is the processor's int8 dot product. Within a group sums are exact (i32); across groups they are f32, in
//! the order of the groups, one chain for each element of the result. The chain is the same for every number of rows and
//! threads: a row multiplied alone and the same row in a batch agree in every bit.
//!
//! *Error.* The only rounding beyond f32's is that of the activations: each is off by at most half a step, `max|x| / 254` of
//! its group. An element of the result is therefore off by at most `Σ_g max|x_g| / 254 · Σ_{i∈g} |w_i|` (and f32's rounding of the
//! sum over groups).

#[cfg(target_arch = "x86_64")]
mod avx2;
mod panels;
mod portable;
mod rows;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use panels::QuantPanels;
pub use rows::Rows;

use crate::cpu::{Isa, isa, threads};
use crate::mat::{Mat, MatMut, Update};
use crate::par::{self, Shared};
use crate::pool::Arena;
use crate::team;
use rows::Meta;
use std::marker::PhantomData;

/// Inputs that share a scale.
pub const GROUP: usize = 32;
/// Outputs that lie together.
pub const PANEL: usize = 32;

/// How the numbers of a group of 32 are stored; `d` and `m` are f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `d·(q − 8)`, q of 4 bits.
    Q4_0,
    /// `d·q + m`, q of 4 bits.
    Q4_1,
    /// `d·q`, q a signed byte.
    Q8_0,
}

impl Format {
    /// Bytes of a group in a GGUF file.
    pub fn block_bytes(self) -> usize {
        match self {
            Format::Q4_0 => 18,
            Format::Q4_1 => 20,
            Format::Q8_0 => 34,
        }
    }

    /// Bytes of a group of all outputs of a panel: scales, minima, numbers.
    const fn panel_bytes(self) -> usize {
        match self {
            Format::Q4_0 => PANEL * (2 + GROUP / 2),
            Format::Q4_1 => PANEL * (4 + GROUP / 2),
            Format::Q8_0 => PANEL * (2 + GROUP),
        }
    }

    /// Numbers are stored without sign; the logarithm of what is subtracted from them.
    const fn zero_shift(self) -> Option<u32> {
        match self {
            Format::Q4_0 => Some(3),
            Format::Q4_1 => None,
            Format::Q8_0 => Some(7),
        }
    }
}

/// Rows of activations that an inner loop takes.
const TILE: usize = 6;

/// One inner loop: up to [`TILE`] rows with one panel.
#[derive(Clone, Copy)]
struct Tile {
    panel: *const u8,
    groups: usize,
    /// Quantised row 0; rows are `groups · 32` apart.
    x: *const i8,
    /// Its groups' scales and sums; rows are `groups` apart.
    meta: *const Meta,
    out: *mut f32,
    out_stride: usize,
    /// Outputs that exist.
    cols: usize,
    add: bool,
}

/// One product of a region: `out (+)= x·wᵀ`.
pub struct Product<'a> {
    out: Shared,
    rows: usize,
    cols: usize,
    stride: usize,
    weight: &'a QuantPanels,
    update: Update,
    /// The output is borrowed as long as this lives.
    _out: PhantomData<&'a mut [f32]>,
}

impl<'a> Product<'a> {
    /// `out` is `[m, n]`, `weight` `[n, k]`; `update` says whether the old contents of the output stay.
    pub fn new(out: MatMut<'a>, weight: &'a QuantPanels, update: Update) -> Self {
        let (rows, cols, stride) = (out.rows, out.cols, out.stride);
        Product { out: Shared::new(out.data), rows, cols, stride, weight, update, _out: PhantomData }
    }

    /// Panels that a task takes.
    fn per_task(&self) -> usize {
        (TASK_BYTES / self.weight.panel_len().max(1)).max(1)
    }

    /// Tasks for each block of rows.
    fn tasks(&self) -> usize {
        self.weight.panels().div_ceil(self.per_task())
    }
}

/// Rows of activations that a task takes.
const TASK_ROWS: usize = 16 * TILE;
/// Bytes of weights that a task reads at least: some microseconds of streaming.
const TASK_BYTES: usize = 24 << 10;

/// `out [m, n] (+)= x [m, k]·wᵀ` with `w [n, k]`: a linear layer forward.
///
/// # Panics
/// If the shapes disagree.
pub fn nt(out: MatMut, x: Mat, weight: &QuantPanels, update: Update, arena: &Arena) {
    nt_on(isa(), out, x, weight, update, arena);
}

/// [`nt`] on a given path, for tests.
#[doc(hidden)]
pub fn nt_on(isa: Isa, out: MatMut, x: Mat, weight: &QuantPanels, update: Update, arena: &Arena) {
    let rows = Rows::new(x, arena);
    several_on(isa, &[Product::new(out, weight, update)], &rows);
}

/// Several products of the same activations in one region.
///
/// # Panics
/// If the shapes disagree.
pub fn several(products: &[Product], x: &Rows) {
    several_on(isa(), products, x);
}

fn several_on(isa: Isa, products: &[Product], x: &Rows) {
    for p in products {
        assert_eq!((x.rows(), x.cols(), p.weight.rows()), (p.rows, p.weight.cols(), p.cols), "quant: shapes disagree");
    }
    let blocks = x.rows().div_ceil(TASK_ROWS);
    let total = products.iter().map(|p| p.tasks() * blocks).sum();
    let (inner, threads) = (inner_loop(isa), threads());
    team::run(total, |mut task| {
        let mut list = products.iter();
        let p = loop {
            let p = list.next().expect("tasks are numbered below the sum");
            if task < p.tasks() * blocks {
                break p;
            }
            task -= p.tasks() * blocks;
        };
        let (block, first) = (task % blocks, par::apart(task / blocks, p.tasks(), threads) * p.per_task());
        let (row, end) = (block * TASK_ROWS, x.rows().min((block + 1) * TASK_ROWS));
        for panel in first..p.weight.panels().min(first + p.per_task()) {
            let col = panel * PANEL;
            for row in (row..end).step_by(TILE) {
                // SAFETY: the task's rows and columns are its own and in bounds (`MatMut` checked, shapes agree);
                // `Rows` and `QuantPanels` hold as many groups as their columns need.
                unsafe {
                    let tile = Tile {
                        panel: p.weight.panel(panel).as_ptr(),
                        groups: x.groups(),
                        x: x.numbers().as_ptr().add(row * x.groups() * GROUP),
                        meta: x.meta().as_ptr().add(row * x.groups()),
                        out: p.out.ptr().add(row * p.stride + col),
                        out_stride: p.stride,
                        cols: PANEL.min(p.weight.rows() - col),
                        add: p.update == Update::Add,
                    };
                    inner(p.weight.format(), TILE.min(end - row), &tile);
                }
            }
        }
    });
}

/// The inner loop for a path. Callers vouch for what [`Tile`] points to.
fn inner_loop(isa: Isa) -> unsafe fn(Format, usize, &Tile) {
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Avx512 if is_x86_feature_detected!("avx512vnni") => return vnni::run,
        Isa::Avx512 | Isa::Avx2 if is_x86_feature_detected!("f16c") => return avx2::run,
        _ => {}
    }
    let _ = isa;
    portable::run
}
