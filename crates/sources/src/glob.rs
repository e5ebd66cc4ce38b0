//! File patterns as a data set's README writes them: `*`, `**`, `?`, `[…]`, `{a,b}`.

/// Longer texts are nobody's file names; the bound keeps the recursion shallow.
const LONGEST: usize = 1024;

/// Whether `name` matches `pattern`. `*`, `?` and `[…]` stay within one path part, `**` crosses parts.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if pattern.len() > LONGEST || name.len() > LONGEST {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    alternatives(pattern, 8).iter().any(|p| {
        let pattern: Vec<char> = p.chars().collect();
        // Each (pattern position, name position) is judged once: hostile patterns cost their product, not a power.
        let mut seen = vec![false; (pattern.len() + 1) * (name.len() + 1)];
        step(&pattern, 0, &name, 0, &mut seen)
    })
}

/// Whether the text has any special character at all.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Expands `{a,b}`, at most `depth` groups deep.
fn alternatives(pattern: &str, depth: usize) -> Vec<String> {
    let group = pattern.find('{').and_then(|open| Some((open, open + pattern[open..].find('}')?)));
    match group {
        Some((open, close)) if depth > 0 => pattern[open + 1..close]
            .split(',')
            .flat_map(|choice| alternatives(&format!("{}{choice}{}", &pattern[..open], &pattern[close + 1..]), depth - 1))
            .collect(),
        _ => vec![pattern.to_owned()],
    }
}

fn step(pattern: &[char], p: usize, name: &[char], n: usize, seen: &mut [bool]) -> bool {
    let at = p * (name.len() + 1) + n;
    if std::mem::replace(&mut seen[at], true) {
        return false;
    }
    let Some(&c) = pattern.get(p) else { return n == name.len() };
    let rest = name.get(n).copied();
    match c {
        '*' if pattern.get(p + 1) == Some(&'*') => {
            // `**/` also stands for no directory at all.
            let after = if pattern.get(p + 2) == Some(&'/') { p + 3 } else { p + 2 };
            let boundary = n == 0 || name[n - 1] == '/' || after == p + 2;
            boundary && step(pattern, after, name, n, seen) || rest.is_some() && step(pattern, p, name, n + 1, seen)
        }
        '*' => step(pattern, p + 1, name, n, seen) || rest.is_some_and(|r| r != '/') && step(pattern, p, name, n + 1, seen),
        '?' => rest.is_some_and(|r| r != '/') && step(pattern, p + 1, name, n + 1, seen),
        '[' => match class(&pattern[p..], rest) {
            Some((true, length)) => step(pattern, p + length, name, n + 1, seen),
            Some((false, _)) => false,
            None => rest == Some('[') && step(pattern, p + 1, name, n + 1, seen),
        },
        c => rest == Some(c) && step(pattern, p + 1, name, n + 1, seen),
    }
}

/// Judges `[abc]`, `[a-z]`, `[!a]`; gives the pattern's length, or `None` when no bracket closes it.
fn class(pattern: &[char], c: Option<char>) -> Option<(bool, usize)> {
    let close = 2 + pattern.get(2..)?.iter().position(|&c| c == ']')?;
    let mut inner = &pattern[1..close];
    let negated = matches!(inner.first(), Some('!' | '^'));
    if negated {
        inner = &inner[1..];
    }
    let Some(c) = c.filter(|&c| c != '/') else { return Some((false, close + 1)) };
    let mut found = false;
    while let Some((&first, rest)) = inner.split_first() {
        match rest {
            ['-', last, more @ ..] => {
                found |= (first..=*last).contains(&c);
                inner = more;
            }
            _ => {
                found |= first == c;
                inner = rest;
            }
        }
    }
    Some((found != negated, close + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_real_data_sets() {
        for (pattern, name, want) in [
            ("data/train-*", "data/train-00000-of-00001.parquet", true),
            ("data/train-*", "data/sub/train-0", false),
            ("data/train-*", "data/test-0", false),
            ("**/*.parquet", "a.parquet", true),
            ("**/*.parquet", "x/y/a.parquet", true),
            ("x/**", "x/y/z", true),
            ("**", "x/y", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("*.csv", "train.csv", true),
            ("*.csv", "d/train.csv", false),
            ("train.parquet", "train.parquet", true),
            ("{train,dev}.{csv,tsv}", "dev.tsv", true),
            ("{train,dev}.csv", "test.csv", false),
            ("s-[0-9][0-9].json", "s-07.json", true),
            ("s-[!0-9].json", "s-7.json", false),
            ("s-[!0-9].json", "s-x.json", true),
            ("a?c", "a/c", false),
            ("a[c", "a[c", true),
            ("数据/*.csv", "数据/训练.csv", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
        assert!(is_pattern("a*") && !is_pattern("data/train.csv"));
    }

    #[test]
    fn a_hostile_pattern_ends() {
        assert!(!matches(&"*a".repeat(60), &"a".repeat(200).replace("aaaa", "aaab")));
        assert!(!matches(&"{a,b}".repeat(40), "ab"));
    }
}
