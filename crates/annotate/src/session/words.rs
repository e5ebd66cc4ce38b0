//! Where the words of a text are, for a cursor that goes from word to word: runs of letters and digits; Chinese as jieba cuts it.

use vectorize::analyze::{Analyzer, Scratch};
use vectorize::{AnalyzerSettings, Unit};

/// Words and sentences of a text, in code points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// First code point of each word and one past its last, in order.
    pub words: Vec<[usize; 2]>,
    /// First code point of each sentence or line.
    pub sentences: Vec<usize>,
    chars: Vec<char>,
}

/// What a character belongs to.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Kind {
    Letter,
    Han,
    Other,
}

fn kind(c: char) -> Kind {
    match u32::from(c) {
        0x3400..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x323af => Kind::Han,
        // Marks stand on the letter before them.
        0x300..=0x36f => Kind::Letter,
        _ if c.is_alphanumeric() || c == '_' => Kind::Letter,
        _ => Kind::Other,
    }
}

impl Words {
    /// Finds them; the dictionary is read the first time that a text is Chinese.
    pub fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut jieba = None;
        let mut words = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let of = kind(chars[at]);
            let end = at + chars[at..].iter().take_while(|c| kind(**c) == of).count();
            match of {
                Kind::Letter => words.push([at, end]),
                Kind::Han => {
                    let settings = || AnalyzerSettings { unit: Unit::Jieba, lowercase: false, ..AnalyzerSettings::default() };
                    let run: String = chars[at..end].iter().collect();
                    let mut from = at;
                    if let Some(analyzer) = jieba.get_or_insert_with(|| Analyzer::new(&settings()).ok()) {
                        analyzer.tokens(&run, &mut Scratch::default(), &mut |word| {
                            let to = (from + word.chars().count()).min(end);
                            words.push([from, to]);
                            from = to;
                        });
                    }
                    words.extend((from..end).map(|i| [i, i + 1]));
                }
                Kind::Other => {}
            }
            at = end;
        }
        let ends = |i: usize| match chars[i] {
            '\n' | '。' | '！' | '？' | '；' => true,
            '.' | '!' | '?' | ';' => chars.get(i + 1).is_none_or(|c| c.is_whitespace()),
            _ => false,
        };
        let mut sentences = vec![0];
        for i in (0..chars.len()).filter(|i| ends(*i)) {
            let next = (i + 1..chars.len()).find(|j| !chars[*j].is_whitespace());
            sentences.extend(next.filter(|n| sentences.last() != Some(n)));
        }
        Self { words, sentences, chars }
    }

    /// Number of code points.
    pub fn len(&self) -> usize {
        self.chars.len()
    }

    /// Whether a place is the end of a line, which no screen shows.
    pub fn is_line_end(&self, at: usize) -> bool {
        self.chars.get(at).is_none_or(|c| matches!(c, '\n' | '\r'))
    }

    /// The word around a place.
    pub fn around(&self, at: usize) -> Option<[usize; 2]> {
        self.words.iter().copied().find(|[start, end]| (*start..*end).contains(&at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_both_languages_and_sentences() {
        let text = "Ann's naïve x_1, 甲方租金。\n  第二条 Ltd. ends";
        let found = Words::of(text);
        let words: Vec<String> = found.words.iter().map(|[s, e]| text.chars().skip(*s).take(e - s).collect()).collect();
        assert_eq!(words, ["Ann", "s", "naïve", "x_1", "甲方", "租金", "第二条", "Ltd", "ends"]);
        let begins: Vec<char> = found.sentences.iter().map(|s| text.chars().nth(*s).unwrap()).collect();
        assert_eq!(begins, ['A', '第', 'e']);
        assert_eq!(found.around(found.len() - 1), Some([found.len() - 4, found.len()]));
        assert!(found.is_line_end(text.chars().position(|c| c == '\n').unwrap()) && found.is_line_end(999));
        assert_eq!(Words::of("").words, Vec::<[usize; 2]>::new());
    }
}
