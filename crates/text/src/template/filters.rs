//! Filters and tests whose built-in version differs from what Jinja2 and `transformers` have.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::python;

type Result<T> = std::result::Result<T, Error>;

/// Puts them into an environment.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |value: &Value| python::str(value));
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("round", round);
    // To Python everything with a length and an index is a sequence.
    environment.add_test("sequence", |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map));
}

/// Arguments by position or name, in the order of `names`.
fn arguments<const N: usize>(names: [&str; N], args: &[Value], kwargs: &Kwargs) -> Result<[Option<Value>; N]> {
    if args.len() > N {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut given = [const { None }; N];
    for (slot, value) in given.iter_mut().zip(args) {
        *slot = Some(value.clone());
    }
    for (slot, name) in given.iter_mut().zip(names) {
        if kwargs.has(name) {
            *slot = Some(kwargs.get(name)?);
        }
    }
    kwargs.assert_all_used()?;
    Ok(given)
}

/// `escape(value)` with the entities that MarkupSafe writes.
fn escape(value: &Value) -> Result<Value> {
    let mut out = String::new();
    for c in python::str(value)?.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    Ok(Value::from_safe_string(out))
}

/// `default(value, default_value='', boolean=False)`.
fn default(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value> {
    let [other, boolean] = arguments(["default_value", "boolean"], &args, &kwargs)?;
    let replace = value.is_undefined() || (boolean.is_some_and(|b| b.is_true()) && !value.is_true());
    Ok(if replace { other.unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

/// `int(value, default=0, base=10)`: what does not read as a number is the default.
fn int(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value> {
    let [other, base] = arguments(["default", "base"], &args, &kwargs)?;
    let base = base.and_then(|b| b.as_i64()).and_then(|b| u32::try_from(b).ok()).filter(|b| (2..=36).contains(b)).unwrap_or(10);
    let read = match value.as_str() {
        Some(text) => {
            let text = text.trim().replace('_', "");
            let whole = i64::from_str_radix(&text, base).ok();
            whole.or_else(|| text.parse::<f64>().ok().filter(|x| x.is_finite()).map(|x| x as i64)).map(Value::from)
        }
        None if value.is_integer() => Some(value.clone()),
        None if value.kind() == ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok().filter(|x| x.is_finite()).map(|x| Value::from(x as i64)),
    };
    Ok(read.unwrap_or_else(|| other.unwrap_or_else(|| Value::from(0))))
}

/// `float(value, default=0.0)`.
fn float(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value> {
    let [other] = arguments(["default"], &args, &kwargs)?;
    let read = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(read.map_or_else(|| other.unwrap_or_else(|| Value::from(0.0)), Value::from))
}

/// `round(value, precision=0, method='common')`: halves go to the even neighbour, as Python rounds.
fn round(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value> {
    let [precision, method] = arguments(["precision", "method"], &args, &kwargs)?;
    let precision = precision.and_then(|p| p.as_i64()).unwrap_or(0).clamp(-300, 300) as i32;
    let x = f64::try_from(value.clone())?;
    let scale = 10f64.powi(precision);
    let rounded = match method.as_ref().and_then(|m| m.as_str()).unwrap_or("common") {
        "ceil" => (x * scale).ceil() / scale,
        "floor" => (x * scale).floor() / scale,
        // Decimal digits decide, not the product: 2.675 is below its half.
        "common" if precision >= 0 => format!("{x:.*}", precision as usize).parse().unwrap_or(x),
        "common" => (x * scale).round_ties_even() / scale,
        other => return Err(Error::new(ErrorKind::InvalidOperation, format!("round: method {other:?} is not common, ceil or floor"))),
    };
    Ok(Value::from(rounded))
}

/// `tojson` as transformers defines it: `json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn tojson(value: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value> {
    let [ensure_ascii, indent, separators, sort_keys] = arguments(["ensure_ascii", "indent", "separators", "sort_keys"], &args, &kwargs)?;
    let indent = match indent {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) => match (value.as_str(), value.as_i64()) {
            (Some(text), _) => Some(text.to_owned()),
            (_, Some(count)) => Some(" ".repeat(count.clamp(0, 1 << 10) as usize)),
            // True and False are 1 and 0 to Python.
            _ if value.kind() == ValueKind::Bool => Some(if value.is_true() { " ".into() } else { String::new() }),
            _ => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: indent is neither a number nor a string")),
        },
    };
    let separators = match separators {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) => {
            let parts: Vec<Value> = value.try_iter()?.collect();
            match parts.as_slice() {
                [item, key] if item.as_str().is_some() && key.as_str().is_some() => Some((item.to_string(), key.to_string())),
                _ => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators is not a pair of strings")),
            }
        }
    };
    let style = python::JsonStyle {
        ensure_ascii: ensure_ascii.is_some_and(|v| v.is_true()),
        sort_keys: sort_keys.is_some_and(|v| v.is_true()),
        indent,
        separators,
    };
    python::json_dumps(value, &style).map(Value::from)
}
