//! Labelling functions that a person writes: words, expressions, lengths, columns. Each votes for one class or abstains.
//!
//! Owns the `regex` library in this crate.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// When a rule votes.
#[derive(Debug)]
pub enum Test {
    /// The text matches.
    Pattern(Regex),
    /// The text has this many characters.
    Length {
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// A column of the row has one of these values.
    Equals {
        /// The column.
        column: String,
        /// Its values.
        values: Vec<String>,
    },
    /// A column of the row is a number within these bounds.
    Between {
        /// The column.
        column: String,
        /// At least.
        min: f64,
        /// At most.
        max: f64,
    },
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The class that it votes for.
    pub class: u32,
    /// When.
    pub test: Test,
}

/// An expression as a test.
///
/// # Errors
/// What is wrong with it.
pub fn pattern(expression: &str) -> Result<Test, String> {
    Ok(Test::Pattern(RegexBuilder::new(expression).case_insensitive(true).build().map_err(|e| e.to_string())?))
}

/// Any of these words or phrases as a test: whole words in alphabetic scripts, anywhere in Chinese, whatever their case.
///
/// # Errors
/// There is no word.
pub fn keywords(words: &[String]) -> Result<Test, String> {
    let word = |c: char| c.is_alphanumeric() && !is_unspaced(c);
    let one = |phrase: &&str| {
        let edge = |c: Option<char>| if c.is_some_and(word) { r"\b" } else { "" };
        format!("{}{}{}", edge(phrase.chars().next()), regex::escape(phrase), edge(phrase.chars().last()))
    };
    let parts: Vec<String> = words.iter().map(|w| w.trim()).filter(|w| !w.is_empty()).collect::<Vec<_>>().iter().map(one).collect();
    if parts.is_empty() {
        return Err("there is no word in it".into());
    }
    pattern(&parts.join("|"))
}

/// Scripts that put no spaces between words.
fn is_unspaced(c: char) -> bool {
    matches!(c as u32, 0x2E80..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x323AF)
}

impl Rule {
    /// The vote on a row: its text and its other columns.
    pub fn vote(&self, text: &str, fields: &Map<String, Value>) -> Option<u32> {
        let written = |column: &str| match fields.get(column) {
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(Value::Number(n)) => Some(n.to_string()),
            Some(Value::Bool(b)) => Some(b.to_string()),
            _ => None,
        };
        let holds = match &self.test {
            Test::Pattern(regex) => regex.is_match(text),
            Test::Length { min, max } => (*min..=*max).contains(&text.chars().count()),
            Test::Equals { column, values } => written(column).is_some_and(|v| values.contains(&v)),
            Test::Between { column, min, max } => {
                written(column).and_then(|v| v.parse::<f64>().ok()).is_some_and(|v| v >= *min && v <= *max)
            }
        };
        holds.then_some(self.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_and_chinese_is_anywhere() {
        let test = keywords(&["dull".into(), "违约金".into(), "so-so".into()]).unwrap();
        let rule = Rule { name: "r".into(), class: 1, test };
        let vote = |text: &str| rule.vote(text, &Map::new());
        assert_eq!((vote("A DULL film"), vote("dullness"), vote("支付违约金。"), vote("it is so-so")), (Some(1), None, Some(1), Some(1)));
        assert!(keywords(&[" ".into()]).is_err() && pattern("(").is_err());
    }

    #[test]
    fn lengths_and_columns() {
        let fields = serde_json::json!({"stars": 2, "lang": "zh"}).as_object().unwrap().clone();
        let vote = |test: Test| Rule { name: String::new(), class: 0, test }.vote("很好", &fields).is_some();
        assert!(vote(Test::Length { min: 1, max: 2 }) && !vote(Test::Length { min: 3, max: 9 }));
        assert!(vote(Test::Between { column: "stars".into(), min: 1.0, max: 2.0 }));
        assert!(vote(Test::Equals { column: "lang".into(), values: vec!["zh".into()] }));
        assert!(!vote(Test::Equals { column: "none".into(), values: vec![String::new()] }));
    }
}
