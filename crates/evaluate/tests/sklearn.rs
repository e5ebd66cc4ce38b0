//! Metrics and intervals against scikit-learn and SciPy: values by `oracles/metrics_sklearn.py`.

use evaluate::intervals::{self, Bootstrap};
use evaluate::results::{Decision, classification_report};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("data/metrics_sklearn.json")).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(got: f64, want: &Value, what: &str) {
    let want = want.as_f64().unwrap();
    assert!((got - want).abs() < 1e-10, "{what}: {got} instead of {want}");
}

#[test]
fn classification_metrics_equal_scikit_learn() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let k = case["classes"].as_u64().unwrap() as usize;
        let labels: Vec<String> = (0..k).map(|i| format!("class {i}")).collect();
        let (gold, pred) = (numbers(&case["gold"]), numbers(&case["predicted"]));
        let rows: Vec<Decision> = (0..gold.len())
            .map(|i| Decision {
                gold: gold[i] as usize,
                predicted: pred[i] as usize,
                gold_probability: numbers(&case["prob"][i])[gold[i] as usize],
            })
            .collect();
        let r = classification_report(&labels, &rows, Bootstrap { resamples: 20, ..Default::default() });
        assert_eq!(r.n, rows.len());
        close(r.accuracy.unwrap(), &case["accuracy"], name);
        close(r.loss.unwrap(), &case["log_loss"], name);
        for (got, want) in [(r.macro_avg.unwrap(), &case["macro"]), (r.micro_avg.unwrap(), &case["micro"])] {
            close(got.precision, &want["precision"], name);
            close(got.recall, &want["recall"], name);
            close(got.f1, &want["f1"], name);
        }
        for (i, (label, got)) in r.per_class.unwrap().iter().enumerate() {
            let want = &case["per_class"][i];
            close(got.precision, &want["precision"], &format!("{name}, {label}"));
            close(got.recall, &want["recall"], &format!("{name}, {label}"));
            close(got.f1, &want["f1"], &format!("{name}, {label}"));
            assert_eq!(got.support, want["support"].as_u64().unwrap());
        }
        let confusion: Vec<Vec<f64>> = r.confusion.unwrap().iter().map(|(_, row)| row.iter().map(|(_, c)| *c as f64).collect()).collect();
        let want: Vec<Vec<f64>> = case["confusion"].as_array().unwrap().iter().map(numbers).collect();
        assert_eq!(confusion, want, "{name}");
    }
}

#[test]
fn t_intervals_equal_scipy() {
    for m in golden()["means"].as_array().unwrap() {
        let got = intervals::mean_interval(&numbers(&m["values"]), 0.95).unwrap();
        close(got.mean, &m["mean"], "mean");
        close(got.sd.unwrap(), &m["sd"], "sd");
        close(got.interval.unwrap().low, &m["low"], "low");
        close(got.interval.unwrap().high, &m["high"], "high");
    }
}

#[test]
fn t_quantiles_equal_scipy_for_odd_and_even_degrees() {
    // Through the public function: for n values with mean 0 and sd 1 the half width is t / sqrt(n).
    for q in golden()["t_quantiles"].as_array().unwrap() {
        let (df, p) = (q["df"].as_u64().unwrap() as usize, q["p"].as_f64().unwrap());
        let n = df + 1;
        let mut x: Vec<f64> = (0..n).map(|i| i as f64 - df as f64 / 2.0).collect();
        let sd = (x.iter().map(|v| v * v).sum::<f64>() / df as f64).sqrt();
        x.iter_mut().for_each(|v| *v /= sd);
        let got = intervals::mean_interval(&x, 2.0 * p - 1.0).unwrap().interval.unwrap().high * (n as f64).sqrt();
        let want = q["t"].as_f64().unwrap();
        assert!((got - want).abs() < 1e-8 * want.max(1.0), "t({p}, {df}) = {got} instead of {want}");
    }
}

#[test]
fn wilson_equals_scipy() {
    for w in golden()["wilson"].as_array().unwrap() {
        let got = intervals::wilson(w["hits"].as_u64().unwrap(), w["n"].as_u64().unwrap(), 0.95).unwrap();
        assert!((got.low - w["low"].as_f64().unwrap()).abs() < 1e-9, "{got:?} {w}");
        assert!((got.high - w["high"].as_f64().unwrap()).abs() < 1e-9, "{got:?} {w}");
    }
}

#[test]
fn quantiles_equal_numpy() {
    let golden = golden();
    let mut values = numbers(&golden["quantile"]["values"]);
    values.sort_by(f64::total_cmp);
    for q in golden["quantile"]["q"].as_array().unwrap() {
        close(intervals::quantile(&values, q["p"].as_f64().unwrap()), &q["value"], "quantile");
    }
}

#[test]
fn bootstrap_agrees_with_scipy_within_its_own_noise() {
    let golden = golden();
    let b = &golden["bootstrap"];
    let got = intervals::bootstrap_mean(&numbers(&b["values"]), Bootstrap::default()).unwrap();
    // Standard error of the mean is about 0.016; the ends of 2,000 draws scatter by a tenth of that.
    assert!((got.low - b["low"].as_f64().unwrap()).abs() < 0.004, "{got:?} {}", b["low"]);
    assert!((got.high - b["high"].as_f64().unwrap()).abs() < 0.004, "{got:?} {}", b["high"]);
}
