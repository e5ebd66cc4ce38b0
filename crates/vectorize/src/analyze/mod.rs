//! From a text to terms: scikit-learn's analyzers, and Chinese by words or characters.
//!
//! The order is scikit-learn's: accents, lower case, tokens, stop words, n-grams (`_VectorizerMixin` in
//! `sklearn/feature_extraction/text.py`).

mod chars;
mod jieba;
mod words;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use crate::error::{Result, VectorizeError};
use jieba::Jieba;
use words::Words;
pub(crate) use words::is_word;

/// What a term is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Words as `token_pattern` finds them.
    #[default]
    Word,
    /// Words as jieba cuts them; pieces without a letter or digit are left out.
    Jieba,
    /// Every Chinese character by itself, other words as `token_pattern` finds them.
    Han,
    /// Characters, runs of white space counting as one.
    Char,
    /// Characters within words, each word with a space before and behind.
    CharWb,
}

/// Letters without their accents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StripAccents {
    /// NFKD, and only what is ASCII then.
    Ascii,
    /// NFKD without combining characters.
    Unicode,
}

/// Words that count for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopWords {
    /// Every word counts.
    #[default]
    None,
    /// scikit-learn's English list (318 words of the Glasgow Information Retrieval Group).
    English,
    /// These.
    List(Vec<String>),
}

/// How texts become terms; the names are scikit-learn's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyzerSettings {
    /// `analyzer`.
    pub unit: Unit,
    /// Shortest and longest run of tokens (of characters, for `char` and `char_wb`) that is a term.
    pub ngram_range: (usize, usize),
    /// Compare in lower case.
    pub lowercase: bool,
    /// Drop accents.
    pub strip_accents: Option<StripAccents>,
    /// A regular expression; with one group, the group is the token. Unset: `(?u)\b\w\w+\b`.
    pub token_pattern: Option<String>,
    /// Words left out before n-grams are made.
    pub stop_words: StopWords,
    /// Lines of a jieba user dictionary: `word [frequency] [tag]`.
    pub user_dictionary: Vec<String>,
}

impl Default for AnalyzerSettings {
    fn default() -> Self {
        Self {
            unit: Unit::Word,
            ngram_range: (1, 1),
            lowercase: true,
            strip_accents: None,
            token_pattern: None,
            stop_words: StopWords::None,
            user_dictionary: Vec::new(),
        }
    }
}

const ENGLISH: &str = include_str!("english.txt");

/// Buffers that one thread reuses from text to text.
#[derive(Default)]
pub struct Scratch {
    text: String,
    other: String,
    places: Vec<(u32, u32)>,
}

/// Settings made ready: texts in, tokens out.
pub struct Analyzer {
    settings: AnalyzerSettings,
    words: Words,
    jieba: Option<Jieba>,
    stop: HashSet<String>,
}

impl std::fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Analyzer").field(&self.settings).finish()
    }
}

impl Analyzer {
    /// Checks the settings; loads the dictionary if words are cut by jieba.
    ///
    /// # Errors
    /// A setting that makes no sense, by name.
    pub fn new(settings: &AnalyzerSettings) -> Result<Self> {
        let (low, high) = settings.ngram_range;
        if low == 0 || low > high {
            return Err(VectorizeError::setting(
                "ngram_range",
                format!("{low}-{high}: the shortest is at least 1 and at most the longest"),
            ));
        }
        if !settings.user_dictionary.is_empty() && settings.unit != Unit::Jieba {
            return Err(VectorizeError::setting("user_dictionary", "only the analyzer `jieba` has a dictionary"));
        }
        let stop = match &settings.stop_words {
            StopWords::None => HashSet::new(),
            StopWords::English => ENGLISH.lines().map(str::to_owned).collect(),
            StopWords::List(words) => words.iter().cloned().collect(),
        };
        let jieba = if settings.unit == Unit::Jieba { Some(Jieba::new(&settings.user_dictionary)?) } else { None };
        Ok(Self { words: Words::new(settings.token_pattern.as_deref())?, jieba, stop, settings: settings.clone() })
    }

    /// The settings.
    pub fn settings(&self) -> &AnalyzerSettings {
        &self.settings
    }

    /// Whether terms are runs of several tokens joined by spaces (character n-grams are made by [`tokens`](Self::tokens) itself).
    pub(crate) fn joins(&self) -> (usize, usize) {
        match self.settings.unit {
            Unit::Char | Unit::CharWb => (1, 1),
            _ => self.settings.ngram_range,
        }
    }

    /// Calls `each` with every token of a text, in order: words, or character n-grams.
    pub fn tokens(&self, text: &str, scratch: &mut Scratch, each: &mut dyn FnMut(&str)) {
        self.prepare(text, scratch);
        let text: &str = &scratch.text;
        let mut counted = |word: &str| {
            if self.stop.is_empty() || !self.stop.contains(word) {
                each(word);
            }
        };
        match self.settings.unit {
            Unit::Word => self.words.find(text, &mut counted),
            Unit::Han => words::by_script(text, &mut |piece, han| {
                if han { chars::each_char(piece, &mut counted) } else { self.words.find(piece, &mut counted) }
            }),
            Unit::Jieba => {
                if let Some(jieba) = &self.jieba {
                    jieba.cut(text, &mut |word| {
                        if word.chars().any(is_word) {
                            counted(word);
                        }
                    });
                }
            }
            Unit::Char => chars::ngrams(text, self.settings.ngram_range, &mut scratch.other, &mut scratch.places, each),
            Unit::CharWb => chars::ngrams_in_words(text, self.settings.ngram_range, &mut scratch.other, &mut scratch.places, each),
        }
    }

    /// Every term of a text, n-grams joined by a space: all of the shortest, then the longer ones.
    pub fn terms(&self, text: &str, scratch: &mut Scratch, each: &mut dyn FnMut(&str)) {
        let (low, high) = self.joins();
        if high == 1 {
            return self.tokens(text, scratch, each);
        }
        let mut tokens: Vec<String> = Vec::new();
        self.tokens(text, scratch, &mut |t| tokens.push(t.to_owned()));
        let mut term = String::new();
        for n in low..=high.min(tokens.len()) {
            for run in tokens.windows(n) {
                term.clear();
                for (i, token) in run.iter().enumerate() {
                    if i > 0 {
                        term.push(' ');
                    }
                    term.push_str(token);
                }
                each(&term);
            }
        }
    }

    /// Accents and case.
    fn prepare(&self, text: &str, scratch: &mut Scratch) {
        let out = &mut scratch.text;
        out.clear();
        match self.settings.strip_accents.filter(|_| !text.is_ascii()) {
            Some(StripAccents::Ascii) => out.extend(text.nfkd().filter(char::is_ascii)),
            Some(StripAccents::Unicode) => out.extend(text.nfkd().filter(|&c| canonical_combining_class(c) == 0)),
            None => out.push_str(text),
        }
        if self.settings.lowercase {
            if out.is_ascii() {
                out.make_ascii_lowercase();
            } else {
                *out = out.to_lowercase();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn terms(settings: &AnalyzerSettings, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        Analyzer::new(settings).unwrap().terms(text, &mut Scratch::default(), &mut |t| out.push(t.to_owned()));
        out
    }

    #[test]
    fn words_n_grams_and_stop_words() {
        let settings = AnalyzerSettings { ngram_range: (1, 2), stop_words: StopWords::English, ..Default::default() };
        assert_eq!(terms(&settings, "The CAT sat on a Mat!"), ["cat", "sat", "mat", "cat sat", "sat mat"]);
        let accents = AnalyzerSettings { strip_accents: Some(StripAccents::Unicode), ..Default::default() };
        assert_eq!(terms(&accents, "Café ÉTÉ 很好"), ["cafe", "ete", "很好"]);
        let pattern = AnalyzerSettings { token_pattern: Some(r"#(\w+)".into()), ..Default::default() };
        assert_eq!(terms(&pattern, "#One two #三"), ["one", "三"]);
    }

    #[test]
    fn chinese_by_words_and_by_characters() {
        let han = AnalyzerSettings { unit: Unit::Han, ngram_range: (1, 2), ..Default::default() };
        assert_eq!(terms(&han, "很好 film"), ["很", "好", "film", "很 好", "好 film"]);
        let jieba = AnalyzerSettings { unit: Unit::Jieba, ..Default::default() };
        assert_eq!(terms(&jieba, "我来到北京清华大学。"), ["我", "来到", "北京", "清华大学"]);
        let custom = AnalyzerSettings { user_dictionary: vec!["石墨烯电池 1000".into()], ..jieba.clone() };
        assert!(terms(&custom, "新的石墨烯电池").contains(&"石墨烯电池".to_owned()));
        let wrong = AnalyzerSettings { user_dictionary: vec!["石墨烯 many".into()], ..jieba };
        assert!(Analyzer::new(&wrong).unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn mistakes_are_named() {
        let of = |s: AnalyzerSettings| Analyzer::new(&s).unwrap_err().to_string();
        assert!(of(AnalyzerSettings { ngram_range: (2, 1), ..Default::default() }).starts_with("ngram_range"));
        assert!(of(AnalyzerSettings { token_pattern: Some("(".into()), ..Default::default() }).starts_with("token_pattern"));
        assert!(of(AnalyzerSettings { token_pattern: Some("(a)(b)".into()), ..Default::default() }).contains("group"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_panics(text in "[a-zA-Zé\u{301}你好 \u{1F600}\r\n_0-9.]{0,60}") {
            for unit in [Unit::Word, Unit::Han, Unit::Char, Unit::CharWb] {
                for strip_accents in [None, Some(StripAccents::Ascii), Some(StripAccents::Unicode)] {
                    terms(&AnalyzerSettings { unit, strip_accents, ngram_range: (1, 3), ..Default::default() }, &text);
                }
            }
        }
    }
}
