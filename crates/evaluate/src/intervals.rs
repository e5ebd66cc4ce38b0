//! How far chance could have moved a number.
//!
//! * [`bootstrap`]: percentile bootstrap (Efron & Tibshirani 1993, chapter 13): rows are drawn with replacement as
//!   often as there are rows, the statistic is computed on the draw, and the middle 95 % of many such values is the
//!   interval. Two models measured on the *same rows* are compared by drawing the rows once for both
//!   ([`paired_difference`]): what is hard for both cancels out.
//! * [`mean_interval`]: Student's t over a few independent runs (seeds).
//! * [`wilson`]: the score interval of a proportion (Wilson 1927), for the case the bootstrap cannot see: when every
//!   row is right (or wrong) each draw is too, and the bootstrap would claim certainty.
//!
//! Random numbers are keyed by (seed, draw), so results do not depend on threads or on what else was computed.

use engine::rng::Rng;
use serde::{Deserialize, Serialize};

/// Draws when nothing else is asked for.
pub const RESAMPLES: usize = 2000;
/// The level when nothing else is asked for.
pub const LEVEL: f64 = 0.95;

/// A confidence interval; in JSON `[low, high]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl From<[f64; 2]> for Interval {
    fn from([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }
}

impl From<Interval> for [f64; 2] {
    fn from(i: Interval) -> Self {
        [i.low, i.high]
    }
}

/// Settings of a bootstrap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How many draws.
    pub resamples: usize,
    /// Level of the interval, e.g. 0.95.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: RESAMPLES, level: LEVEL, seed: 42 }
    }
}

/// Percentile intervals of `statistics` values at once. `statistic` gets the drawn row numbers (n of them, with
/// repeats) and writes its values; a NaN (undefined on this draw) is left out. `None` without rows or defined values.
pub fn bootstrap(n: usize, statistics: usize, settings: Bootstrap, mut statistic: impl FnMut(&[u32], &mut [f64])) -> Vec<Option<Interval>> {
    let mut values: Vec<Vec<f64>> = vec![Vec::with_capacity(settings.resamples); statistics];
    let mut rows = vec![0u32; n];
    let mut out = vec![f64::NAN; statistics];
    if n > 0 {
        for draw in 0..settings.resamples {
            let mut rng = Rng::keyed(settings.seed, &[STREAM, draw as u64]);
            for r in &mut rows {
                *r = rng.below(n as u64) as u32;
            }
            out.fill(f64::NAN);
            statistic(&rows, &mut out);
            for (v, o) in values.iter_mut().zip(&out) {
                v.extend(Some(*o).filter(|o| !o.is_nan()));
            }
        }
    }
    values.into_iter().map(|v| percentile_interval(v, settings.level)).collect()
}

/// Keeps these draws apart from every other use of the same seed ("boot" in ASCII).
const STREAM: u64 = 0x626f_6f74;

/// The interval of the mean of `values` over rows.
pub fn bootstrap_mean(values: &[f64], settings: Bootstrap) -> Option<Interval> {
    bootstrap(values.len(), 1, settings, |rows, out| {
        out[0] = rows.iter().map(|&r| values[r as usize]).sum::<f64>() / rows.len() as f64;
    })[0]
}

fn percentile_interval(mut values: Vec<f64>, level: f64) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Some(Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail) })
}

/// The `p` quantile of ascending values, interpolated linearly (NumPy's default). Panics if there are none.
pub fn quantile(ascending: &[f64], p: f64) -> f64 {
    let at = p.clamp(0.0, 1.0) * (ascending.len() - 1) as f64;
    let (i, f) = (at.floor() as usize, at.fract());
    match ascending.get(i + 1) {
        Some(next) if f > 0.0 => ascending[i] + (next - ascending[i]) * f,
        _ => ascending[i],
    }
}

/// Wilson's score interval of `hits` out of `n`.
pub fn wilson(hits: u64, n: u64, level: f64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let z = normal_quantile(0.5 + level / 2.0);
    let (n, p) = (n as f64, hits as f64 / n as f64);
    let (centre, scale) = (p + z * z / (2.0 * n), 1.0 + z * z / n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Some(Interval { low: ((centre - half) / scale).max(0.0), high: ((centre + half) / scale).min(1.0) })
}

/// How two models differ on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean of (after - before) over rows.
    pub mean: f64,
    /// Its bootstrap interval; where it leaves out 0, chance alone hardly explains the change.
    pub interval: Interval,
    /// Rows compared.
    pub n: usize,
}

/// Paired bootstrap of the mean of `after[i] - before[i]`; row i of both is the same row. `None` without rows or if
/// the lengths differ.
pub fn paired_difference(before: &[f64], after: &[f64], settings: Bootstrap) -> Option<Difference> {
    if before.len() != after.len() {
        return None;
    }
    let d: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    let interval = bootstrap_mean(&d, settings)?;
    Some(Difference { mean: d.iter().sum::<f64>() / d.len() as f64, interval, n: d.len() })
}

/// Mean and spread over independent runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanSummary {
    /// Runs.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation of one run (divisor n - 1); absent for a single run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// Student's t interval of the mean; absent for a single run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// Mean, standard deviation and t interval of a few values, such as one number per seed (or, paired, the
/// differences per seed). `None` without values.
pub fn mean_interval(values: &[f64], level: f64) -> Option<MeanSummary> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    if n == 1 {
        return Some(MeanSummary { n, mean, sd: None, interval: None });
    }
    let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt();
    let half = t_quantile(0.5 + level / 2.0, n - 1) * sd / (n as f64).sqrt();
    Some(MeanSummary { n, mean, sd: Some(sd), interval: Some(Interval { low: mean - half, high: mean + half }) })
}

/// P(|T| <= t) of Student's t with a whole number of degrees of freedom: the finite trigonometric series of
/// Abramowitz & Stegun 26.7.3 (odd) and 26.7.4 (even).
fn t_inside(t: f64, df: usize) -> f64 {
    let theta = (t / (df as f64).sqrt()).atan();
    let (sin, cos2) = (theta.sin(), theta.cos().powi(2));
    let odd = df % 2 == 1;
    let (mut term, mut sum) = if odd { (theta.cos(), 0.0) } else { (1.0, 0.0) };
    let mut k = if odd { 1 } else { 0 };
    while k + 1 < df {
        sum += term;
        k += 2;
        term *= cos2 * (k - 1) as f64 / k as f64;
    }
    if odd { (theta + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum }
}

/// The value that Student's t stays below with probability `p` >= 0.5.
fn t_quantile(p: f64, df: usize) -> f64 {
    let inside = 2.0 * p - 1.0;
    invert(|t| t_inside(t, df), inside)
}

/// The value that a standard normal variable stays below with probability `p` >= 0.5.
fn normal_quantile(p: f64) -> f64 {
    // Simpson's rule on the density; 200 panels give more than the 10 digits needed.
    let half = |z: f64| {
        let n = 200;
        let h = z / n as f64;
        let f = |x: f64| (-x * x / 2.0).exp();
        let inner: f64 = (1..n).map(|i| f(i as f64 * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (f(0.0) + inner + f(z)) * h / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
    };
    invert(half, p - 0.5)
}

/// Solves `f(x) = y` for an increasing f on [0, inf) by bisection.
fn invert(f: impl Fn(f64) -> f64, y: f64) -> f64 {
    let mut high = 1.0;
    while f(high) < y && high < 1e9 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let mid = (low + high) / 2.0;
        if f(mid) < y { low = mid } else { high = mid }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gives_nothing() {
        assert!(bootstrap_mean(&[], Bootstrap::default()).is_none());
        assert!(paired_difference(&[1.0], &[], Bootstrap::default()).is_none());
        assert!(mean_interval(&[], LEVEL).is_none());
        assert!(wilson(0, 0, LEVEL).is_none());
        let one = mean_interval(&[0.5], LEVEL).unwrap();
        assert!(one.mean == 0.5 && one.sd.is_none() && one.interval.is_none());
    }

    #[test]
    fn same_seed_same_interval_other_seed_another() {
        let v: Vec<f64> = (0..50).map(|i| (i % 7) as f64).collect();
        let at = |seed| bootstrap_mean(&v, Bootstrap { seed, ..Default::default() }).unwrap();
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
    }

    #[test]
    fn undefined_draws_are_left_out() {
        let got = bootstrap(3, 2, Bootstrap::default(), |rows, out| {
            out[0] = if rows.contains(&0) { 1.0 } else { f64::NAN };
        });
        assert_eq!(got, [Some(Interval { low: 1.0, high: 1.0 }), None]);
    }

    #[test]
    fn pairing_removes_what_is_common() {
        // Rows differ wildly, but every row improves by about one.
        let before: Vec<f64> = (0..40).map(|i| (i * 37 % 100) as f64).collect();
        let after: Vec<f64> = before.iter().enumerate().map(|(i, b)| b + 1.0 + (i % 3) as f64 * 0.01).collect();
        let d = paired_difference(&before, &after, Bootstrap::default()).unwrap();
        assert!(d.interval.low > 0.99 && d.interval.high < 1.03 && (d.mean - 1.01).abs() < 0.01, "{d:?}");
    }

    #[test]
    fn interval_is_a_pair_in_json() {
        let i = Interval { low: 0.25, high: 0.5 };
        assert_eq!(serde_json::to_string(&i).unwrap(), "[0.25,0.5]");
        assert_eq!(serde_json::from_str::<Interval>("[0.25,0.5]").unwrap(), i);
    }
}
