//! Stop strings over text that arrives in pieces.
//!
//! Tokens do not respect the borders of a stop string: `"\nUser:"` may arrive as `"…\n"`, `"Us"`, `"er:"`, or its
//! last letter may come glued to what follows. [`StopMatcher`] holds back the shortest tail that could still become
//! a stop string and hands out the rest at once, so that a stream never shows text it would have to take back.
//!
//! The rule, independent of how the text was cut: of all occurrences the one that is *complete first* wins; of
//! those that end at the same byte the longest. The text ends where that occurrence begins.

/// Watches a stream of text for stop strings.
#[derive(Debug, Clone, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text received but not handed out: always a proper prefix of some stop string (or empty).
    held: String,
    matched: Option<usize>,
}

impl StopMatcher {
    /// Empty strings among `stops` are ignored (they would stop before the first letter).
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.iter().filter(|s| !s.is_empty()).cloned().collect(), held: String::new(), matched: None }
    }

    /// Takes the next piece and returns the text that is now certain. After a stop string nothing more comes out.
    pub fn push(&mut self, piece: &str) -> String {
        if self.matched.is_some() {
            return String::new();
        }
        self.held.push_str(piece);
        let first =
            self.stops.iter().enumerate().filter_map(|(i, s)| self.held.find(s.as_str()).map(|start| (start + s.len(), start, i))).min();
        if let Some((_, start, index)) = first {
            self.matched = Some(index);
            let mut out = std::mem::take(&mut self.held);
            out.truncate(start);
            return out;
        }
        let keep = self.stops.iter().map(|s| longest_tail_that_starts(&self.held, s)).max().unwrap_or(0);
        let tail = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, tail)
    }

    /// The text ended without a stop string: returns what was held back.
    pub fn finish(&mut self) -> String {
        if self.matched.is_some() { String::new() } else { std::mem::take(&mut self.held) }
    }

    /// The stop string that was found, if any.
    pub fn matched(&self) -> Option<&str> {
        self.matched.map(|i| self.stops[i].as_str())
    }
}

/// Bytes of the longest tail of `text` that is a proper prefix of `stop`.
fn longest_tail_that_starts(text: &str, stop: &str) -> usize {
    stop.char_indices().map(|(i, _)| i).rev().find(|&n| n > 0 && text.ends_with(&stop[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        StopMatcher::new(&stops.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    fn run(stops: &[&str], pieces: &[&str]) -> (String, Option<String>) {
        let mut m = matcher(stops);
        let mut out: String = pieces.iter().map(|p| m.push(p)).collect();
        out += &m.finish();
        (out, m.matched().map(str::to_owned))
    }

    #[test]
    fn found_across_pieces() {
        assert_eq!(run(&["\nUser:"], &["Hi.\n", "Us", "er", ": again"]), ("Hi.".into(), Some("\nUser:".into())));
        assert_eq!(run(&["停止"], &["好的停", "止了"]), ("好的".into(), Some("停止".into())));
    }

    #[test]
    fn false_starts_are_given_back() {
        assert_eq!(run(&["\nUser:"], &["a\n", "Use", "less"]), ("a\nUseless".into(), None));
        assert_eq!(run(&["abc"], &["ab"]), ("ab".into(), None));
    }

    #[test]
    fn only_the_uncertain_tail_is_held() {
        let mut m = matcher(&["###"]);
        assert_eq!(m.push("one # two #"), "one # two ");
        assert_eq!(m.push("#"), "");
        assert_eq!(m.push(" x"), "## x");
    }

    #[test]
    fn first_to_complete_wins_then_the_longest() {
        assert_eq!(run(&["abcX", "bc"], &["zabcX"]), ("za".into(), Some("bc".into())));
        assert_eq!(run(&["bc", "abc"], &["zabc"]), ("z".into(), Some("abc".into())));
    }

    #[test]
    fn overlapping_restart_inside_a_false_start() {
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), Some("aab".into())));
    }

    #[test]
    fn silent_after_a_match_and_without_stops() {
        let mut m = matcher(&["."]);
        assert_eq!(m.push("Yes. No"), "Yes");
        assert_eq!(m.push("more"), "");
        assert_eq!(m.finish(), "");
        assert_eq!(run(&[""], &["any", "thing"]), ("anything".into(), None));
    }

    /// The rule of the module's head, applied to the whole text.
    fn definition(stops: &[String], text: &str) -> (String, bool) {
        for (end, _) in text.char_indices().map(|(i, c)| (i + c.len_utf8(), c)) {
            let longest = stops.iter().filter(|s| text[..end].ends_with(s.as_str())).map(|s| s.len()).max();
            if let Some(n) = longest {
                return (text[..end - n].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_definition(
            stops in prop::collection::vec("[abé停]{1,4}", 0..4),
            pieces in prop::collection::vec("[abé停]{0,4}", 0..12),
        ) {
            let (expected, stopped) = definition(&stops, &pieces.concat());
            let mut m = StopMatcher::new(&stops);
            let mut out = String::new();
            for p in &pieces {
                out += &m.push(p);
                // What is out already never has to be taken back.
                prop_assert!(expected.starts_with(&out));
            }
            out += &m.finish();
            prop_assert_eq!(out, expected);
            prop_assert_eq!(m.matched().is_some(), stopped);
        }
    }
}
