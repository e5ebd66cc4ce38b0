//! Row-major matrices inside slices: the argument type of every kernel that works on rows.

/// A row-major matrix inside a slice: `rows × cols`, the rows `stride` elements apart.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

impl<'a> Mat<'a> {
    /// A dense matrix.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix whose rows begin `stride` elements apart.
    ///
    /// # Panics
    /// If the slice is too short or the stride shorter than a row.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        Mat { data, rows, cols, stride }
    }
}

/// A row-major matrix to write to.
pub struct MatMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

impl<'a> MatMut<'a> {
    /// A dense matrix.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix whose rows begin `stride` elements apart.
    ///
    /// # Panics
    /// If the slice is too short or the stride shorter than a row.
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        MatMut { data, rows, cols, stride }
    }
}

fn check(len: usize, rows: usize, cols: usize, stride: usize) {
    assert!(stride >= cols, "rows of {cols} elements cannot be {stride} apart");
    let needed = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * stride + cols };
    assert!(len >= needed, "a {rows} x {cols} matrix of stride {stride} needs {needed} elements, the slice has {len}");
}

/// What happens to the old contents of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// They are overwritten (and not read: they may be anything).
    Set,
    /// The product is added to them.
    Add,
}

impl<'a> Mat<'a> {
    /// Row `i`.
    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride..][..self.cols]
    }
}
