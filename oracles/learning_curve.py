"""Power laws through learning curves by scipy: what `annotate::forecast` is compared with.

Needs scipy. Prints the values of `SCIPY` in crates/annotate/src/forecast.rs:

    python oracles/learning_curve.py
"""

import numpy as np
from scipy.optimize import least_squares

SIZES = np.array([30, 50, 80, 120, 160, 200], float)
CURVES = [
    [0.52, 0.56, 0.60, 0.63, 0.645, 0.655],
    [0.70, 0.78, 0.83, 0.86, 0.875, 0.885],
    [0.50, 0.55, 0.53, 0.58, 0.57, 0.60],
    [0.90, 0.91, 0.905, 0.912, 0.91, 0.911],
]


def fit(accuracy):
    """Least squares of a + b n^-c with weights j/m, a in [0, 1], b >= 0, c in [0.1, 1.5]; the best of several beginnings."""
    error = 1 - np.array(accuracy)
    weights = np.sqrt(np.arange(1, len(SIZES) + 1) / len(SIZES))

    def residuals(p):
        return weights * (p[0] + p[1] * SIZES ** -p[2] - error)

    best = None
    for c in (0.1, 0.2, 0.3, 0.5, 0.8, 1.2):
        found = least_squares(residuals, [0.05, 0.5, c], bounds=([0, 0, 0.1], [1, np.inf, 1.5]), xtol=1e-15, ftol=1e-15, gtol=1e-15)
        if best is None or found.cost < best.cost:
            best = found
    return best.x


for curve in CURVES:
    a, b, c = fit(curve)
    at = [1 - a - b * n**-c for n in (250, 350)]
    print(f"({curve}, {at[0]:.6f}, {at[1]:.6f}),  # {a:.4f} {b:.4f} {c:.4f}")
