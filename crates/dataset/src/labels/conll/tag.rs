//! What a tag says: nothing, or a letter of a scheme and a type.

/// The type of spans whose tags name none (`B`, `B-`).
pub(super) const UNTYPED: &str = "span";

/// A tag that marks a token: the scheme's letter (`None` of a type alone), and the type.
pub(super) type Mark<'a> = (Option<char>, &'a str);

/// Takes a tag apart; `None` for `O`. `B_PER` is `B-PER`, BMES' `M` is `I`, and `PER` is a type alone.
///
/// # Errors
/// If it is no tag at all.
pub(super) fn parse(tag: &str) -> Result<Option<Mark<'_>>, ()> {
    if matches!(tag, "" | "O" | "o" | "_" | "-") {
        return Ok(None);
    }
    if let Some(mark) = of_a_scheme(tag) {
        return Ok(Some(mark));
    }
    let named = tag.starts_with(char::is_alphabetic) && !tag.contains(|c: char| c.is_whitespace() || "()[]{}<>*=\"".contains(c));
    if named { Ok(Some((None, tag))) } else { Err(()) }
}

/// The parts of a tag with a letter of a scheme.
fn of_a_scheme(tag: &str) -> Option<Mark<'_>> {
    let mut chars = tag.chars();
    let first = chars.next()?;
    let letter = match first {
        'B' | 'I' | 'E' | 'S' | 'L' | 'U' => first,
        'M' => 'I',
        // `e-mail` is a type.
        'b' | 'i' => first.to_ascii_uppercase(),
        _ => return None,
    };
    let rest = chars.as_str();
    if rest.is_empty() && first.is_ascii_uppercase() {
        return Some((Some(letter), UNTYPED));
    }
    let kind = rest.strip_prefix('-').or_else(|| rest.strip_prefix('_').filter(|_| first.is_ascii_uppercase()))?;
    Some((Some(letter), if kind.is_empty() { UNTYPED } else { kind }))
}

/// Whether it is `O`, or has a letter of a scheme.
pub(super) fn is_of_a_scheme(tag: &str) -> bool {
    matches!(tag, "O" | "o") || of_a_scheme(tag).is_some()
}

/// Whether it has a letter and names no type.
pub(super) fn is_untyped(tag: &str) -> bool {
    of_a_scheme(tag).is_some() && tag.len() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_apart_and_what_is_none_is_said() {
        let marks: [(&str, Option<Mark>); 13] = [
            ("O", None),
            ("o", None),
            ("_", None),
            ("B-PER", Some((Some('B'), "PER"))),
            ("B_PER", Some((Some('B'), "PER"))),
            ("b-地名", Some((Some('B'), "地名"))),
            ("M-NAME", Some((Some('I'), "NAME"))),
            ("I-a-b", Some((Some('I'), "a-b"))),
            ("B", Some((Some('B'), UNTYPED))),
            ("B-", Some((Some('B'), UNTYPED))),
            ("PER", Some((None, "PER"))),
            ("e-mail", Some((None, "e-mail"))),
            ("T-POS", Some((None, "T-POS"))),
        ];
        for (tag, mark) in marks {
            assert_eq!(parse(tag), Ok(mark), "{tag}");
        }
        for tag in ["0", ".", "(A0*", "SpaceAfter=No", "a b", "http://x y"] {
            assert_eq!(parse(tag), Err(()), "{tag}");
        }
        assert!(is_untyped("B") && is_untyped("B-") && !is_untyped("B-X") && !is_untyped("PER") && !is_untyped("X-"));
    }
}
