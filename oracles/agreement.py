"""Agreement coefficients of scikit-learn, statsmodels and krippendorff for crates/annotate/tests/data/agreement.json.

Needs: scikit-learn, statsmodels, krippendorff, numpy. Run: python oracles/agreement.py > crates/annotate/tests/data/agreement.json
"""

import json

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

rng = np.random.default_rng(4)
cases = []
for classes, items, raters in [(2, 30, 3), (3, 50, 4), (5, 40, 5)]:
    truth = rng.integers(0, classes, items)
    votes = np.where(rng.random((raters, items)) < 0.6, truth, rng.integers(0, classes, (raters, items)))
    missing = rng.random((raters, items)) < 0.25
    units = [[int(votes[r, i]) for r in range(raters) if not missing[r, i]] for i in range(items)]
    data = np.where(missing, np.nan, votes.astype(float))
    rows = [[int((votes[:, i] == c).sum()) for c in range(classes)] for i in range(items)]
    cases.append(
        {
            "classes": classes,
            "a": votes[0].tolist(),
            "b": votes[1].tolist(),
            "cohen": cohen_kappa_score(votes[0], votes[1], labels=list(range(classes))),
            "fleiss_rows": rows,
            "fleiss": fleiss_kappa(np.array(rows), method="fleiss"),
            "units": units,
            "krippendorff": krippendorff.alpha(reliability_data=data, level_of_measurement="nominal", value_domain=list(range(classes))),
        }
    )
print(json.dumps({"cases": cases}))
