//! A prompt with `{field}` places.

use std::collections::BTreeMap;

/// A parsed prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(String),
}

impl PromptTemplate {
    /// Parses `{field}` places; `{{` and `}}` are braces. An error says what is wrong and where.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = source.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '{' | '}' if chars.peek().is_some_and(|&(_, next)| next == c) => {
                    literal.push(c);
                    chars.next();
                }
                '{' => {
                    let rest = &source[at + 1..];
                    let Some(end) = rest.find('}') else {
                        return Err(format!("the brace at character {} is never closed; write {{{{ for a brace", position(source, at)));
                    };
                    let name = rest[..end].trim();
                    if name.is_empty() || name.contains(['{', '\n']) {
                        return Err(format!("no field name after the brace at character {}; write {{{{ for a brace", position(source, at)));
                    }
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Field(name.to_owned()));
                    while chars.next_if(|&(i, _)| i <= at + 1 + end).is_some() {}
                }
                '}' => return Err(format!("the brace at character {} closes nothing; write }}}} for a brace", position(source, at))),
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(PromptTemplate { pieces })
    }

    /// The fields' names, sorted, each once.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Field(name) => Some(name.as_str()),
                Piece::Literal(_) => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The text with every field filled in; a missing field is empty.
    pub(crate) fn fill(&self, fields: &BTreeMap<String, String>) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.as_str(),
                Piece::Field(name) => fields.get(name).map_or("", String::as_str),
            })
            .collect()
    }
}

fn position(source: &str, byte: usize) -> usize {
    source[..byte].chars().count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(source: &str, pairs: &[(&str, &str)]) -> String {
        let fields = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        PromptTemplate::parse(source).unwrap().fill(&fields)
    }

    #[test]
    fn fields_are_filled_and_braces_escape() {
        assert_eq!(fill("Review: {text}\nSentiment:", &[("text", "{so} good")]), "Review: {so} good\nSentiment:");
        assert_eq!(fill("{{\"标题\": \"{ 标题 }\"}}", &[("标题", "好")]), "{\"标题\": \"好\"}");
        assert_eq!(PromptTemplate::parse("{b}{a}{b}").unwrap().fields(), ["a", "b"]);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (source, part) in [("好{text", "character 2 is never closed"), ("a{}", "no field name"), ("a}b", "character 2 closes nothing")]
        {
            let error = PromptTemplate::parse(source).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_comes_back(text in "[a-z{}好 ]{0,20}") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(fill(&escaped, &[]), text);
        }

        #[test]
        fn any_text_is_survived(text in "[a{}好]{0,12}") {
            let _ = PromptTemplate::parse(&text);
        }
    }
}
