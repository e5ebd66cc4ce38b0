//! Element-wise loops, on f32 and bf16 alike: see [`mod@crate::element`].

use crate::cpu::{Isa, isa};
use crate::element::Element;
use crate::mat::{Mat, MatMut, Update};
use crate::par::{self, GRAIN, Shared};
use crate::pool::Plain;
use crate::simd::{Simd, dispatch, load_n, store_n};

/// Sets every element.
pub fn fill<T: Plain>(x: &mut [T], value: T) {
    let n = x.len();
    let x = Shared::new(x);
    // SAFETY: ranges are disjoint and in bounds.
    par::ranges(n, 8 * GRAIN, |first, count| unsafe { x.slice(first, count) }.fill(value));
}

#[inline(always)]
unsafe fn scale_body<S: Simd, X: Element>(x: &mut [X], factor: f32) {
    unsafe {
        let f = S::splat(factor);
        for i in (0..x.len()).step_by(S::LANES) {
            let n = x.len() - i;
            let p = x.as_mut_ptr().add(i);
            store_n::<S>(p, S::mul(load_n::<S>(p, n), f), n);
        }
    }
}
dispatch!(fn scale_isa<X> = scale_body(x: &mut [X], factor: f32));

/// Multiplies every element.
pub fn scale<X: Element>(x: &mut [X], factor: f32) {
    let n = x.len();
    let x = Shared::new(x);
    // SAFETY: ranges are disjoint and in bounds.
    par::ranges(n, GRAIN, |first, count| scale_isa(isa(), unsafe { x.slice(first, count) }, factor));
}

#[inline(always)]
unsafe fn add_body<S: Simd, Y: Element, A: Element, B: Element>(y: &mut [Y], a: &[A], b: &[B]) {
    unsafe {
        assert!(y.len() == a.len() && y.len() == b.len());
        for i in (0..y.len()).step_by(S::LANES) {
            let n = y.len() - i;
            let sum = S::add(load_n::<S>(a.as_ptr().add(i), n), load_n::<S>(b.as_ptr().add(i), n));
            store_n::<S>(y.as_mut_ptr().add(i), sum, n);
        }
    }
}
dispatch!(fn add_isa<Y, A, B> = add_body(y: &mut [Y], a: &[A], b: &[B]));

#[inline(always)]
unsafe fn accumulate_body<S: Simd, Y: Element, X: Element>(y: &mut [Y], x: &[X]) {
    unsafe {
        assert!(y.len() == x.len());
        for i in (0..y.len()).step_by(S::LANES) {
            let n = y.len() - i;
            let p = y.as_mut_ptr().add(i);
            store_n::<S>(p, S::add(load_n::<S>(p, n), load_n::<S>(x.as_ptr().add(i), n)), n);
        }
    }
}
dispatch!(fn accumulate_isa<Y, X> = accumulate_body(y: &mut [Y], x: &[X]));

/// `y = a + b`.
pub fn add<Y: Element, A: Element, B: Element>(y: &mut [Y], a: &[A], b: &[B]) {
    assert!(y.len() == a.len() && y.len() == b.len(), "add: lengths disagree");
    let n = y.len();
    let y = Shared::new(y);
    par::ranges(n, GRAIN, |first, count| {
        // SAFETY: ranges are disjoint and in bounds.
        let y = unsafe { y.slice(first, count) };
        add_isa(isa(), y, &a[first..][..count], &b[first..][..count]);
    });
}

/// `y += x`.
pub fn accumulate<Y: Element, X: Element>(y: &mut [Y], x: &[X]) {
    assert_eq!(y.len(), x.len(), "accumulate: lengths disagree");
    let n = y.len();
    let y = Shared::new(y);
    par::ranges(n, GRAIN, |first, count| {
        // SAFETY: ranges are disjoint and in bounds.
        accumulate_isa(isa(), unsafe { y.slice(first, count) }, &x[first..][..count]);
    });
}

/// Copies a slice with all threads.
pub fn copy<T: Plain>(y: &mut [T], x: &[T]) {
    assert_eq!(y.len(), x.len(), "copy: lengths disagree");
    let n = y.len();
    let y = Shared::new(y);
    par::ranges(n, 4 * GRAIN, |first, count| {
        // SAFETY: ranges are disjoint and in bounds.
        unsafe { y.slice(first, count) }.copy_from_slice(&x[first..][..count]);
    });
}

#[inline(always)]
unsafe fn cast_body<S: Simd, Y: Element, X: Element>(y: &mut [Y], x: &[X]) {
    unsafe {
        assert!(y.len() == x.len());
        for i in (0..y.len()).step_by(S::LANES) {
            let n = y.len() - i;
            store_n::<S>(y.as_mut_ptr().add(i), load_n::<S>(x.as_ptr().add(i), n), n);
        }
    }
}
dispatch!(fn cast_isa<Y, X> = cast_body(y: &mut [Y], x: &[X]));

/// [`cast`] on a given path, for tests.
#[doc(hidden)]
pub fn cast_on<Y: Element, X: Element>(isa: Isa, y: &mut [Y], x: &[X]) {
    cast_isa(isa, y, x);
}

/// `y = x` in the other element type, rounded where it narrows.
pub fn cast<Y: Element, X: Element>(y: &mut [Y], x: &[X]) {
    assert_eq!(y.len(), x.len(), "cast: lengths disagree");
    let n = y.len();
    let y = Shared::new(y);
    par::ranges(n, 2 * GRAIN, |first, count| {
        // SAFETY: ranges are disjoint and in bounds.
        cast_isa(isa(), unsafe { y.slice(first, count) }, &x[first..][..count]);
    });
}

/// Copies (or casts) or adds the rows of a matrix.
pub fn assign<Y: Element, X: Element>(y: MatMut<Y>, x: Mat<X>, update: Update) {
    assert_eq!((y.rows, y.cols), (x.rows, x.cols), "assign: shapes disagree");
    let (rows, cols, stride) = (y.rows, y.cols, y.stride);
    let out = Shared::new(y.data);
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds (`MatMut` checked).
            let y = unsafe { out.slice(i * stride, cols) };
            match update {
                Update::Set => cast_isa(isa(), y, x.row(i)),
                Update::Add => accumulate_isa(isa(), y, x.row(i)),
            }
        }
    });
}

/// Row `ids[i]` of `table [_, cols]` to row `i` of `out`.
///
/// # Panics
/// If an id is not a row of the table.
pub fn gather_rows<Y: Element, X: Element>(out: &mut [Y], table: &[X], cols: usize, ids: &[u32]) {
    assert_eq!(out.len(), ids.len() * cols, "gather_rows: shapes disagree");
    let out = Shared::new(out);
    par::ranges(ids.len(), par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds.
            let row = unsafe { out.slice(i * cols, cols) };
            cast_isa(isa(), row, &table[ids[i] as usize * cols..][..cols]);
        }
    });
}

/// Adds row `i` of `x` to row `ids[i]` of `table`, in order of `i`.
///
/// # Panics
/// If an id is not a row of the table.
pub fn scatter_add_rows<Y: Element, X: Element>(table: &mut [Y], x: &[X], cols: usize, ids: &[u32]) {
    assert_eq!(x.len(), ids.len() * cols, "scatter_add_rows: shapes disagree");
    for (i, &id) in ids.iter().enumerate() {
        accumulate_isa(isa(), &mut table[id as usize * cols..][..cols], &x[i * cols..][..cols]);
    }
}

/// Columns that one task of a column-wise sum takes.
const COLUMNS: usize = 64;

/// `sums[j] += Σᵢ x[i, j]`, rows in order.
pub fn add_column_sums<X: Element>(sums: &mut [f32], x: Mat<X>) {
    assert_eq!(sums.len(), x.cols, "add_column_sums: shapes disagree");
    let out = Shared::new(sums);
    par::ranges(x.cols, COLUMNS, |first, count| {
        // SAFETY: column ranges are disjoint and in bounds.
        let sums = unsafe { out.slice(first, count) };
        for i in 0..x.rows {
            accumulate_isa(isa(), sums, &x.row(i)[first..first + count]);
        }
    });
}

/// Sets every row of `y` to `row` (a bias before products are added to it).
pub fn broadcast_row<Y: Element>(y: MatMut<Y>, row: &[f32]) {
    assert_eq!(y.cols, row.len(), "broadcast_row: shapes disagree");
    let (rows, cols, stride) = (y.rows, y.cols, y.stride);
    let out = Shared::new(y.data);
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds (`MatMut` checked).
            cast_isa(isa(), unsafe { out.slice(i * stride, cols) }, row);
        }
    });
}

/// Adds `row` to every row of `y`.
pub fn add_row<Y: Element>(y: MatMut<Y>, row: &[f32]) {
    assert_eq!(y.cols, row.len(), "add_row: shapes disagree");
    let (rows, cols, stride) = (y.rows, y.cols, y.stride);
    let out = Shared::new(y.data);
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds (`MatMut` checked).
            accumulate_isa(isa(), unsafe { out.slice(i * stride, cols) }, row);
        }
    });
}

/// `out [cols, rows] = factor · x [rows, cols]ᵀ` (or `+=`): small matrices, such as those of a low-rank branch.
pub fn transpose_small(out: &mut [f32], x: &[f32], rows: usize, cols: usize, factor: f32, update: Update) {
    assert!(out.len() == rows * cols && x.len() == rows * cols, "transpose_small: shapes disagree");
    for j in 0..cols {
        let out = &mut out[j * rows..][..rows];
        for i in 0..rows {
            let v = factor * x[i * cols + j];
            match update {
                Update::Set => out[i] = v,
                Update::Add => out[i] += v,
            }
        }
    }
}

/// Runs one vectorised loop on a given path, for tests.
#[doc(hidden)]
pub fn paths<Y: Element, A: Element>(isa: Isa, y: &mut [Y], a: &[A], b: &[A], factor: f32) {
    add_isa(isa, y, a, b);
    accumulate_isa(isa, y, a);
    scale_isa(isa, y, factor);
}
