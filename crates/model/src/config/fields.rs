//! Typed access to a JSON object, with errors that name file and field.

use crate::error::{ModelError, Result};
use serde_json::{Map, Value};

/// The fields of one JSON object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) file: &'a str,
    /// In front of field names in errors: `rope_scaling.` for a nested object.
    pub(super) prefix: &'a str,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn error(&self, field: &str, reason: impl Into<String>) -> ModelError {
        ModelError::config(self.file, format!("{}{field}", self.prefix), reason)
    }

    pub(super) fn unsupported(&self, field: &str, value: &Value, supported: impl Into<String>) -> ModelError {
        ModelError::Unsupported {
            file: self.file.into(),
            field: format!("{}{field}", self.prefix),
            value: value.to_string(),
            supported: supported.into(),
        }
    }

    /// The value, unless absent or null.
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    fn typed<T>(&self, field: &str, kind: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        self.get(field).map(|v| read(v).ok_or_else(|| self.error(field, format!("{kind} is expected, found {v}")))).transpose()
    }

    pub(super) fn usize(&self, field: &str) -> Result<Option<usize>> {
        // some published files hold 2048.0
        self.typed(field, "a whole number", |v| {
            v.as_u64().or_else(|| v.as_f64().filter(|f| *f >= 0.0 && f.fract() == 0.0).map(|f| f as u64)).map(|n| n as usize)
        })
    }

    /// A size: present, not zero, not absurd.
    pub(super) fn size(&self, field: &str) -> Result<usize> {
        self.size_up_to(field, super::MAX_SIZE)
    }

    /// A number of layers, which lists are made for.
    pub(super) fn layers(&self, field: &str) -> Result<usize> {
        self.size_up_to(field, super::MAX_LAYERS)
    }

    fn size_up_to(&self, field: &str, most: usize) -> Result<usize> {
        match self.usize(field)? {
            None => Err(self.error(field, "the field is missing")),
            Some(0) => Err(self.error(field, "must not be zero")),
            Some(n) if n > most => Err(self.error(field, format!("{n} is more than any model has ({most})"))),
            Some(n) => Ok(n),
        }
    }

    pub(super) fn size_or(&self, field: &str, default: usize) -> Result<usize> {
        if self.get(field).is_some() { self.size(field) } else { Ok(default) }
    }

    pub(super) fn f64(&self, field: &str) -> Result<Option<f64>> {
        self.typed(field, "a number", |v| v.as_f64().filter(|f| f.is_finite()))
    }

    pub(super) fn f64_or(&self, field: &str, default: f64) -> Result<f64> {
        Ok(self.f64(field)?.unwrap_or(default))
    }

    /// A number that must be there.
    pub(super) fn number(&self, field: &str) -> Result<f64> {
        self.f64(field)?.ok_or_else(|| self.error(field, "the field is missing"))
    }

    pub(super) fn bool_or(&self, field: &str, default: bool) -> Result<bool> {
        Ok(self.typed(field, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub(super) fn str(&self, field: &str) -> Result<Option<&'a str>> {
        self.typed(field, "a text", Value::as_str)
    }

    pub(super) fn numbers(&self, field: &str) -> Result<Vec<f64>> {
        self.typed(field, "a list of numbers", |v| v.as_array()?.iter().map(Value::as_f64).collect())?
            .ok_or_else(|| self.error(field, "the field is missing"))
    }

    pub(super) fn object(&self, field: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.typed(field, "an object", Value::as_object)
    }
}
