//! Tokens where a format needs them and the text has none: runs of letters and digits, Han characters and signs one by one.

use std::collections::BTreeSet;

use super::Range;

/// A token's code points.
pub(crate) fn tokenize(text: &str, cuts: &BTreeSet<usize>) -> Vec<Range> {
    let mut tokens: Vec<Range> = Vec::new();
    let mut open = false;
    for (at, c) in text.chars().enumerate() {
        if c.is_whitespace() {
            open = false;
            continue;
        }
        let joins = c.is_alphanumeric() && !is_ideograph(c) || is_mark(c);
        // A token is open exactly if the last one goes up to here.
        match tokens.last_mut() {
            Some(last) if open && joins && !cuts.contains(&at) => last[1] = at + 1,
            _ => tokens.push([at, at + 1]),
        }
        open = joins || is_mark(c);
    }
    tokens
}

/// Han, kana and hangul are written without spaces.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// Combining marks, joiners and variation selectors stay with what they modify.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x300..=0x36f | 0x200d | 0xfe00..=0xfe0f | 0x20d0..=0x20ff)
}

#[cfg(test)]
mod tests {
    use super::super::slice;
    use super::*;

    #[test]
    fn tokens_are_words_han_characters_and_signs() {
        let text = "Don't go, 你好 e\u{301}t\u{e9} 😀";
        let tokens: Vec<&str> = tokenize(text, &BTreeSet::new()).iter().map(|&[a, b]| slice(text, a, b).unwrap()).collect();
        assert_eq!(tokens, ["Don", "'", "t", "go", ",", "你", "好", "e\u{301}t\u{e9}", "😀"]);
        let cut: Vec<Range> = tokenize("abcd", &[2].into());
        assert_eq!(cut, [[0, 2], [2, 4]]);
    }
}
