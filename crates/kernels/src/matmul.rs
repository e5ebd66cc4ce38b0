//! Matrix products: the only module that knows the `gemm` crate.
//!
//! Shapes follow the layers that use them: activations `[rows, features]`, weights `[outputs, inputs]`, everything
//! row-major with an explicit row stride. The order in which a product is summed over its inner dimension depends on
//! the instruction set and the shape alone, never on the number of threads.

use crate::mat::{Mat, MatMut, Update};
use gemm::Parallelism;

/// `y = alpha · x·wᵀ` (or `+=`): a linear layer forward. `x [m, k]`, `w [n, k]`, `y [m, n]`.
pub fn matmul_nt(y: MatMut, x: Mat, w: Mat, alpha: f32, update: Update) {
    assert_eq!((x.rows, w.rows, x.cols), (y.rows, y.cols, w.cols), "matmul_nt: shapes disagree");
    product(y, x.data, (x.stride, 1), w.data, (1, w.stride), x.cols, alpha, update);
}

/// `y = alpha · x·w` (or `+=`): a linear layer's gradient to its input. `x [m, k]`, `w [k, n]`, `y [m, n]`.
pub fn matmul_nn(y: MatMut, x: Mat, w: Mat, alpha: f32, update: Update) {
    assert_eq!((x.rows, w.cols, x.cols), (y.rows, y.cols, w.rows), "matmul_nn: shapes disagree");
    product(y, x.data, (x.stride, 1), w.data, (w.stride, 1), x.cols, alpha, update);
}

/// `y = alpha · xᵀ·w` (or `+=`): a linear layer's gradient to its weight. `x [k, m]`, `w [k, n]`, `y [m, n]`.
pub fn matmul_tn(y: MatMut, x: Mat, w: Mat, alpha: f32, update: Update) {
    assert_eq!((x.cols, w.cols, x.rows), (y.rows, y.cols, w.rows), "matmul_tn: shapes disagree");
    product(y, x.data, (1, x.stride), w.data, (w.stride, 1), x.rows, alpha, update);
}

/// The general product; strides are `(row, column)` of `x [m, k]` and `w [k, n]`.
fn product(y: MatMut, x: &[f32], xs: (usize, usize), w: &[f32], ws: (usize, usize), k: usize, alpha: f32, update: Update) {
    if y.rows == 0 || y.cols == 0 {
        return;
    }
    // SAFETY: `Mat` and `MatMut` checked that every element named by these shapes and strides is inside its slice,
    // the callers checked that the shapes agree, and `y` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            y.rows,
            y.cols,
            k,
            y.data.as_mut_ptr(),
            1,
            y.stride as isize,
            update == Update::Add,
            x.as_ptr(),
            xs.1 as isize,
            xs.0 as isize,
            w.as_ptr(),
            ws.1 as isize,
            ws.0 as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}
