//! Numbers as people read them; one spelling for the terminal and the report.

/// `870 B`, `12 kB`, `94.6 MB`, `1.20 GB` (decimal units, as disks and downloads are labelled).
pub fn bytes(n: u64) -> String {
    sources::progress::bytes(n)
}

/// `0.8s`, `42s`, `3m05s`, `2h10m`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    match whole {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

/// `134,515,008`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 row`, `2,000 rows`.
pub fn plural(n: usize, one: &str) -> String {
    format!("{} {one}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(134515008), "134,515,008");
        assert_eq!((plural(0, "row"), plural(1, "row"), plural(2000, "row")), ("0 rows".into(), "1 row".into(), "2,000 rows".into()));
        assert_eq!(duration(0.84), "0.8s");
        assert_eq!(duration(59.6), "1m00s");
        assert_eq!(duration(185.0), "3m05s");
        assert_eq!(duration(7800.0), "2h10m");
        assert_eq!(duration(f64::NAN), "?");
    }
}
