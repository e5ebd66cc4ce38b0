//! Pages that are pictures: cleaned by us, recognised by Tesseract as a process, laid out by us.

use crate::block::{BBox, Block, Word};
use crate::import::pdf::{Recognised, Recogniser};
use crate::layout::{self, Piece, space_between};
use crate::pdf::{Gray, PagedReader};

pub mod picture;
mod tesseract;
pub mod tiff;

pub use tesseract::Tesseract;

/// Resolution at which pages are drawn; what Tesseract's models were trained for.
const DPI: f32 = 300.0;
/// A word of signs only, less sure than this, is dirt.
const DIRT: f32 = 0.4;

/// A recognised word in pixels of the picture that was given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// Line it belongs to: words of a line come together.
    line: (u32, u32, u32),
    text: String,
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    confidence: f32,
}

/// What the recogniser says of a picture's script and turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Orientation {
    /// Clockwise turn in degrees that makes it upright.
    rotate: u16,
    /// `Latin`, `Han`, …
    script: String,
    /// How sure it is of the script.
    confidence: f32,
}

impl Recogniser for Tesseract {
    fn recognise(&self, reader: &dyn PagedReader, page: usize, size: (f32, f32), hint: &str) -> Result<Recognised, String> {
        self.ready()?;
        let picture = reader.raster(page, DPI)?;
        let scale = size.0 / picture.width.max(1) as f32;
        let clean = picture::clean(picture);
        let angle = picture::skew(&clean);
        let straight = picture::rotate(&clean, -angle);
        let orientation = self.orientation(&straight).unwrap_or_default();
        let turned = picture::quarter_turns(&straight, orientation.rotate);
        let (language, words) = self.read(&turned, &orientation, hint)?;
        let place = Placement {
            turned: (turned.width as f32, turned.height as f32),
            rotate: orientation.rotate,
            angle,
            size: (clean.width as f32, clean.height as f32),
            scale,
        };
        Ok(assemble(words, &place, language, page as u32 + 1))
    }

    fn settings(&self) -> String {
        self.describe()
    }
}

/// How a pixel of the turned picture comes back to the page.
struct Placement {
    turned: (f32, f32),
    rotate: u16,
    /// Degrees that the page was skewed by, clockwise.
    angle: f32,
    size: (f32, f32),
    /// Points a pixel.
    scale: f32,
}

impl Placement {
    fn point(&self, x: f32, y: f32) -> (f32, f32) {
        let (w, h) = self.turned;
        let (x, y) = match self.rotate {
            90 => (y, w - x),
            180 => (w - x, h - y),
            270 => (h - y, x),
            _ => (x, y),
        };
        let (cx, cy) = (self.size.0 / 2.0, self.size.1 / 2.0);
        let (sin, cos) = self.angle.to_radians().sin_cos();
        let (dx, dy) = (x - cx, y - cy);
        ((cx + dx * cos - dy * sin) * self.scale, (cy + dx * sin + dy * cos) * self.scale)
    }

    fn bbox(&self, b: BBox) -> BBox {
        let corners = [(b.x0, b.y0), (b.x1, b.y0), (b.x0, b.y1), (b.x1, b.y1)].map(|(x, y)| self.point(x, y));
        let fold = |f: fn(f32, f32) -> f32, pick: fn(&(f32, f32)) -> f32| corners.iter().map(pick).reduce(f).unwrap_or(0.0);
        BBox { x0: fold(f32::min, |p| p.0), y0: fold(f32::min, |p| p.1), x1: fold(f32::max, |p| p.0), y1: fold(f32::max, |p| p.1) }
    }
}

/// Words to blocks of a page.
fn assemble(words: Vec<Found>, place: &Placement, language: String, page: u32) -> Recognised {
    let words: Vec<Found> = words
        .into_iter()
        .filter(|w| w.confidence >= DIRT || w.text.chars().any(char::is_alphanumeric))
        .filter(|w| w.confidence > 0.05)
        .collect();
    let mut heights: Vec<f32> = words.iter().filter(|w| w.text.chars().any(char::is_alphanumeric)).map(|w| w.height).collect();
    heights.sort_by(f32::total_cmp);
    let usual = heights.get(heights.len() / 2).copied().unwrap_or(30.0).max(1.0);
    let mut pieces: Vec<Piece> = Vec::new();
    for line in words.chunk_by(|a, b| a.line == b.line) {
        line_pieces(line, usual, &mut pieces);
    }
    let (width, height) = place.turned;
    let mut laid = layout::pieces_to_blocks(pieces, &[], width, height);
    for block in &mut laid {
        block.boxes.iter_mut().for_each(|b| *b = place.bbox(*b));
        block.words.iter_mut().for_each(|w| w.bbox = place.bbox(w.bbox));
    }
    let sure: Vec<f32> = words.iter().map(|w| w.confidence).collect();
    let confidence = (!sure.is_empty()).then(|| sure.iter().sum::<f32>() / sure.len() as f32);
    let blocks: Vec<Block> = layout::document::blocks(vec![(page, laid)]);
    Recognised { blocks, language, confidence }
}

/// The words of a line as pieces: parted where the gap is that of a table.
fn line_pieces(line: &[Found], usual: f32, pieces: &mut Vec<Piece>) {
    let mut tall: Vec<f32> = line.iter().map(|w| w.height).collect();
    tall.sort_by(f32::total_cmp);
    let height = tall[tall.len() / 2];
    // Boxes hug the letters: a line without ascenders is not set smaller. Only what is much taller is another size.
    let size = if height > 1.45 * usual { height } else { usual * 1.15 };
    let mut bottoms: Vec<f32> = line.iter().map(|w| w.y + w.height).collect();
    bottoms.sort_by(f32::total_cmp);
    let baseline = bottoms[bottoms.len() / 2];
    let mut current: Option<Piece> = None;
    for word in line {
        let bbox = BBox { x0: word.x, y0: word.y, x1: word.x + word.width, y1: word.y + word.height };
        let mark = Word { text: word.text.clone(), bbox, confidence: word.confidence };
        let piece = Piece { text: word.text.clone(), x0: bbox.x0, x1: bbox.x1, y: baseline, size, words: vec![mark], ..Piece::default() };
        match current.as_mut() {
            Some(last) if (piece.x0 - last.x1) < 1.4 * size => {
                let gap = (piece.x0 - last.x1) / size;
                let (before, after) = (last.text.chars().next_back().unwrap_or(' '), word.text.chars().next().unwrap_or(' '));
                let space = space_between(before, after, gap, !crate::script::is_cjk(before) && !crate::script::is_cjk(after), 0.0);
                last.append(piece, space);
            }
            _ => pieces.extend(current.replace(piece)),
        }
    }
    pieces.extend(current);
}

/// A picture file as a file of one page.
pub struct PictureReader {
    picture: Gray,
}

impl PictureReader {
    /// Takes a picture.
    pub fn new(picture: Gray) -> Self {
        PictureReader { picture }
    }
}

impl PagedReader for PictureReader {
    fn pages(&self) -> usize {
        1
    }

    fn declared_pages(&self) -> Option<usize> {
        None
    }

    fn read(&self, _: std::ops::Range<usize>, each: &mut dyn FnMut(usize, Result<crate::pdf::RawPage, String>)) {
        let (width, height) = (self.picture.width as f32, self.picture.height as f32);
        let images = vec![BBox { x0: 0.0, y0: 0.0, x1: width, y1: height }];
        each(0, Ok(crate::pdf::RawPage { width, height, images, ..crate::pdf::RawPage::default() }));
    }

    fn raster(&self, _: usize, _: f32) -> Result<Gray, String> {
        Ok(self.picture.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_to_the_page() {
        for rotate in [0, 90, 180, 270] {
            let size = (600.0, 800.0);
            let turned = if rotate % 180 == 0 { size } else { (size.1, size.0) };
            let place = Placement { turned, rotate, angle: 0.0, size, scale: 0.5 };
            let middle = place.point(turned.0 / 2.0, turned.1 / 2.0);
            assert_eq!(middle, (150.0, 200.0), "{rotate}");
        }
        // 90: what is turned clockwise to be upright had its upper left corner at the lower left.
        let place = Placement { turned: (800.0, 600.0), rotate: 90, angle: 0.0, size: (600.0, 800.0), scale: 1.0 };
        assert_eq!(place.point(0.0, 0.0), (0.0, 800.0));
    }

    #[test]
    fn words_become_lines_without_dirt() {
        let word = |line, text: &str, x: f32, confidence| Found {
            line: (1, 1, line),
            text: text.into(),
            x,
            y: 100.0 * line as f32,
            width: 60.0,
            height: 30.0,
            confidence,
        };
        let words = vec![
            word(1, "The", 10.0, 0.9),
            word(1, "rent", 80.0, 0.9),
            word(2, "租", 10.0, 0.8),
            word(2, "金", 75.0, 0.8),
            word(9, "~", 10.0, 0.2),
        ];
        let place = Placement { turned: (600.0, 800.0), rotate: 0, angle: 0.0, size: (600.0, 800.0), scale: 0.24 };
        let got = assemble(words, &place, "eng".into(), 3);
        let texts: Vec<&str> = got.blocks.iter().map(|b| b.text.as_str()).collect();
        assert_eq!(texts, ["The rent", "租金"]);
        assert_eq!(got.blocks[0].words.len(), 2);
        assert_eq!(got.blocks[0].page(), 3);
        assert!((got.confidence.unwrap() - 0.85).abs() < 1e-6);
    }
}
