//! The classes of a classification task: their names, what they are called in the data, and the text that the model writes for them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::de;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::scalar::Scalar;
use super::short_form;
use super::source::also_string;

/// What one class is called in the data and in the model's mouth. A plain string is the text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = also_string)]
pub struct LabelSpec {
    /// Values of the label column that mean this class, compared loosely (`0` equals `"0"`). The class's own name always does,
    /// unless another class lists it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Scalar>,
    /// The text that follows the prompt. If not given: the name, after a space where the prompt ends in ASCII without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

short_form!(LabelSpec, "the label's text, or {from: [values in the data], text: \" what the model writes\"}", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(LabelSpec { from: Vec::new(), text: Some(text.to_owned()) })
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(LabelSpec::default())
    }
});

/// The classes in the recipe's order: a map of name to [`LabelSpec`], or a list of names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelSet {
    entries: Vec<(String, LabelSpec)>,
}

/// Why a value of the label column is no class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolve {
    /// Null or empty: the row has no label.
    Missing,
    /// A value that no class lists.
    Unknown(String),
}

impl LabelSet {
    /// Classes from names and what they mean; the checks are those of [`LabelSet::validate`].
    pub fn new(entries: Vec<(String, LabelSpec)>) -> Result<Self, String> {
        let set = LabelSet { entries };
        set.validate()?;
        Ok(set)
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names in the recipe's order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// The classes in the recipe's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &LabelSpec)> {
        self.entries.iter().map(|(name, spec)| (name.as_str(), spec))
    }

    /// The text that follows `prompt` for each class, in order.
    pub fn texts(&self, prompt: &str) -> Vec<String> {
        // "Sentiment:" wants " positive"; "Sentiment: " has its space already; "情感：" needs none.
        let glue = if prompt.ends_with(|c: char| c.is_ascii() && !c.is_ascii_whitespace()) { " " } else { "" };
        self.iter().map(|(name, spec)| spec.text.clone().unwrap_or_else(|| format!("{glue}{name}"))).collect()
    }

    /// The class that a value of the label column means: listed values first, then the classes' own names.
    pub fn resolve(&self, value: &Value) -> Result<&str, Resolve> {
        let shown = match value {
            Value::Null => return Err(Resolve::Missing),
            Value::String(s) if s.trim().is_empty() => return Err(Resolve::Missing),
            Value::String(s) => s.trim().to_owned(),
            // `["neg"]`: one label in a list, as doccano exports it.
            Value::Array(items) if items.len() == 1 => return self.resolve(&items[0]),
            other => other.to_string(),
        };
        let listed = self.iter().find(|(_, spec)| spec.from.iter().any(|from| from.matches(value)));
        let found = listed.or_else(|| self.iter().find(|(name, _)| *name == shown));
        found.map(|(name, _)| name).ok_or(Resolve::Unknown(shown))
    }

    /// Adds another value that means the class `name` (`--label-map pos=positive`). The new meaning wins over what was listed before.
    pub fn add_alias(&mut self, from: &str, name: &str) -> Result<(), String> {
        let known = self.known();
        let value = Value::String(from.to_owned());
        if !self.entries.iter().any(|(n, _)| n == name) {
            return Err(format!("{name:?} is no label of the task; it has: {}", self.names().collect::<Vec<_>>().join(", ")));
        }
        for (n, spec) in &mut self.entries {
            spec.from.retain(|s| !s.matches(&value));
            if n == name {
                spec.from.push(Scalar::Text(from.to_owned()));
            }
        }
        self.validate().map_err(|e| format!("{e} (known before: {known})"))
    }

    /// What the data may hold, for messages: `0, neg → negative; 1, pos → positive`.
    pub fn known(&self) -> String {
        let one = |(name, spec): (&str, &LabelSpec)| {
            let mut values: Vec<String> = spec.from.iter().map(Scalar::to_string).collect();
            if values.is_empty() {
                return name.to_owned();
            }
            if !values.iter().any(|v| v == name) {
                values.push(name.to_owned());
            }
            format!("{} → {name}", values.join(", "))
        };
        self.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Whether the classes can be told apart; an error says which cannot.
    pub fn validate(&self) -> Result<(), String> {
        if self.entries.len() < 2 {
            return Err(format!("a classification needs at least two labels, here are {}", self.entries.len()));
        }
        let mut names = BTreeSet::new();
        for (name, spec) in &self.entries {
            if name.trim().is_empty() {
                return Err("a label has an empty name".to_owned());
            }
            if !names.insert(name) {
                return Err(format!("the label {name:?} is there twice"));
            }
            if spec.text.as_deref().is_some_and(str::is_empty) {
                return Err(format!("the label {name:?} has an empty text: the model could not write it"));
            }
        }
        let texts = self.texts(":");
        for (i, (name, spec)) in self.entries.iter().enumerate() {
            for (j, (other, other_spec)) in self.entries.iter().enumerate().skip(i + 1) {
                if texts[i] == texts[j] {
                    return Err(format!("the labels {name:?} and {other:?} have the same text {:?}", texts[i]));
                }
                let clash = spec.from.iter().find(|a| other_spec.from.iter().any(|b| same(a, b)));
                if let Some(value) = clash {
                    return Err(format!("the value {value} means both {name:?} and {other:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Whether two listed values would match the same data.
fn same(a: &Scalar, b: &Scalar) -> bool {
    let as_value = |s: &Scalar| serde_json::to_value(s).unwrap_or(Value::Null);
    a.matches(&as_value(b)) || b.matches(&as_value(a))
}

impl fmt::Display for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Resolve::Missing => f.write_str("empty"),
            Resolve::Unknown(value) => write!(f, "unknown label {value:?}"),
        }
    }
}

impl Serialize for LabelSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (name, spec) in &self.entries {
            map.serialize_entry(name, spec)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for LabelSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = LabelSet;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("labels as {name: {from: [...], text: \"...\"}, ...} or as a list of names")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, spec)) = map.next_entry::<Name, LabelSpec>()? {
                    entries.push((name.0, spec));
                }
                LabelSet::new(entries).map_err(de::Error::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = seq.next_element::<Name>()? {
                    entries.push((name.0, LabelSpec::default()));
                }
                LabelSet::new(entries).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A label's name, which YAML may have taken for a number or a truth value (`0:`, `true:`).
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Null => Err(de::Error::custom("a label needs a name")),
            scalar => Ok(Name(scalar.to_string())),
        }
    }
}

impl JsonSchema for LabelSet {
    fn schema_name() -> Cow<'static, str> {
        "LabelSet".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let label = generator.subschema_for::<LabelSpec>();
        schemars::json_schema!({
            "description": "The classes: {name: {from: [values in the data], text: what the model writes}}, or a list of names.",
            "anyOf": [
                {"type": "object", "additionalProperties": label, "minProperties": 2},
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 2}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(value: Value) -> LabelSet {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn values_of_any_spelling_resolve_in_the_order_of_the_recipe() {
        let set = labels(json!({"positive": {"from": [1, "pos"], "text": " positive"}, "negative": {"from": [0, "neg"]}}));
        assert_eq!(set.names().collect::<Vec<_>>(), ["positive", "negative"]);
        for (value, name) in [
            (json!(1), "positive"),
            (json!("1"), "positive"),
            (json!("neg"), "negative"),
            (json!("negative"), "negative"),
            (json!(["pos"]), "positive"),
        ] {
            assert_eq!(set.resolve(&value), Ok(name));
        }
        assert_eq!(set.resolve(&json!("")), Err(Resolve::Missing));
        assert_eq!(set.resolve(&json!(2)), Err(Resolve::Unknown("2".into())));
        assert_eq!(set.known(), "1, pos, positive → positive; 0, neg, negative → negative");
    }

    #[test]
    fn texts_follow_the_prompt() {
        let set = labels(json!(["好评", "差评"]));
        assert_eq!(set.texts("Sentiment:"), [" 好评", " 差评"]);
        assert_eq!(set.texts("情感："), ["好评", "差评"]);
        assert_eq!(set.texts("Label: "), ["好评", "差评"]);
    }

    #[test]
    fn numbers_and_truth_values_are_names_too() {
        assert_eq!(labels(json!([0, 1])).resolve(&json!("1")), Ok("1"));
        assert_eq!(labels(json!([true, false])).resolve(&json!(true)), Ok("true"));
    }

    #[test]
    fn labels_that_cannot_be_told_apart_are_refused() {
        for bad in [
            json!(["a"]),
            json!(["a", "a"]),
            json!({"a": {"from": [0]}, "b": {"from": ["0"]}}),
            json!({"a": " x", "b": " x"}),
            json!({"a": "", "b": " x"}),
        ] {
            assert!(serde_json::from_value::<LabelSet>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_alias_wins_over_what_was_listed() {
        let mut set = labels(json!({"negative": {"from": [0]}, "positive": {"from": [1]}}));
        set.add_alias("1", "negative").unwrap();
        set.add_alias("好", "positive").unwrap();
        assert_eq!(set.resolve(&json!(1)), Ok("negative"));
        assert_eq!(set.resolve(&json!("好")), Ok("positive"));
        assert!(set.add_alias("x", "neutral").unwrap_err().contains("negative, positive"));
    }
}
