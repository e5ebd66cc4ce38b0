//! What a file becomes: pages and blocks.

use serde::{Deserialize, Serialize};

/// A rectangle on a page: points (1/72 inch), origin at the upper left corner of the page as it is shown, y downward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BBox {
    /// Left edge.
    pub x0: f32,
    /// Upper edge.
    pub y0: f32,
    /// Right edge.
    pub x1: f32,
    /// Lower edge.
    pub y1: f32,
}

impl BBox {
    /// The smallest rectangle that holds both.
    #[must_use]
    pub fn union(self, other: BBox) -> BBox {
        BBox { x0: self.x0.min(other.x0), y0: self.y0.min(other.y0), x1: self.x1.max(other.x1), y1: self.y1.max(other.y1) }
    }

    /// Width in points.
    pub fn width(&self) -> f32 {
        self.x1 - self.x0
    }

    /// Height in points.
    pub fn height(&self) -> f32 {
        self.y1 - self.y0
    }

    /// Whether a point lies inside.
    pub fn holds(&self, x: f32, y: f32) -> bool {
        self.x0 <= x && x <= self.x1 && self.y0 <= y && y <= self.y1
    }
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// A heading of level 1 to 6.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// An entry of a list; its text begins with its marker.
    Item,
    /// A table; its text is Markdown.
    Table,
    /// Text whose line breaks mean something.
    Code,
}

/// Where (a part of) a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Page, from 1.
    pub page: u32,
    /// Box on it, where the format has boxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bbox: Option<BBox>,
}

/// A link in a block's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// First code point of the linked words in the block's text.
    pub start: usize,
    /// One past their last code point.
    pub end: usize,
    /// Where the link goes.
    pub uri: String,
}

/// One piece of text in reading order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its text.
    pub text: String,
    /// Where it stands; more than one place if it goes on in another column.
    pub places: Vec<Place>,
    /// Links in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Mean confidence of its words (0 to 1) if it was recognised from a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Words with their boxes and confidences, if it was recognised from a picture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
}

/// A recognised word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// Its box on the page.
    pub bbox: BBox,
    /// How sure the recogniser is, 0 to 1.
    pub confidence: f32,
}

impl Block {
    /// A block of a format without boxes.
    pub fn plain(kind: BlockKind, text: impl Into<String>, page: u32) -> Self {
        Block { kind, text: text.into(), places: vec![Place { page, bbox: None }], links: Vec::new(), confidence: None, words: Vec::new() }
    }

    /// Its first page (0 if it has no place, which no reader makes).
    pub fn page(&self) -> u32 {
        self.places.first().map_or(0, |p| p.page)
    }
}

/// Where a page's text came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageSource {
    /// The file holds it as text.
    Text,
    /// It was recognised in a picture.
    Ocr,
    /// There is nothing on it.
    Empty,
    /// It could not be read; the page's `reason` says why.
    Failed,
}

impl PageSource {
    /// The word in the store and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            PageSource::Text => "text",
            PageSource::Ocr => "ocr",
            PageSource::Empty => "empty",
            PageSource::Failed => "failed",
        }
    }

    /// The source of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [PageSource::Text, PageSource::Ocr, PageSource::Empty, PageSource::Failed].into_iter().find(|s| s.name() == name)
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageInfo {
    /// From 1.
    pub number: u32,
    /// Where its text came from.
    pub source: PageSource,
    /// Width in points, as shown (0 where the format has no pages).
    pub width: f32,
    /// Height in points.
    pub height: f32,
    /// Clockwise turn in degrees that the file asks for (0, 90, 180, 270).
    pub rotation: u16,
    /// The language that the recogniser was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Mean confidence of its words, 0 to 1, if recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Why it failed, or what is odd about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PageInfo {
    /// The one page of a format that has none.
    pub fn unpaged(number: u32, empty: bool) -> Self {
        let source = if empty { PageSource::Empty } else { PageSource::Text };
        PageInfo { number, source, width: 0.0, height: 0.0, rotation: 0, language: None, confidence: None, reason: None }
    }
}

/// A page (or, without a number, a whole file) that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFailure {
    /// Page from 1; `None`: the file as a whole.
    pub page: Option<u32>,
    /// Why, and what to do.
    pub reason: String,
}

/// All that was read from a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    /// `pdf`, `docx`, `text`, …
    pub format: String,
    /// The encoding that was found, of formats that have one.
    pub encoding: Option<String>,
    /// The page count that the file itself states, of formats that have one.
    pub declared_pages: Option<u32>,
    /// Pages in order.
    pub pages: Vec<PageInfo>,
    /// Blocks in reading order.
    pub blocks: Vec<Block>,
    /// What is wrong with the file beyond single pages: a page count that does not fit.
    pub failures: Vec<PageFailure>,
    /// Worth telling, no failure.
    pub notes: Vec<String>,
}

impl Extracted {
    /// The text of all blocks as it is stored, with each block's byte range in it: blocks are parted by a blank line, entries of one
    /// list by a line end.
    pub fn text(&self) -> (String, Vec<std::ops::Range<usize>>) {
        join(&self.blocks)
    }
}

/// See [`Extracted::text`].
pub fn join(blocks: &[Block]) -> (String, Vec<std::ops::Range<usize>>) {
    let mut text = String::new();
    let mut ranges = Vec::with_capacity(blocks.len());
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 {
            let same_list = block.kind == BlockKind::Item && blocks[i - 1].kind == BlockKind::Item;
            text.push_str(if same_list { "\n" } else { "\n\n" });
        }
        let start = text.len();
        text.push_str(&block.text);
        ranges.push(start..text.len());
    }
    (text, ranges)
}
