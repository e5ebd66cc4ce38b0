//! Trust-region Newton method for smooth convex functions (Lin, Weng & Keerthi 2008, "Trust region Newton method for large-scale
//! logistic regression", the solver of LIBLINEAR), with conjugate gradients inside (Steihaug 1983) and a diagonal preconditioner.
//! Near the optimum it converges faster than linearly: the tight tolerance that reproducible weights need costs little.

/// What is minimised.
pub(super) trait Objective {
    /// Number of unknowns.
    fn len(&self) -> usize;
    /// The value at `w`; keeps what [`gradient`](Self::gradient) and [`hessian_times`](Self::hessian_times) need.
    fn value(&mut self, w: &[f64]) -> f64;
    /// Gradient at the `w` of the last `value`.
    fn gradient(&mut self, w: &[f64], out: &mut [f64]);
    /// The Hessian there times `v`.
    fn hessian_times(&mut self, v: &[f64], out: &mut [f64]);
    /// The Hessian's diagonal there, every entry positive.
    fn diagonal(&mut self, out: &mut [f64]);
}

/// How the search ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Largest entry of the gradient.
    pub gradient: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums: the compiler may use vectors, and the order is fixed.
    let mut sums = [0.0; 4];
    let (mut x, mut y) = (a.chunks_exact(4), b.chunks_exact(4));
    for (x, y) in (&mut x).zip(&mut y) {
        for i in 0..4 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f64>() + x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum::<f64>()
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m, x| x.abs().max(m))
}

/// Minimises from `w` until no entry of the gradient exceeds `tolerance`, or `iterations` steps.
pub(super) fn minimize(f: &mut dyn Objective, w: &mut [f64], tolerance: f64, iterations: usize) -> Outcome {
    let n = f.len();
    let mut gradient = vec![0.0; n];
    let mut diagonal = vec![1.0; n];
    let mut value = f.value(w);
    f.gradient(w, &mut gradient);
    let mut radius: Option<f64> = None;
    let mut trial = vec![0.0; n];
    let mut next_gradient = vec![0.0; n];
    let mut stuck = 0;
    for _ in 0..iterations {
        let most = largest(&gradient);
        if most <= tolerance || stuck > 3 {
            break;
        }
        f.diagonal(&mut diagonal);
        let norm = gradient.iter().zip(&diagonal).map(|(g, d)| g * g / d).sum::<f64>().sqrt();
        let delta = *radius.get_or_insert(norm);
        // Closer to the optimum the inner system is solved more exactly, for superlinear convergence.
        let forcing = (0.1f64).min(norm.sqrt()).max(1e-6);
        let (step, predicted, reached) = conjugate_gradients(f, &gradient, &diagonal, delta, forcing * norm);
        trial.iter_mut().zip(w.iter().zip(&step)).for_each(|(t, (w, s))| *t = w + s);
        let new = f.value(&trial);
        let actual = value - new;
        // In the last digits the values no longer tell: then the gradient decides.
        let fine = actual.abs() <= 1e-12 * value.abs().max(1.0);
        let ratio = if fine { 1.0 } else { actual / predicted };
        let accept = if fine {
            f.gradient(&trial, &mut next_gradient);
            largest(&next_gradient) < most
        } else {
            ratio > 1e-4
        };
        let length = step.iter().zip(&diagonal).map(|(s, d)| s * s * d).sum::<f64>().sqrt();
        radius = Some(if ratio < 0.25 {
            0.25 * length.min(delta)
        } else if ratio > 0.75 && reached {
            delta * 4.0
        } else {
            delta
        });
        if accept {
            w.copy_from_slice(&trial);
            value = new;
            if fine {
                std::mem::swap(&mut gradient, &mut next_gradient);
            } else {
                f.gradient(w, &mut gradient);
            }
            stuck = 0;
        } else {
            f.value(w); // brings back what the Hessian needs
            stuck += usize::from(fine);
        }
    }
    Outcome { gradient: largest(&gradient) }
}

/// Solves `H·s = -g` within the trust region (in the norm of the preconditioner): the step, the decrease that the quadratic model
/// predicts, and whether the region's border was met.
fn conjugate_gradients(f: &mut dyn Objective, gradient: &[f64], diagonal: &[f64], delta: f64, tolerance: f64) -> (Vec<f64>, f64, bool) {
    let n = gradient.len();
    let mut s = vec![0.0; n];
    let mut r: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut z: Vec<f64> = r.iter().zip(diagonal).map(|(r, d)| r / d).collect();
    let mut d = z.clone();
    let mut hd = vec![0.0; n];
    let mut rz = dot(&r, &z);
    let weighted = |a: &[f64], b: &[f64]| a.iter().zip(b).zip(diagonal).map(|((a, b), m)| a * b * m).sum::<f64>();
    let mut border = false;
    for _ in 0..n.clamp(10, 500) {
        if rz.sqrt() <= tolerance {
            break;
        }
        f.hessian_times(&d, &mut hd);
        let curvature = dot(&d, &hd);
        let alpha = if curvature > 0.0 { rz / curvature } else { f64::INFINITY };
        let (sd, dd, ss) = (weighted(&s, &d), weighted(&d, &d), weighted(&s, &s));
        if !alpha.is_finite() || ss + alpha * (2.0 * sd + alpha * dd) >= delta * delta {
            // To the border: the positive root of ‖s + τ·d‖ = δ.
            let root = (sd * sd + dd * (delta * delta - ss).max(0.0)).sqrt();
            let tau = if dd > 0.0 { (root - sd) / dd } else { 0.0 };
            s.iter_mut().zip(&d).for_each(|(s, d)| *s += tau * d);
            r.iter_mut().zip(&hd).for_each(|(r, h)| *r -= tau * h);
            border = true;
            break;
        }
        s.iter_mut().zip(&d).for_each(|(s, d)| *s += alpha * d);
        r.iter_mut().zip(&hd).for_each(|(r, h)| *r -= alpha * h);
        z.iter_mut().zip(r.iter().zip(diagonal)).for_each(|(z, (r, m))| *z = r / m);
        let new = dot(&r, &z);
        let beta = new / rz;
        rz = new;
        d.iter_mut().zip(&z).for_each(|(d, z)| *d = z + beta * *d);
    }
    // m(0) - m(s) = ½·s·(r - g), with r = -g - H·s.
    let predicted = 0.5 * (dot(&s, &r) - dot(&s, gradient));
    (s, predicted, border)
}
