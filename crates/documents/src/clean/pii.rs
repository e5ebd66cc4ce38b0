//! Personal data: found by pattern, confirmed by check digits where there are any, replaced by a placeholder. Owns the library `regex` in this crate.

use regex::Regex;

use super::{Edit, Pii, PiiKind};

/// Compiled patterns.
pub(super) struct Masks {
    masks: Vec<Mask>,
}

/// A kind, its pattern, its name, and what confirms a match.
type Known = (PiiKind, &'static str, &'static str, fn(&str) -> bool);

struct Mask {
    pattern: Regex,
    placeholder: String,
    kind: &'static str,
    holds: fn(&str) -> bool,
    /// Whether digits and letters beside it forbid it.
    alone: bool,
}

/// Why a pattern of the user's cannot be used: it is no regular expression, or nothing satisfies it.
pub(super) fn problem(pattern: &str) -> Option<String> {
    match Regex::new(pattern) {
        Err(e) => Some(e.to_string()),
        Ok(regex) if regex.is_match("") => Some(format!(
            "{pattern:?} matches the empty text, which cannot be masked; let it need a character at least (\\d+ in place of \\d*)"
        )),
        Ok(_) => None,
    }
}

impl Masks {
    /// All kinds where none is named. Patterns that do not compile were refused by [`super::Pipeline::check`]; here they match nothing.
    pub(super) fn new(pii: &Pii) -> Self {
        let wanted = |kind: PiiKind| pii.kinds.is_empty() || pii.kinds.contains(&kind);
        let known: [Known; 4] = [
            (PiiKind::Email, r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", "email", |_| true),
            (PiiKind::CnId, r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]", "cn_id", is_cn_id),
            (PiiKind::Card, r"\d(?:[ -]?\d){12,18}", "card", is_card),
            (
                PiiKind::Phone,
                r"(?:\+|00)[1-9]\d{0,2}[ -]?(?:\(\d{1,4}\)[ -]?)?\d(?:[ -]?\d){5,11}|1[3-9]\d(?:[ -]?\d{4}){2}|0\d{2,3}[ -]\d{7,8}|\(\d{3,4}\) ?\d{3,4}[ -]?\d{4}|\d{3}-\d{3}-\d{4}",
                "phone",
                |_| true,
            ),
        ];
        let known = known.into_iter().filter(|(kind, ..)| wanted(*kind)).filter_map(|(_, pattern, kind, holds)| {
            let placeholder = format!("[{}]", kind.to_ascii_uppercase());
            Some(Mask { pattern: Regex::new(pattern).ok()?, placeholder, kind, holds, alone: true })
        });
        let custom = pii.custom.iter().filter_map(|c| {
            let placeholder = format!("[{}]", c.name.to_uppercase());
            Some(Mask { pattern: Regex::new(&c.pattern).ok()?, placeholder, kind: "custom", holds: |_| true, alone: false })
        });
        // The user's own come first: they know better.
        Masks { masks: custom.chain(known).collect() }
    }

    /// All places, in order, the earlier mask before the later where they overlap.
    pub(super) fn find(&self, text: &str) -> Vec<Edit> {
        let mut out: Vec<Edit> = Vec::new();
        for mask in &self.masks {
            // What earlier masks took, in order; matches of one mask never overlap.
            let taken_before = out.len();
            let mut at = 0;
            while at <= text.len()
                && let Some(found) = mask.pattern.find_at(text, at)
            {
                let next = found.start() + text[found.start()..].chars().next().map_or(1, char::len_utf8);
                if found.is_empty() {
                    // Nothing to mask here (`\b`, which passes the check of the pipeline, finds only such places).
                    at = next;
                    continue;
                }
                let beside = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
                let free =
                    !mask.alone || !(beside(text[..found.start()].chars().next_back()) || beside(text[found.end()..].chars().next()));
                if !free || !(mask.holds)(found.as_str()) {
                    // A shorter match may begin inside one that does not hold.
                    at = next;
                    continue;
                }
                let earlier = &out[..taken_before];
                let near = earlier.partition_point(|e| e.range.end <= found.start());
                if earlier.get(near).is_none_or(|e| e.range.start >= found.end()) {
                    out.push(Edit { range: found.range(), with: mask.placeholder.clone(), kind: mask.kind });
                }
                at = found.end();
            }
            out.sort_by_key(|e| e.range.start);
        }
        out
    }
}

/// The check digit of GB 11643-1999 (ISO 7064, MOD 11-2).
fn is_cn_id(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let digits: Vec<u32> = text.chars().take(17).filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(d, w)| d * w).sum();
    let check = "10X98765432".chars().nth((sum % 11) as usize);
    digits.len() == 17 && text.chars().last().map(|c| c.to_ascii_uppercase()) == check
}

/// Luhn's digit (ISO/IEC 7812-1), and not all digits alike.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match i % 2 {
            0 => *d,
            _ => (d * 2) / 10 + (d * 2) % 10,
        })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10) && digits.iter().any(|d| *d != digits[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::Custom;
    use proptest::prelude::*;

    fn masked(pii: &Pii, text: &str) -> String {
        let mut out = String::new();
        let mut at = 0;
        for e in Masks::new(pii).find(text) {
            out.push_str(&text[at..e.range.start]);
            out.push_str(&e.with);
            at = e.range.end;
        }
        out + &text[at..]
    }

    #[test]
    fn personal_data_is_masked_and_other_numbers_are_not() {
        let all = Pii::default();
        for (text, want) in [
            ("请联系zhang.san@example.com.cn或13812345678。", "请联系[EMAIL]或[PHONE]。"),
            ("身份证号11010519491231002X，", "身份证号[CN_ID]，"),
            ("not an ID: 110105194912310021", "not an ID: 110105194912310021"),
            ("card 4111 1111 1111 1111, ok", "card [CARD], ok"),
            ("call +49 30 901820 or 010-62511234 or 555-010-9999", "call [PHONE] or [PHONE] or [PHONE]"),
            ("invoice 1234567890123, 2024-01-31, 3.14159265358979", "invoice 1234567890123, 2024-01-31, 3.14159265358979"),
        ] {
            assert_eq!(masked(&all, text), want);
        }
        let own = Pii { kinds: vec![PiiKind::Email], custom: vec![Custom { name: "contract".into(), pattern: "合同\\d+号".into() }] };
        assert_eq!(masked(&own, "合同88号 13812345678 a@b.co"), "[CONTRACT] 13812345678 [EMAIL]");
    }

    #[test]
    fn patterns_that_match_nothing_end() {
        for (pattern, want) in [(r"\d*", "a[X]好[X]"), (r"\b", "a12好34"), ("", "a12好34"), ("$", "a12好34"), ("好?", "a12[X]34")] {
            let own = Pii { kinds: vec![PiiKind::Email], custom: vec![Custom { name: "x".into(), pattern: pattern.into() }] };
            assert_eq!(masked(&own, "a12好34"), want, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn edits_are_sorted_and_apart(text in "[0-9+ ()@.a好X-]{0,80}") {
            let edits = Masks::new(&Pii::default()).find(&text);
            prop_assert!(edits.windows(2).all(|w| w[0].range.end <= w[1].range.start));
            prop_assert!(edits.iter().all(|e| text.is_char_boundary(e.range.start) && text.is_char_boundary(e.range.end)));
        }
    }
}
