//! Escaping and the formats of numbers.

/// Text made safe inside an element or a quoted attribute.
pub fn esc(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // HTML has no way to write these; a browser shows the same box for the replacement.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\x7f' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// [`esc`] with places to break after `_`, `.` and `/`, for identifiers and paths; copying gives the plain text.
pub fn esc_code(text: &str) -> String {
    // Neither an entity nor the tag inserted holds one of the marks.
    let mut out = esc(text);
    for mark in ["_", ".", "/"] {
        out = out.replace(mark, &format!("{mark}<wbr>"));
    }
    out
}

/// `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `0.8391` as `83.9`.
pub fn percent(x: f64) -> String {
    format!("{:.1}", 100.0 * x)
}

/// A number to three or four significant digits, in powers of ten where it is very large or small.
pub fn number(x: f64) -> String {
    let a = x.abs();
    if !x.is_finite() {
        "–".into()
    } else if a == 0.0 {
        "0".into()
    } else if a < 1e-3 {
        let s = format!("{x:.2e}");
        // 2.00e-4 -> 2e-4, 1.50e-4 -> 1.5e-4
        match s.split_once('e') {
            Some((m, e)) => format!("{}e{e}", m.trim_end_matches('0').trim_end_matches('.')),
            None => s,
        }
    } else if a < 10.0 {
        format!("{x:.3}")
    } else if a < 100.0 {
        format!("{x:.2}")
    } else if a < 10_000.0 {
        format!("{x:.1}")
    } else if a < 1e12 {
        format!("{}{}", if x < 0.0 { "-" } else { "" }, thousands(a.round() as u64))
    } else {
        format!("{x:.2e}")
    }
}

/// Seconds as `48.2 s`, `4 min 12 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> (String, &'static str) {
    let whole = seconds.max(0.0).round() as u64;
    if seconds < 60.0 {
        (format!("{seconds:.1}"), "s")
    } else if whole < 3600 {
        (format!("{}:{:02}", whole / 60, whole % 60), "min")
    } else {
        (format!("{}:{:02}", whole / 3600, whole % 3600 / 60), "h")
    }
}

/// `134515008` as `134.5 M`.
pub fn millions(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} K", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.2} B", n as f64 / 1e9),
    }
}

/// `1 row`, `2 rows`.
pub fn plural(n: u64, one: &str) -> String {
    format!("{} {one}{}", thousands(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_dangerous_passes() {
        assert_eq!(esc("<script>a&b</script>\"'\0"), "&lt;script&gt;a&amp;b&lt;/script&gt;&quot;&#39;\u{fffd}");
        assert_eq!(esc_code("a_b<c/d.e"), "a_<wbr>b&lt;c/<wbr>d.<wbr>e");
        assert_eq!(esc("中文 🎬\nx\ty"), "中文 🎬\nx\ty");
    }

    #[test]
    fn numbers_read_well() {
        let n = |x: f64| number(x);
        assert_eq!(
            [n(0.0), n(2e-4), n(1.5e-5), n(0.4312), n(12.345), n(123.45), n(12345.6)],
            ["0", "2e-4", "1.5e-5", "0.431", "12.35", "123.5", "12,346"].map(String::from)
        );
        assert_eq!([n(f64::NAN), n(-0.5), n(1e15)], ["–", "-0.500", "1.00e15"].map(String::from));
        assert_eq!([thousands(0), thousands(999), thousands(1000), thousands(1234567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            (duration(48.23), duration(252.0), duration(7500.0)),
            (("48.2".into(), "s"), ("4:12".into(), "min"), ("2:05".into(), "h"))
        );
        assert_eq!((duration(59.96).0, duration(3599.7)), ("60.0".into(), ("1:00".into(), "h")));
        assert_eq!([millions(999), millions(2_442_240), millions(134_515_008)], ["999", "2.4 M", "134.5 M"]);
        assert_eq!((plural(1, "row"), plural(2000, "row")), ("1 row".into(), "2,000 rows".into()));
    }
}
