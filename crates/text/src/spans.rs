//! Offsets in the unit that people and label files mean: code points.
//!
//! Rust counts bytes, JavaScript and Label Studio's exports count UTF-16 units, brat and doccano count code points. A
//! [`CodePoints`] index over one text converts between the three; every conversion refuses an offset inside a character.

use std::ops::Range;

/// An index over one text: code points to bytes in O(1) and back in O(log n); UTF-16 units by a walk over the text.
#[derive(Clone, Debug)]
pub struct CodePoints<'a> {
    text: &'a str,
    /// Byte offset of each code point, and the text's length at the end. Empty for ASCII texts, where all three units agree.
    bytes: Vec<u32>,
}

impl<'a> CodePoints<'a> {
    /// Indexes `text`: one pass, 4 bytes for each code point (nothing for ASCII).
    pub fn new(text: &'a str) -> Self {
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).map(|at| at as u32).collect()
        };
        CodePoints { text, bytes }
    }

    /// Number of code points.
    pub fn len(&self) -> usize {
        if self.bytes.is_empty() { self.text.len() } else { self.bytes.len() - 1 }
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Byte offset of code point `index`; the length of the text for `index == len()`; `None` beyond.
    pub fn to_byte(&self, index: usize) -> Option<usize> {
        if self.bytes.is_empty() { (index <= self.text.len()).then_some(index) } else { self.bytes.get(index).map(|&b| b as usize) }
    }

    /// Code point that starts at byte `offset`; `None` inside a character or beyond the end.
    pub fn from_byte(&self, offset: usize) -> Option<usize> {
        if self.bytes.is_empty() {
            (offset <= self.text.len()).then_some(offset)
        } else {
            self.bytes.binary_search(&u32::try_from(offset).ok()?).ok()
        }
    }

    /// Code point at UTF-16 offset `units`; `None` between the halves of a surrogate pair or beyond the end.
    pub fn from_utf16(&self, units: usize) -> Option<usize> {
        let mut seen = 0;
        for (index, c) in self.text.chars().enumerate() {
            if seen >= units {
                return (seen == units).then_some(index);
            }
            seen += c.len_utf16();
        }
        (seen == units).then(|| self.len())
    }

    /// UTF-16 offset of code point `index`.
    pub fn to_utf16(&self, index: usize) -> Option<usize> {
        let byte = self.to_byte(index)?;
        Some(self.text[..byte].chars().map(char::len_utf16).sum())
    }

    /// The byte range of a code point range.
    pub fn byte_range(&self, points: &Range<usize>) -> Option<Range<usize>> {
        let range = self.to_byte(points.start)?..self.to_byte(points.end)?;
        (range.start <= range.end).then_some(range)
    }

    /// The code point range of a byte range.
    pub fn point_range(&self, bytes: &Range<usize>) -> Option<Range<usize>> {
        let range = self.from_byte(bytes.start)?..self.from_byte(bytes.end)?;
        (range.start <= range.end).then_some(range)
    }

    /// The text of a code point range.
    pub fn slice(&self, points: &Range<usize>) -> Option<&'a str> {
        self.byte_range(points).map(|bytes| &self.text[bytes])
    }
}
