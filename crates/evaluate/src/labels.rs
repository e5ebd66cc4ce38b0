//! Class names in a fixed order, and the mapping of another file's names onto them.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// A value for each label, in the task's order; in JSON an object with the labels as keys in that order.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled<T>(Vec<(String, T)>);

impl<T> Default for Labelled<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Labelled<T> {
    /// Pairs each label with its value.
    pub fn new(entries: impl IntoIterator<Item = (String, T)>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// The value of a label.
    pub fn get(&self, label: &str) -> Option<&T> {
        self.0.iter().find(|e| e.0 == label).map(|e| &e.1)
    }

    /// Labels with values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.0.iter().map(|e| (e.0.as_str(), &e.1))
    }

    /// How many labels.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Labelled<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for (k, v) in &self.0 {
            map.serialize_entry(k, v)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Labelled<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Labelled<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with labels as keys")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Labelled(entries))
            }
        }
        d.deserialize_map(Entries(PhantomData))
    }
}

/// Another data set's label names mapped onto the task's: `pos=positive,neg=negative`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelMap(BTreeMap<String, String>);

/// A `--label-map` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelMapError {
    /// A part without `=`.
    #[error("label map: `{part}` is not of the form THEIRS=OURS (several are separated by commas: pos=positive,neg=negative)")]
    Form {
        /// The part.
        part: String,
    },
    /// The same name twice with different targets.
    #[error("label map: `{from}` is mapped to both `{first}` and `{second}`")]
    Conflict {
        /// The name.
        from: String,
        /// Its first target.
        first: String,
        /// Its second target.
        second: String,
    },
    /// A target that the task does not have.
    #[error("label map: `{from}={to}`: the task has no label `{to}`; its labels are {labels}")]
    Unknown {
        /// The mapped name.
        from: String,
        /// The target.
        to: String,
        /// The task's labels.
        labels: String,
    },
}

impl LabelMap {
    /// Reads `theirs=ours` pairs separated by commas. White space around names is dropped; an empty text is an
    /// empty map.
    pub fn parse(text: &str) -> Result<Self, LabelMapError> {
        let mut map = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (from, to) = part
                .split_once('=')
                .map(|(a, b)| (a.trim(), b.trim()))
                .filter(|(a, b)| !a.is_empty() && !b.is_empty())
                .ok_or_else(|| LabelMapError::Form { part: part.into() })?;
            if let Some(first) = map.insert(from.to_owned(), to.to_owned()).filter(|first| first != to) {
                return Err(LabelMapError::Conflict { from: from.into(), first, second: to.into() });
            }
        }
        Ok(Self(map))
    }

    /// Checks that every target is one of the task's labels.
    pub fn check(&self, labels: &[String]) -> Result<(), LabelMapError> {
        match self.0.iter().find(|(_, to)| !labels.contains(to)) {
            None => Ok(()),
            Some((from, to)) => Err(LabelMapError::Unknown { from: from.clone(), to: to.clone(), labels: labels.join(", ") }),
        }
    }

    /// The task's name for a name of the data; a name that is not mapped stays.
    pub fn apply<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }

    /// (theirs, ours) in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(a, b)| (a.as_str(), b.as_str()))
    }

    /// True if nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_order_in_json() {
        let l = Labelled::new([("z".to_owned(), 1), ("a".to_owned(), 2), ("中".to_owned(), 3)]);
        let json = serde_json::to_string(&l).unwrap();
        assert_eq!(json, r#"{"z":1,"a":2,"中":3}"#);
        assert_eq!(serde_json::from_str::<Labelled<i32>>(&json).unwrap(), l);
        assert_eq!((l.get("a"), l.get("b")), (Some(&2), None));
    }

    #[test]
    fn maps_are_read_and_applied() {
        let m = LabelMap::parse(" pos = positive,neg=negative,积极=positive,").unwrap();
        assert_eq!((m.apply("pos"), m.apply("积极"), m.apply("other")), ("positive", "positive", "other"));
        m.check(&["positive".into(), "negative".into()]).unwrap();
        assert!(LabelMap::parse("").unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        assert!(LabelMap::parse("pos").unwrap_err().to_string().contains("`pos`"));
        assert!(LabelMap::parse("=x").is_err());
        assert!(LabelMap::parse("a=x,a=y").unwrap_err().to_string().contains("both `x` and `y`"));
        assert_eq!(LabelMap::parse("a=x,a=x").unwrap().iter().count(), 1);
        let e = LabelMap::parse("a=x").unwrap().check(&["p".into(), "q".into()]).unwrap_err().to_string();
        assert!(e.contains("no label `x`") && e.contains("p, q"), "{e}");
    }
}
