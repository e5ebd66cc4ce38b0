//! Row-major matrices inside slices: the argument type of every kernel that works on rows.

/// A row-major matrix inside a slice: `rows × cols`, the rows `stride` elements apart.
#[derive(Clone, Copy)]
pub struct Mat<'a, T = f32> {
    pub(crate) data: &'a [T],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

/// A matrix of bf16 (their bits).
pub type Mat16<'a> = Mat<'a, u16>;

impl<'a, T> Mat<'a, T> {
    /// A dense matrix.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix whose rows begin `stride` elements apart.
    ///
    /// # Panics
    /// If the slice is too short or the stride shorter than a row.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        Mat { data, rows, cols, stride }
    }
}

/// A row-major matrix to write to.
pub struct MatMut<'a, T = f32> {
    pub(crate) data: &'a mut [T],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

/// A matrix of bf16 to write to.
pub type MatMut16<'a> = MatMut<'a, u16>;

impl<'a, T> MatMut<'a, T> {
    /// A dense matrix.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix whose rows begin `stride` elements apart.
    ///
    /// # Panics
    /// If the slice is too short or the stride shorter than a row.
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
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

impl<'a, T> Mat<'a, T> {
    /// Row `i`.
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.stride..][..self.cols]
    }
}

/// Activations as a product reads them.
#[derive(Clone, Copy)]
pub enum Acts<'a> {
    /// f32, rounded to bf16 (nearest, ties to even) or quantised on the way into the kernel.
    F32(Mat<'a>),
    /// bf16, read in place.
    Bf16(Mat16<'a>),
}

impl Acts<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Acts::F32(m) => m.rows,
            Acts::Bf16(m) => m.rows,
        }
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        match self {
            Acts::F32(m) => m.cols,
            Acts::Bf16(m) => m.cols,
        }
    }
}

/// Where a product goes.
pub enum Out<'a> {
    /// f32.
    F32(MatMut<'a>),
    /// bf16, rounded once at the end.
    Bf16(MatMut16<'a>),
}

impl Out<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Out::F32(m) => m.rows,
            Out::Bf16(m) => m.rows,
        }
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        match self {
            Out::F32(m) => m.cols,
            Out::Bf16(m) => m.cols,
        }
    }
}
