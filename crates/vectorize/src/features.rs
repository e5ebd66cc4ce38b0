//! Rows of numbers, mostly zero: what every vectoriser gives and every classifier takes.

use rayon::prelude::*;

/// Rows that one task takes where rows are worked on in parallel.
const BLOCK: usize = 256;

/// A sparse matrix by rows (CSR). Within a row the columns ascend; f64, because oracles are met to 1e-6 and optimisers to 1e-8.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    columns: usize,
    starts: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

impl Features {
    /// No rows, of this many columns.
    pub fn new(columns: usize) -> Self {
        Self { columns, starts: vec![0], indices: Vec::new(), values: Vec::new() }
    }

    /// From its parts: `starts` has one entry more than there are rows.
    pub(crate) fn from_parts(columns: usize, starts: Vec<usize>, indices: Vec<u32>, values: Vec<f64>) -> Self {
        debug_assert!(starts.last() == Some(&indices.len()) && indices.len() == values.len());
        Self { columns, starts, indices, values }
    }

    /// Every number of `rows` (row-major, `columns` wide), zeros too.
    pub fn from_dense(columns: usize, rows: &[f64]) -> Self {
        let mut out = Self::new(columns);
        for row in rows.chunks_exact(columns.max(1)) {
            out.push(row.iter().enumerate().map(|(i, &v)| (i as u32, v)));
        }
        out
    }

    /// Appends a row; its columns must ascend.
    pub fn push(&mut self, entries: impl IntoIterator<Item = (u32, f64)>) {
        for (index, value) in entries {
            self.indices.push(index);
            self.values.push(value);
        }
        self.starts.push(self.indices.len());
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of stored numbers.
    pub fn stored(&self) -> usize {
        self.indices.len()
    }

    /// Columns and values of a row.
    pub fn row(&self, i: usize) -> (&[u32], &[f64]) {
        let range = self.starts[i]..self.starts[i + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// A row as pairs.
    pub fn entries(&self, i: usize) -> impl Iterator<Item = (u32, f64)> + '_ {
        let (indices, values) = self.row(i);
        indices.iter().copied().zip(values.iter().copied())
    }

    /// The smallest stored number; 0 if none is stored.
    pub fn min(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::min)
    }

    /// The given rows in the given order.
    pub fn select(&self, rows: &[usize]) -> Features {
        let mut out = Features::new(self.columns);
        let total = rows.iter().map(|&r| self.starts[r + 1] - self.starts[r]).sum();
        out.indices.reserve(total);
        out.values.reserve(total);
        for &r in rows {
            let (indices, values) = self.row(r);
            out.indices.extend_from_slice(indices);
            out.values.extend_from_slice(values);
            out.starts.push(out.indices.len());
        }
        out
    }

    /// The columns of `self`, then those of `other`. Both have the same rows.
    pub fn beside(&self, other: &Features) -> Features {
        let shift = self.columns as u32;
        let mut out = Features::new(self.columns + other.columns);
        for i in 0..self.rows().min(other.rows()) {
            out.push(self.entries(i).chain(other.entries(i).map(|(c, v)| (c + shift, v))));
        }
        out
    }

    /// The same matrix by columns: row `c` of the result is column `c`, its rows ascending.
    pub fn transpose(&self) -> Features {
        let mut starts = vec![0usize; self.columns + 1];
        for &c in &self.indices {
            starts[c as usize + 1] += 1;
        }
        for c in 0..self.columns {
            starts[c + 1] += starts[c];
        }
        let mut next = starts.clone();
        let (mut indices, mut values) = (vec![0u32; self.indices.len()], vec![0.0; self.values.len()]);
        for i in 0..self.rows() {
            for (c, v) in self.entries(i) {
                let at = next[c as usize];
                next[c as usize] += 1;
                indices[at] = i as u32;
                values[at] = v;
            }
        }
        Features { columns: self.rows(), starts, indices, values }
    }

    /// `out[i·k + j] = Σ_c x[i, c]·w[c·k + j]`: the product with a dense matrix of `k` columns. The order of every sum is that of
    /// the row, whatever the number of threads.
    pub fn times(&self, w: &[f64], k: usize, out: &mut [f64]) {
        debug_assert!(w.len() >= self.columns * k && out.len() == self.rows() * k);
        let block = |first: usize, out: &mut [f64]| {
            for (r, out) in out.chunks_exact_mut(k).enumerate() {
                let (indices, values) = self.row(first + r);
                if k == 1 {
                    let mut sum = 0.0;
                    for (&c, &v) in indices.iter().zip(values) {
                        sum += v * w[c as usize];
                    }
                    out[0] = sum;
                } else {
                    out.fill(0.0);
                    for (&c, &v) in indices.iter().zip(values) {
                        for (o, w) in out.iter_mut().zip(&w[c as usize * k..(c as usize + 1) * k]) {
                            *o += v * w;
                        }
                    }
                }
            }
        };
        if self.rows() <= BLOCK {
            block(0, out);
        } else {
            out.par_chunks_mut(BLOCK * k).enumerate().for_each(|(b, out)| block(b * BLOCK, out));
        }
    }

    /// Multiplies every row by its own number so that its norm is 1; rows of zeros stay.
    pub fn normalize(&mut self, norm: Norm) {
        for i in 0..self.rows() {
            let row = &mut self.values[self.starts[i]..self.starts[i + 1]];
            norm.apply(row);
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<usize>, Vec<u32>, Vec<f64>) {
        (self.starts, self.indices, self.values)
    }

    pub(crate) fn values_mut(&mut self) -> (&[usize], &[u32], &mut [f64]) {
        (&self.starts, &self.indices, &mut self.values)
    }
}

/// How rows are made comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// By the sum of absolute values.
    L1,
    /// By the root of the sum of squares.
    #[default]
    L2,
    /// Not.
    None,
}

impl Norm {
    /// Scales one row.
    pub fn apply(self, row: &mut [f64]) {
        let norm = match self {
            Norm::L1 => row.iter().map(|v| v.abs()).sum::<f64>(),
            Norm::L2 => row.iter().map(|v| v * v).sum::<f64>().sqrt(),
            Norm::None => return,
        };
        if norm > 0.0 {
            row.iter_mut().for_each(|v| *v /= norm);
        }
    }
}

/// Numbers for each class of each row: probabilities or scores, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct ByClass {
    /// Number of classes.
    pub classes: usize,
    /// `rows × classes` numbers.
    pub values: Vec<f64>,
}

impl ByClass {
    /// Zeros.
    pub fn zeros(rows: usize, classes: usize) -> Self {
        Self { classes, values: vec![0.0; rows * classes] }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.classes.max(1)
    }

    /// The numbers of one row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.classes..(i + 1) * self.classes]
    }

    /// The class of the largest number of a row, the first of equals.
    pub fn best(&self, i: usize) -> usize {
        let row = self.row(i);
        (0..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matrix(rows: &[Vec<f64>], columns: usize) -> Features {
        let mut x = Features::new(columns);
        rows.iter().for_each(|r| x.push(r.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, &v)| (i as u32, v))));
        x
    }

    proptest! {
        #[test]
        fn transposing_twice_is_nothing_and_products_agree(rows in prop::collection::vec(prop::collection::vec(-2i32..3, 5), 0..400)) {
            let rows: Vec<Vec<f64>> = rows.iter().map(|r| r.iter().map(|&v| v as f64).collect()).collect();
            let x = matrix(&rows, 5);
            let t = x.transpose();
            prop_assert_eq!(&t.transpose(), &x);
            let w: Vec<f64> = (0..10).map(|i| i as f64 - 3.0).collect();
            let mut out = vec![0.0; rows.len() * 2];
            x.times(&w, 2, &mut out);
            for (i, row) in rows.iter().enumerate() {
                for j in 0..2 {
                    let want: f64 = row.iter().enumerate().map(|(c, v)| v * w[c * 2 + j]).sum();
                    prop_assert_eq!(out[i * 2 + j], want);
                }
            }
        }
    }

    #[test]
    fn norms_and_neighbours() {
        let mut x = matrix(&[vec![3.0, 4.0], vec![0.0, 0.0]], 2);
        x.normalize(Norm::L2);
        assert_eq!(x.row(0).1, [0.6, 0.8]);
        assert!(x.row(1).1.is_empty());
        let both = x.beside(&x);
        assert_eq!((both.columns(), both.row(0).0), (4, &[0u32, 1, 2, 3][..]));
        assert_eq!(x.select(&[1, 0]).row(1), x.row(0));
    }
}
