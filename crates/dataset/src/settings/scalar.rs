//! Scalars of a recipe and how they compare with what data files hold.
//!
//! A YAML file says `0`, a CSV file says `"0"`, a Parquet file says the integer 0, and all three mean the same class. Comparison is
//! therefore loose, but not sloppy: `"007"` and `"7"`, both written as text, stay different.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A plain value in a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `null`: the column is absent, null or empty.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
}

impl Scalar {
    /// Whether a value of a data row means this scalar: texts compare exactly (outer white space aside), numbers by value, and a
    /// number or truth value also equals the text that spells it (`0` and `"0"`, `true` and `"True"`).
    pub fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Scalar::Null, value) => value.is_null() || value.as_str().is_some_and(|s| s.trim().is_empty()),
            (_, Value::Null | Value::Array(_) | Value::Object(_)) => false,
            (Scalar::Text(text), Value::String(s)) => text.trim() == s.trim(),
            (Scalar::Text(text), Value::Number(n)) => n.to_string() == text.trim() || numbers_equal(n.as_f64(), text.trim().parse().ok()),
            (Scalar::Text(text), Value::Bool(b)) => spells(text, *b),
            (Scalar::Bool(b), Value::Bool(v)) => b == v,
            (Scalar::Bool(b), Value::String(s)) => spells(s, *b),
            (Scalar::Bool(_), Value::Number(_)) | (Scalar::Int(_) | Scalar::Float(_), Value::Bool(_)) => false,
            (Scalar::Int(i), Value::Number(n)) if n.is_i64() => n.as_i64() == Some(*i),
            (Scalar::Int(i), Value::Number(n)) => numbers_equal(n.as_f64(), Some(*i as f64)),
            (Scalar::Int(i), Value::String(s)) => match s.trim().parse::<i64>() {
                Ok(v) => v == *i,
                Err(_) => numbers_equal(s.trim().parse().ok(), Some(*i as f64)),
            },
            (Scalar::Float(x), Value::Number(n)) => numbers_equal(n.as_f64(), Some(*x)),
            (Scalar::Float(x), Value::String(s)) => numbers_equal(s.trim().parse().ok(), Some(*x)),
        }
    }
}

fn numbers_equal(a: Option<f64>, b: Option<f64>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a == b)
}

fn spells(text: &str, value: bool) -> bool {
    text.trim().eq_ignore_ascii_case(if value { "true" } else { "false" })
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Scalar::Null => f.write_str("null"),
            Scalar::Bool(b) => b.fmt(f),
            Scalar::Int(i) => i.fmt(f),
            Scalar::Float(x) => x.fmt(f),
            Scalar::Text(s) => f.write_str(s),
        }
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Scalar::Text(text.to_owned())
    }
}

/// What a `where` filter asks of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// The value is this one.
    Is(Scalar),
    /// The value is one of these.
    In(Vec<Scalar>),
    /// The value is none of these.
    Not(NotIn),
}

/// `{not: value}` or `{not: [value, …]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotIn {
    not: OneOrMany,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

impl Condition {
    /// Everything but these values.
    pub fn none_of(values: Vec<Scalar>) -> Self {
        Condition::Not(NotIn { not: OneOrMany::Many(values) })
    }

    /// Whether a row with this value of the column passes; an absent column counts as null.
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Condition::Is(scalar) => scalar.matches(value),
            Condition::In(scalars) => scalars.iter().any(|s| s.matches(value)),
            Condition::Not(NotIn { not: OneOrMany::One(scalar) }) => !scalar.matches(value),
            Condition::Not(NotIn { not: OneOrMany::Many(scalars) }) => !scalars.iter().any(|s| s.matches(value)),
        }
    }
}

// By hand: an untagged enum's derived schema would say `anyOf` with a nameless object; this one documents the forms.
impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let scalar = generator.subschema_for::<Scalar>();
        let not = generator.subschema_for::<NotIn>();
        schemars::json_schema!({
            "description": "A value, a list of values (any of them), or {not: value or list}. Values compare loosely: 0 equals \"0\".",
            "anyOf": [scalar, {"type": "array", "items": scalar}, not]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_compare_loosely_across_types() {
        let equal = [
            (Scalar::Int(0), json!("0")),
            (Scalar::Int(0), json!(0)),
            (Scalar::Int(1), json!(1.0)),
            (Scalar::Int(1), json!("1.0")),
            (Scalar::Bool(true), json!("True")),
            (Scalar::Bool(false), json!(false)),
            (Scalar::Text("0".into()), json!(0)),
            (Scalar::Text("true".into()), json!(true)),
            (Scalar::Text("好评".into()), json!(" 好评 ")),
            (Scalar::Float(0.5), json!("0.50")),
            (Scalar::Null, json!(null)),
            (Scalar::Null, json!("  ")),
            (Scalar::Int(i64::MAX), json!("9223372036854775807")),
        ];
        for (scalar, value) in equal {
            assert!(scalar.matches(&value), "{scalar:?} {value:?}");
        }
        let different = [
            (Scalar::Int(0), json!("")),
            (Scalar::Int(0), json!(null)),
            (Scalar::Int(1), json!(true)),
            (Scalar::Bool(true), json!(1)),
            (Scalar::Text("7".into()), json!("007")),
            (Scalar::Text("a".into()), json!("A")),
            (Scalar::Text("好评".into()), json!("差评")),
            (Scalar::Int(i64::MAX), json!("9223372036854775806")),
            (Scalar::Text("x".into()), json!(["x"])),
            (Scalar::Null, json!(0)),
        ];
        for (scalar, value) in different {
            assert!(!scalar.matches(&value), "{scalar:?} {value:?}");
        }
    }

    #[test]
    fn conditions_read_from_every_form() {
        let read = |v: Value| serde_json::from_value::<Condition>(v).unwrap();
        assert!(read(json!("a")).accepts(&json!("a")));
        assert!(read(json!([0, "neg"])).accepts(&json!("neg")));
        assert!(!read(json!([0, "neg"])).accepts(&json!("pos")));
        assert!(read(json!({"not": -1})).accepts(&json!("3")));
        assert!(!read(json!({"not": [-1, "?"]})).accepts(&json!("?")));
        assert!(read(json!(null)).accepts(&Value::Null));
        assert!(serde_json::from_value::<Condition>(json!({"nott": 1})).is_err());
    }
}
