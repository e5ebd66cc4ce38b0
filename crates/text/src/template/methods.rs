//! The methods of Python's `str`, `dict` and `list` that templates call.
//!
//! `minijinja-contrib` has most of them; here are those it lacks, and those where Python's notion differs (white space, line ends).

use minijinja::value::{Tuple, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

/// Calls `value.method(args)`.
pub(super) fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let done = match value.kind() {
        ValueKind::String => string(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => sequence(value, method, args)?,
        ValueKind::Map if method == "copy" => {
            let () = from_args(args)?;
            Some(value.clone())
        }
        _ => None,
    };
    match done {
        Some(value) => Ok(value),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// Python's `str.isspace` for one character: Unicode white space and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn string(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let value = match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<Value>,) = from_args(args)?;
            let set: Option<Vec<char>> = match chars.filter(|c| !c.is_none()) {
                Some(chars) => Some(text_of(&chars, method)?.chars().collect()),
                None => None,
            };
            let drop = |c: char| set.as_ref().map_or_else(|| is_space(c), |set| set.contains(&c));
            let text = if method == "rstrip" { text } else { text.trim_start_matches(drop) };
            Value::from(if method == "lstrip" { text } else { text.trim_end_matches(drop) })
        }
        "split" | "rsplit" => {
            let (separator, limit) = split_args(args)?;
            Value::from(split(text, separator.as_deref(), limit, method == "rsplit")?)
        }
        "splitlines" => {
            let (keep,): (Option<bool>,) = from_args(args)?;
            Value::from(lines(text, keep.unwrap_or(false)))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
            }
            let parts = if method == "partition" { text.split_once(separator) } else { text.rsplit_once(separator) };
            Value::from(Tuple::from(match parts {
                Some((before, after)) => [before, separator, after].map(Value::from),
                None if method == "partition" => [text, "", ""].map(Value::from),
                None => ["", "", text].map(Value::from),
            }))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "casefold" => {
            let () = from_args(args)?;
            Value::from(text.to_lowercase().replace('ß', "ss"))
        }
        "swapcase" => {
            let () = from_args(args)?;
            let swap = |c: char| -> String { if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() } };
            Value::from(text.chars().map(swap).collect::<String>())
        }
        "isspace" => {
            let () = from_args(args)?;
            Value::from(!text.is_empty() && text.chars().all(is_space))
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let at = if method == "index" { text.find(what) } else { text.rfind(what) };
            let at = at.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "substring not found"))?;
            Value::from(text[..at].chars().count())
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = text.split_at(text.starts_with(['+', '-']).into());
            let fill = width.min(1 << 16).saturating_sub(text.chars().count());
            Value::from(format!("{sign}{}{digits}", "0".repeat(fill)))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            let room = width.min(1 << 16).saturating_sub(text.chars().count());
            let pad = |n: usize| fill.unwrap_or(' ').to_string().repeat(n);
            // Python puts the odd one left if the width is odd too.
            let left = match method {
                "ljust" => 0,
                "rjust" => room,
                _ => room / 2 + (room & width & 1),
            };
            Value::from(format!("{}{text}{}", pad(left), pad(room - left)))
        }
        "expandtabs" | "encode" | "translate" | "maketrans" => {
            return Err(Error::new(ErrorKind::UnknownMethod, format!("str.{method} is not supported in chat templates")));
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn sequence(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            let at = value.try_iter()?.position(|item| item == *what);
            let at = at.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{what} is not in the list")))?;
            Ok(Some(Value::from(at)))
        }
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(value.clone()))
        }
        // transformers' sandbox refuses these too: what a template was given stays as it is.
        "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "sort" | "reverse" => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("list.{method} changes the list, which chat templates may not; use {{% set list = list + [item] %}}"),
        )),
        _ => Ok(None),
    }
}

/// The arguments of `split`: separator (`None` for white space) and limit, by position or name.
fn split_args(args: &[Value]) -> Result<(Option<String>, Option<usize>), Error> {
    use minijinja::value::Kwargs;
    let (mut separator, mut limit, kwargs): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    if kwargs.has("sep") {
        separator = Some(kwargs.get("sep")?);
    }
    if kwargs.has("maxsplit") {
        limit = Some(kwargs.get("maxsplit")?);
    }
    kwargs.assert_all_used()?;
    let separator = match separator.filter(|s| !s.is_none()) {
        Some(s) => Some(text_of(&s, "split")?.to_owned()),
        None => None,
    };
    Ok((separator, limit.and_then(|l| usize::try_from(l).ok())))
}

fn text_of<'v>(value: &'v Value, method: &str) -> Result<&'v str, Error> {
    value.as_str().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("str.{method}: {} is not a string", value.kind())))
}

/// `str.split` and `str.rsplit`.
fn split(text: &str, separator: Option<&str>, limit: Option<usize>, from_right: bool) -> Result<Vec<Value>, Error> {
    let limit = limit.unwrap_or(usize::MAX - 1);
    let parts: Vec<&str> = match separator {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) if from_right => {
            let mut parts: Vec<&str> = text.rsplitn(limit + 1, separator).collect();
            parts.reverse();
            parts
        }
        Some(separator) => text.splitn(limit + 1, separator).collect(),
        None => {
            let mut parts = Vec::new();
            // White space goes from the side that is being eaten; what is left at the limit keeps its other end.
            let trim = |s| if from_right { str::trim_end_matches(s, is_space) } else { str::trim_start_matches(s, is_space) };
            let mut rest = trim(text);
            while !rest.is_empty() {
                let at = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
                let Some(at) = at.filter(|_| parts.len() < limit) else {
                    parts.push(rest);
                    break;
                };
                // `at` is the border character itself: a piece never begins or ends with it.
                let (piece, remaining) =
                    if from_right { (rest[at..].trim_start_matches(is_space), &rest[..at]) } else { rest.split_at(at) };
                parts.push(piece);
                rest = trim(remaining);
            }
            if from_right {
                parts.reverse();
            }
            parts
        }
    };
    Ok(parts.into_iter().map(Value::from).collect())
}

/// `str.splitlines`: every line end that Python knows.
fn lines(text: &str, keep: bool) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        let mut end = at + c.len_utf8();
        if c == '\r' && chars.next_if(|&(_, next)| next == '\n').is_some() {
            end += 1;
        }
        lines.push(Value::from(&text[start..if keep { end } else { at }]));
        start = end;
    }
    if start < text.len() {
        lines.push(Value::from(&text[start..]));
    }
    lines
}
