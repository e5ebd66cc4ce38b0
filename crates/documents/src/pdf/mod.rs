//! The pages of a PDF, whoever reads them: the trait that a reader stands behind, and what it gives.

use std::ops::Range;

use crate::block::BBox;

mod bombs;
mod hayro;

pub use self::hayro::{OpenError, open};

/// One character, or several that share a glyph (a ligature).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glyph {
    /// Its characters: a byte range of [`RawPage::text`].
    pub chars: (u32, u32),
    /// Origin on the baseline, points from the page's upper left corner.
    pub x: f32,
    /// Origin on the baseline, downward.
    pub y: f32,
    /// Where the next glyph would stand: the origin plus the advance.
    pub end_x: f32,
    /// See `end_x`.
    pub end_y: f32,
    /// Font size in points as shown.
    pub size: f32,
    /// Which way the text runs.
    pub direction: Direction,
    /// Whether the font is bold.
    pub bold: bool,
}

/// Which way a line of text runs on the page as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the right (nearly).
    Right,
    /// Downward: turned clockwise.
    Down,
    /// To the left: upside down.
    Left,
    /// Upward: turned anticlockwise.
    Up,
    /// Upright characters in columns from right to left.
    Vertical,
    /// At another angle: a stamp, a watermark.
    Oblique,
}

/// A link on a page.
#[derive(Clone, Debug, PartialEq)]
pub struct RawLink {
    /// Where it is active.
    pub bbox: BBox,
    /// Where it goes.
    pub uri: String,
}

/// A page as it is drawn. Coordinates: points, origin upper left of the page as shown (its rotation applied), y downward.
#[derive(Clone, Debug, Default)]
pub struct RawPage {
    /// Width as shown.
    pub width: f32,
    /// Height as shown.
    pub height: f32,
    /// Turn that the file asks for, clockwise: 0, 90, 180, 270.
    pub rotation: u16,
    /// Characters of all glyphs in drawing order.
    pub text: String,
    /// Glyphs in drawing order.
    pub glyphs: Vec<Glyph>,
    /// Glyphs whose character the font does not tell.
    pub unknown: usize,
    /// Lines and thin boxes, horizontal or vertical.
    pub rules: Vec<BBox>,
    /// Boxes of pictures.
    pub images: Vec<BBox>,
    /// Painted shapes that are no rules: drawings, or letters as outlines.
    pub shapes: usize,
    /// Links to elsewhere.
    pub links: Vec<RawLink>,
}

/// A grey picture: one byte a pixel, 0 is black.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gray {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Rows from above.
    pub pixels: Vec<u8>,
}

/// A file with pages that can be read in any order and from several threads.
pub trait PagedReader: Sync {
    /// Pages that can be found.
    fn pages(&self) -> usize;
    /// Pages that the file says it has.
    fn declared_pages(&self) -> Option<usize>;
    /// Reads pages (from 0) in order and hands over each, or why it cannot be read. State that pages share (fonts) is kept for the call, so
    /// a range is faster than its pages one by one.
    fn read(&self, pages: Range<usize>, each: &mut dyn FnMut(usize, Result<RawPage, String>));
    /// Draws a page (from 0).
    ///
    /// # Errors
    /// Why it cannot be drawn.
    fn raster(&self, page: usize, dpi: f32) -> Result<Gray, String>;
}

impl RawPage {
    /// Share of the page that pictures cover, 0 to 1 (overlaps count twice, but never above 1).
    pub fn picture_share(&self) -> f32 {
        let page = BBox { x0: 0.0, y0: 0.0, x1: self.width, y1: self.height };
        let area = |b: &BBox| {
            let w = (b.x1.min(page.x1) - b.x0.max(page.x0)).max(0.0);
            let h = (b.y1.min(page.y1) - b.y0.max(page.y0)).max(0.0);
            w * h
        };
        (self.images.iter().map(area).sum::<f32>() / (self.width * self.height).max(1.0)).min(1.0)
    }

    /// Whether the text can be used: characters that the fonts do not tell are few.
    pub fn has_usable_text(&self) -> bool {
        let letters = self.text.chars().filter(|c| !c.is_whitespace() && *c != '\u{FFFD}').count();
        letters > 0 && self.unknown * 5 <= letters + self.unknown
    }

    /// Whether there is anything to see besides text.
    pub fn has_picture(&self) -> bool {
        // A frame or a logo of a few strokes holds no text worth a recogniser's time; letters as outlines are many.
        self.picture_share() > 0.02 || self.shapes > 40
    }
}
