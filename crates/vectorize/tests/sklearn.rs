//! The same numbers as scikit-learn's and jieba's (`oracles/vectorize_sklearn.py`).

use serde_json::{Value, json};
use vectorize::learn::calibrate::Curve;
use vectorize::learn::{CalibrationMethod, LinearSvm, LogisticRegression, NaiveBayes};
use vectorize::terms::{HashingSettings, hash};
use vectorize::{AnalyzerSettings, Features, Learner, Norm, StopWords, TermSettings, TermVectorizer, Unit, Weighting};

fn golden() -> Value {
    serde_json::from_str(include_str!("data/sklearn.json")).unwrap()
}

fn strings(v: &Value) -> Vec<String> {
    v.as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect()
}

fn read<T: serde::de::DeserializeOwned>(v: &Value) -> T {
    serde_json::from_value(v.clone()).unwrap()
}

fn analyzer(s: &Value) -> AnalyzerSettings {
    let mut out = AnalyzerSettings::default();
    let get = |name: &str| s.get(name).filter(|v| !v.is_null());
    if let Some(v) = get("analyzer") {
        out.unit = read::<Unit>(v);
    }
    if let Some(v) = get("ngram_range") {
        out.ngram_range = read(v);
    }
    if let Some(v) = get("lowercase") {
        out.lowercase = read(v);
    }
    out.strip_accents = get("strip_accents").map(read);
    out.token_pattern = get("token_pattern").map(read);
    out.stop_words = match get("stop_words") {
        None => StopWords::None,
        Some(Value::String(_)) => StopWords::English,
        Some(list) => StopWords::List(strings(list)),
    };
    out
}

fn norm(s: &Value, default: Norm) -> Norm {
    match s.get("norm") {
        None => default,
        Some(Value::Null) => Norm::None,
        Some(v) => read(v),
    }
}

fn check(name: &str, got: &Features, want: &Value) {
    let want = want.as_array().unwrap();
    assert_eq!(got.rows(), want.len(), "{name}");
    for (i, row) in want.iter().enumerate() {
        let (columns, values): (Vec<u32>, Vec<f64>) = (read(&row[0]), numbers(&row[1]));
        assert_eq!(got.row(i).0, columns, "{name}: row {i}");
        for (a, b) in got.row(i).1.iter().zip(values) {
            assert!((a - b).abs() < 1e-9, "{name}: row {i}: {a} for {b}");
        }
    }
}

#[test]
fn rows_are_scikit_learn_s() {
    let golden = golden();
    let texts = |language: &str| strings(&golden[if language == "zh" { "chinese" } else { "english" }]);
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let (name, s) = (case["name"].as_str().unwrap(), &case["settings"]);
        let texts = texts(case["language"].as_str().unwrap());
        let flag = |key: &str, default: bool| s.get(key).map_or(default, |v| v.as_bool().unwrap());
        if case["kind"] == "hashing" {
            let settings = HashingSettings {
                analyzer: analyzer(s),
                n_features: read(&s["n_features"]),
                alternate_sign: flag("alternate_sign", true),
                binary: flag("binary", false),
                norm: norm(s, Norm::L2),
            };
            check(name, &hash(&settings, &texts).unwrap(), &case["rows"]);
            continue;
        }
        let weighting = if case["kind"] == "counts" {
            Weighting::counts()
        } else {
            Weighting {
                norm: norm(s, Norm::L2),
                use_idf: flag("use_idf", true),
                smooth_idf: flag("smooth_idf", true),
                sublinear_tf: flag("sublinear_tf", false),
            }
        };
        let defaults = TermSettings::default();
        let settings = TermSettings {
            analyzer: analyzer(s),
            min_df: s.get("min_df").map_or(defaults.min_df, read),
            max_df: s.get("max_df").map_or(defaults.max_df, read),
            max_features: None,
            binary: flag("binary", false),
            weighting,
        };
        let (vectorizer, rows) = TermVectorizer::fit_transform(&settings, &texts).unwrap();
        assert_eq!(vectorizer.terms().iter().collect::<Vec<_>>(), strings(&case["terms"]), "{name}");
        check(name, &rows, &case["rows"]);
        check(name, &vectorizer.transform(&texts), &case["rows"]);
    }
}

#[test]
fn classifiers_are_scikit_learn_s() {
    let golden = golden();
    let (_, x) = TermVectorizer::fit_transform(&TermSettings::default(), &strings(&golden["english"])).unwrap();
    for case in golden["learners"].as_array().unwrap() {
        let y: Vec<u32> = read(&case["y"]);
        let classes = *y.iter().max().unwrap() as usize + 1;
        let weights: Option<Vec<f64>> = case.get("weights").filter(|w| !w.is_null()).map(numbers);
        let c = case.get("c").map_or(1.0, |c| c.as_f64().unwrap());
        let learner: Box<dyn Learner> = match case["learner"].as_str().unwrap() {
            "logistic" => Box::new(LogisticRegression { c, balanced: case["balanced"] == json!(true), ..Default::default() }),
            "svm" => Box::new(LinearSvm { c, ..Default::default() }),
            name => Box::new(NaiveBayes { alpha: case["alpha"].as_f64().unwrap(), complement: name == "complement-nb" }),
        };
        let name = format!("{} {}", learner.name(), case["name"]);
        let model = learner.fit(&x, &y, weights.as_deref(), classes).unwrap();
        let within = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{name}: {a} for {b}");
        if let Some(coef) = case.get("coef") {
            let linear = model.linear().unwrap();
            for (k, row) in coef.as_array().unwrap().iter().enumerate() {
                numbers(row).iter().enumerate().for_each(|(c, &w)| within(linear.weights[c * linear.outputs + k], w));
            }
            numbers(&case["intercept"]).iter().zip(&linear.intercepts).for_each(|(&a, &b)| within(b, a));
        }
        if let Some(proba) = case.get("proba") {
            let p = model.predict_proba(&x);
            for (i, row) in proba.as_array().unwrap().iter().enumerate() {
                numbers(row).iter().zip(p.row(i)).for_each(|(&a, &b)| within(b, a));
            }
        }
    }
}

#[test]
fn curves_are_scikit_learn_s() {
    let golden = golden();
    let g = &golden["curves"];
    let (scores, asked) = (numbers(&g["scores"]), numbers(&g["asked"]));
    let truth: Vec<bool> = read::<Vec<u8>>(&g["truth"]).into_iter().map(|t| t == 1).collect();
    for (method, key) in [(CalibrationMethod::Sigmoid, "sigmoid"), (CalibrationMethod::Isotonic, "isotonic")] {
        let curve = Curve::fit(method, &scores, &truth, &vec![1.0; scores.len()]);
        for (&x, want) in asked.iter().zip(numbers(&g[key])) {
            assert!((curve.at(x) - want).abs() < 1e-4, "{key} at {x}: {} for {want}", curve.at(x));
        }
    }
}
