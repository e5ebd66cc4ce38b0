//! Rows in groups: spherical k-means (Dhillon & Modha 2001) with k-means++ beginnings (Arthur & Vassilvitskii 2007). Rows and centres
//! have length 1; a row belongs to the centre of largest cosine.

use kernels::rng::Rng;
use rayon::prelude::*;

use crate::error::{Result, VectorizeError};
use crate::features::{Features, Norm};

/// Keeps these draws apart from every other use of a seed ("kmns").
const STREAM: u64 = 0x6b6d_6e73;

/// Rows in groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The group of each row.
    pub assignment: Vec<u32>,
    /// Cosine of each row to its group's centre.
    pub similarity: Vec<f64>,
    /// `groups × columns`.
    pub centres: Vec<f64>,
    /// Mean of `1 - cosine` over rows: what is made small.
    pub inertia: f64,
    /// Rounds until nothing moved.
    pub iterations: usize,
}

/// Divides the rows into `k` groups; the best of `starts` beginnings.
///
/// # Errors
/// Fewer different rows than groups.
pub fn kmeans(x: &Features, k: usize, starts: usize, iterations: usize, seed: u64) -> Result<Clusters> {
    let mut rows = x.clone();
    rows.normalize(Norm::L2);
    let filled: Vec<usize> = (0..rows.rows()).filter(|&i| rows.row(i).1.iter().any(|v| *v != 0.0)).collect();
    if k == 0 || filled.len() < k {
        return Err(VectorizeError::setting("k", format!("{k} groups out of {} rows that hold something", filled.len())));
    }
    let mut best: Option<Clusters> = None;
    for start in 0..starts.max(1) as u64 {
        let found = once(&rows, &filled, k, iterations, Rng::keyed(seed, &[STREAM, start]));
        if best.as_ref().is_none_or(|b| found.inertia < b.inertia) {
            best = Some(found);
        }
    }
    // At least one start was made.
    best.ok_or_else(|| VectorizeError::setting("k", "no grouping was found"))
}

/// Rows nearest to each centre.
fn assign(rows: &Features, centres: &[f64], k: usize, transposed: &mut [f64]) -> Vec<(u32, f64)> {
    let columns = rows.columns();
    // Column-major centres make the product with sparse rows run along memory.
    for c in 0..columns {
        for j in 0..k {
            transposed[c * k + j] = centres[j * columns + c];
        }
    }
    let mut dots = vec![0.0; rows.rows() * k];
    rows.times(transposed, k, &mut dots);
    dots.par_chunks_exact(k)
        .map(|row| {
            let best = (0..k).fold(0, |best, j| if row[j] > row[best] { j } else { best });
            (best as u32, row[best])
        })
        .collect()
}

fn once(rows: &Features, filled: &[usize], k: usize, iterations: usize, mut rng: Rng) -> Clusters {
    let columns = rows.columns();
    let mut centres = vec![0.0; k * columns];
    let place = |centres: &mut [f64], j: usize, row: usize| {
        centres[j * columns..(j + 1) * columns].fill(0.0);
        rows.entries(row).for_each(|(c, v)| centres[j * columns + c as usize] = v);
    };
    // Each next centre is a row drawn in proportion to its distance from those there are.
    let mut distance = vec![f64::INFINITY; filled.len()];
    let mut chosen = filled[rng.below(filled.len() as u64) as usize];
    for j in 0..k {
        place(&mut centres, j, chosen);
        let centre = &centres[j * columns..(j + 1) * columns];
        for (d, &row) in distance.iter_mut().zip(filled) {
            let dot: f64 = rows.entries(row).map(|(c, v)| v * centre[c as usize]).sum();
            *d = d.min((1.0 - dot).max(0.0));
        }
        let total: f64 = distance.iter().sum();
        let mut left = rng.uniform_f64() * total;
        let at = distance.iter().position(|d| {
            left -= d;
            left < 0.0
        });
        chosen = filled[at.unwrap_or_else(|| rng.below(filled.len() as u64) as usize)];
    }
    let mut transposed = vec![0.0; k * columns];
    let mut assignment: Vec<(u32, f64)> = Vec::new();
    let mut rounds = 0;
    while rounds < iterations.max(1) {
        rounds += 1;
        let next = assign(rows, &centres, k, &mut transposed);
        let moved = assignment.is_empty() || next.iter().zip(&assignment).any(|(a, b)| a.0 != b.0);
        assignment = next;
        if !moved {
            break;
        }
        centres.fill(0.0);
        let mut sizes = vec![0usize; k];
        for (i, &(group, _)) in assignment.iter().enumerate() {
            sizes[group as usize] += 1;
            rows.entries(i).for_each(|(c, v)| centres[group as usize * columns + c as usize] += v);
        }
        for j in 0..k {
            if sizes[j] == 0 {
                // A group that lost all its rows begins again at the row that fits worst.
                let worst = filled.iter().copied().min_by(|&a, &b| assignment[a].1.total_cmp(&assignment[b].1)).unwrap_or(0);
                rows.entries(worst).for_each(|(c, v)| centres[j * columns + c as usize] = v);
                assignment[worst].1 = f64::INFINITY;
            }
            Norm::L2.apply(&mut centres[j * columns..(j + 1) * columns]);
        }
    }
    let last = assign(rows, &centres, k, &mut transposed);
    let inertia = last.iter().map(|(_, s)| 1.0 - s).sum::<f64>() / last.len().max(1) as f64;
    let (assignment, similarity) = last.into_iter().unzip();
    Clusters { assignment, similarity, centres, inertia, iterations: rounds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_kind_come_together() {
        let mut x = Features::new(9);
        for i in 0..90u32 {
            let kind = i % 3;
            x.push((0..3).map(|j| (kind * 3 + j, 1.0 + f64::from((i * 7 + j) % 5))));
        }
        let found = kmeans(&x, 3, 3, 50, 1).unwrap();
        assert!((0..90).all(|i| found.assignment[i] == found.assignment[i % 3]));
        assert_eq!(found, kmeans(&x, 3, 3, 50, 1).unwrap());
        assert!(kmeans(&x, 0, 1, 5, 1).is_err() && kmeans(&x, 91, 1, 5, 1).is_err());
        let same = x.select(&[0, 0, 0]);
        assert_eq!(kmeans(&same, 3, 1, 5, 1).unwrap().assignment.len(), 3, "equal rows end, too");
    }
}
