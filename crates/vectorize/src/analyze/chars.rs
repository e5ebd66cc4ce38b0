//! Character n-grams as scikit-learn counts them.

/// White space as Python's `str.isspace`, which also takes the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Each character as a token.
pub(super) fn each_char(text: &str, each: &mut dyn FnMut(&str)) {
    let mut buffer = [0u8; 4];
    text.chars().for_each(|c| each(c.encode_utf8(&mut buffer)));
}

/// Start and end of every character.
fn places_of(text: &str, places: &mut Vec<(u32, u32)>) {
    places.clear();
    places.extend(text.char_indices().map(|(at, c)| (at as u32, (at + c.len_utf8()) as u32)));
}

/// The characters `i..j`.
fn cut<'t>(text: &'t str, places: &[(u32, u32)], i: usize, j: usize) -> &'t str {
    &text[places[i].0 as usize..places[j - 1].1 as usize]
}

/// N-grams of the whole text (`analyzer="char"`): runs of two and more white spaces become one space.
pub(super) fn ngrams(
    text: &str,
    (low, high): (usize, usize),
    buffer: &mut String,
    places: &mut Vec<(u32, u32)>,
    each: &mut dyn FnMut(&str),
) {
    buffer.clear();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_space(c) && chars.peek().is_some_and(|&n| is_space(n)) {
            while chars.next_if(|&n| is_space(n)).is_some() {}
            buffer.push(' ');
        } else {
            buffer.push(c);
        }
    }
    places_of(buffer, places);
    for n in low..=high.min(places.len()) {
        for i in 0..=places.len() - n {
            each(cut(buffer, places, i, i + n));
        }
    }
}

/// N-grams within words (`analyzer="char_wb"`): a word shorter than n counts once, with its spaces.
pub(super) fn ngrams_in_words(
    text: &str,
    (low, high): (usize, usize),
    buffer: &mut String,
    places: &mut Vec<(u32, u32)>,
    each: &mut dyn FnMut(&str),
) {
    for word in text.split(is_space).filter(|w| !w.is_empty()) {
        buffer.clear();
        buffer.push(' ');
        buffer.push_str(word);
        buffer.push(' ');
        places_of(buffer, places);
        let length = places.len();
        for n in low..=high {
            if n >= length {
                each(buffer);
                break;
            }
            for i in 0..=length - n {
                each(cut(buffer, places, i, i + n));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, range: (usize, usize), within: bool) -> Vec<String> {
        let (mut out, mut buffer, mut places) = (Vec::new(), String::new(), Vec::new());
        let f = if within { ngrams_in_words } else { ngrams };
        f(text, range, &mut buffer, &mut places, &mut |t| out.push(t.to_owned()));
        out
    }

    #[test]
    fn as_scikit_learn_counts() {
        assert_eq!(all("a \n b", (1, 2), false), ["a", " ", "b", "a ", " b"]);
        assert_eq!(all("很好 x", (2, 3), true), [" 很", "很好", "好 ", " 很好", "很好 ", " x", "x ", " x "]);
        assert_eq!(all("x", (4, 5), true), [" x "], "a short word counts once");
        assert!(all("", (1, 2), false).is_empty() && all(" ", (1, 2), true).is_empty());
    }
}
