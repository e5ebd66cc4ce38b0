//! How Python writes values: `str()`, `repr()` and `json.dumps()`.
//!
//! A template that prints a tool's schema prints it through these, and the model has seen Python's spelling: `", "` and `": "` in
//! JSON, `1e-05` for a small number, `True` and single quotes where somebody forgot `tojson`.

use std::fmt::Write;

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// `str(value)`.
pub(super) fn str(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    write_str(&mut text, value)?;
    Ok(text)
}

/// Writes `str(value)`; undefined is empty, as Jinja prints it.
pub(super) fn write_str(out: &mut impl Write, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(()),
        ValueKind::String => out.write_str(value.as_str().unwrap_or_default()).map_err(Error::from),
        _ => write_repr(out, value),
    }
}

/// Writes `repr(value)`.
fn write_repr(out: &mut impl Write, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => write_quoted(out, value.as_str().unwrap_or_default())?,
        ValueKind::Number if !value.is_integer() => out.write_str(&float(value)?)?,
        ValueKind::Seq => {
            let tuple = value.downcast_object_ref::<Tuple>().is_some();
            out.write_char(if tuple { '(' } else { '[' })?;
            let mut count = 0;
            for item in value.try_iter()? {
                if count > 0 {
                    out.write_str(", ")?;
                }
                write_repr(out, &item)?;
                count += 1;
            }
            if tuple && count == 1 {
                out.write_char(',')?;
            }
            out.write_char(if tuple { ')' } else { ']' })?;
        }
        ValueKind::Map => {
            out.write_char('{')?;
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.write_str(", ")?;
                }
                write_repr(out, &key)?;
                out.write_str(": ")?;
                write_repr(out, &value.get_item(&key)?)?;
            }
            out.write_char('}')?;
        }
        ValueKind::Invalid => return Err(Error::new(ErrorKind::InvalidOperation, value.to_string())),
        _ => write!(out, "{value}")?,
    }
    Ok(())
}

/// A string as `repr` quotes it: single quotes unless that needs more escapes.
fn write_quoted(out: &mut impl Write, text: &str) -> Result<(), Error> {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c == quote => write!(out, "\\{c}")?,
            c if (c as u32) < 0x20 || (0x7F..=0xA0).contains(&(c as u32)) || c == '\u{AD}' => write!(out, "\\x{:02x}", c as u32)?,
            // Python's other unprintables that occur in practice: separators and invisible format characters.
            '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202F}' | '\u{2060}'..='\u{206F}' | '\u{3000}' | '\u{FEFF}' => {
                write!(out, "\\u{:04x}", c as u32)?;
            }
            c => out.write_char(c)?,
        }
    }
    out.write_char(quote)?;
    Ok(())
}

fn float(value: &Value) -> Result<String, Error> {
    f64::try_from(value.clone()).map(float_repr)
}

/// `repr` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float_repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if x != 0.0 && !(-4..16).contains(&exponent) {
        format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    } else {
        format!("{x:?}")
    }
}

/// The options of `json.dumps` that templates use.
#[derive(Clone, Debug, Default)]
pub(super) struct JsonStyle {
    pub ensure_ascii: bool,
    pub sort_keys: bool,
    /// One level of indentation; `None` for everything on one line.
    pub indent: Option<String>,
    /// Between items and behind keys; by default `", "` (`","` with indentation) and `": "`.
    pub separators: Option<(String, String)>,
}

/// `json.dumps(value)`.
pub(super) fn json_dumps(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let (item, key) = match &style.separators {
        Some((item, key)) => (item.as_str(), key.as_str()),
        None => (if style.indent.is_some() { "," } else { ", " }, ": "),
    };
    let mut writer = Json { out: String::new(), style, item, key };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Json<'s> {
    out: String,
    style: &'s JsonStyle,
    item: &'s str,
    key: &'s str,
}

impl Json<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.out.push('[');
                let mut any = false;
                for item in value.try_iter()? {
                    self.separate(&mut any, depth);
                    self.value(&item, depth + 1)?;
                }
                self.close(any, depth, ']');
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.style.sort_keys {
                    keys.sort();
                }
                self.out.push('{');
                let mut any = false;
                for key in keys {
                    self.separate(&mut any, depth);
                    match key.kind() {
                        ValueKind::String => self.string(key.as_str().unwrap_or_default()),
                        ValueKind::None => self.out.push_str("\"null\""),
                        ValueKind::Bool => self.out.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" }),
                        ValueKind::Number => {
                            let number = number(&key)?;
                            self.string(&number);
                        }
                        kind => return Err(Error::new(ErrorKind::BadSerialization, format!("a {kind} cannot be a key in JSON"))),
                    }
                    self.out.push_str(self.key);
                    self.value(&value.get_item(&key)?, depth + 1)?;
                }
                self.close(any, depth, '}');
            }
            kind => return Err(Error::new(ErrorKind::BadSerialization, format!("tojson: {kind} is not JSON serializable"))),
        }
        Ok(())
    }

    /// What stands before an item.
    fn separate(&mut self, any: &mut bool, depth: usize) {
        if *any {
            self.out.push_str(self.item);
        }
        *any = true;
        self.line(depth + 1);
    }

    fn close(&mut self, any: bool, depth: usize, bracket: char) {
        if any {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.style.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{C}' => self.out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.style.ensure_ascii && !c.is_ascii()) || (self.style.ensure_ascii && c == '\u{7F}') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// A number as JSON writes it in Python: `NaN` and `Infinity` included.
fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let text = float(value)?;
    Ok(match text.as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        _ => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_python_writes_them() {
        // python -c "print([repr(x) for x in (...)])"
        for (x, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123456789.125, "123456789.125"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.2345e22, "1.2345e+22"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(float_repr(x), text);
        }
    }
}
