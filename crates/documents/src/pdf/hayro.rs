//! The `hayro` library as a [`PagedReader`]. Owns that library and `kurbo` in it.
//!
//! Why this one: measured on two cores, a clean release build takes 124 s (`pdf_oxide` 297 s), it interprets fonts, encodings and CMaps (those of
//! fonts that are not embedded too), decrypts, repairs cross-reference tables, and draws pages for the recogniser.
//!
//! It gives no promise never to panic on damaged files. A panic is caught per page and becomes that page's reason; a page that draws without
//! end is ended by a count of its operations, which is the same on every machine.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use hayro::hayro_interpret::font::{Glyph as HayroGlyph, GlyphRun};
use hayro::hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro::hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache, InterpreterSettings, RenderContent,
    SoftMask, TransformExt, interpret_page,
};
use hayro::hayro_syntax::object::{Array, Dict, Object, Rect as PdfRect, Stream, String as PdfString};
use hayro::hayro_syntax::page::{Page, Rotation};
use hayro::hayro_syntax::{DecryptionError, Filter, LoadPdfError, Pdf};
use hayro::kurbo::{Affine, BezPath, PathEl, Point, Rect, Shape};
use hayro::{PixmapSettings, RenderCache, RenderSettings};

use super::bombs::{self, Packing};
use super::{Direction, Glyph, Gray, PagedReader, RawLink, RawPage};
use crate::block::BBox;

mod scale;

/// Operations of one page; a dense map has some hundred thousand.
const MAX_OPERATIONS: u64 = 5_000_000;
/// Glyphs of one page; the densest telephone book has twenty thousand.
const MAX_GLYPHS: usize = 1_000_000;
/// Rules of one page that are looked at for tables.
const MAX_RULES: usize = 20_000;
/// A box at most this thick (points) is a line.
const RULE: f64 = 3.0;
/// Longest side of a page that is drawn, pixels: a page of a square metre stays within memory.
const MAX_PIXELS: f32 = 12_000.0;

/// Bytes that a page's content may unpack to: the densest map has some ten MB.
const MAX_CONTENT: u64 = 256 << 20;
/// What ends a page that goes on without end; carried by unwinding, never seen outside.
struct TooMuch(String);

/// Why a file cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is encrypted, and no password that was given fits.
    Password,
    /// Anything else.
    Damaged(String),
}

/// Opens a PDF, trying no password and then each of `passwords`.
pub fn open(bytes: Vec<u8>, passwords: &[String]) -> Result<Box<dyn PagedReader>, OpenError> {
    if bytes.is_empty() {
        return Err(OpenError::Damaged("the file is empty".into()));
    }
    bombs::check(&bytes).map_err(OpenError::Damaged)?;
    let bytes = std::sync::Arc::new(bytes);
    let mut last = OpenError::Damaged("not a PDF, or too damaged to find a page in it".into());
    for password in std::iter::once("").chain(passwords.iter().map(String::as_str)) {
        let data = bytes.clone();
        let opened = catch_unwind(AssertUnwindSafe(|| Pdf::new_with_password(data, password)));
        last = match opened {
            Ok(Ok(pdf)) => {
                let looked = catch_unwind(AssertUnwindSafe(|| check_streams(&pdf)));
                looked.unwrap_or_else(|_| Err("too damaged: the reader gave up on its objects".into())).map_err(OpenError::Damaged)?;
                let declared = catch_unwind(AssertUnwindSafe(|| declared_pages(&pdf))).unwrap_or(None);
                return Ok(Box::new(Reader { pdf, declared }));
            }
            Ok(Err(LoadPdfError::Decryption(DecryptionError::PasswordProtected))) => OpenError::Password,
            Ok(Err(LoadPdfError::Decryption(e))) => OpenError::Damaged(format!("it is encrypted in a way that cannot be undone ({e:?})")),
            Ok(Err(LoadPdfError::Invalid)) => OpenError::Damaged("not a PDF, or too damaged to find a page in it".into()),
            Err(_) => OpenError::Damaged("too damaged: the reader gave up on its structure".into()),
        };
        if last != OpenError::Password {
            break;
        }
    }
    Err(last)
}

/// The filters of a stream up to the one that makes pixels of bytes.
fn packings(stream: &Stream<'_>) -> Vec<Packing> {
    let packing = |filter: &Filter| match filter {
        Filter::FlateDecode => Some(Packing::Flate),
        Filter::LzwDecode => Some(Packing::Lzw),
        Filter::RunLengthDecode => Some(Packing::RunLength),
        Filter::Ascii85Decode => Some(Packing::Ascii85),
        Filter::AsciiHexDecode => Some(Packing::Hex),
        _ => None,
    };
    let filters = stream.filters();
    filters.iter().skip_while(|f| **f == Filter::Crypt).map_while(packing).collect()
}

/// Every stream as the reader will unpack it: deciphered, its filters resolved.
fn check_streams(pdf: &Pdf) -> Result<(), String> {
    for object in pdf.objects() {
        let Object::Stream(stream) = object else { continue };
        let filters = packings(&stream);
        if !filters.is_empty() {
            bombs::check_stream(&stream.raw_data(), &filters)?;
        }
    }
    Ok(())
}

/// What a page draws, unpacked: one stream, or many after each other (or one many times).
fn check_content(page: &Page<'_>) -> Result<(), String> {
    let streams: Vec<Stream<'_>> = match page.raw().get::<Stream<'_>>(b"Contents".as_slice()) {
        Some(stream) => vec![stream],
        None => page.raw().get::<Array<'_>>(b"Contents".as_slice()).map(|a| a.iter::<Stream<'_>>().collect()).unwrap_or_default(),
    };
    let part = |i: usize| (streams[i].raw_data(), packings(&streams[i]));
    bombs::check_together(streams.len(), part, MAX_CONTENT).map_err(|e| format!("its content: {e}"))
}

fn declared_pages(pdf: &Pdf) -> Option<usize> {
    let root = pdf.xref().get::<Dict<'_>>(pdf.xref().root_id())?;
    let count = root.get::<Dict<'_>>(b"Pages".as_slice())?.get::<i32>(b"Count".as_slice())?;
    usize::try_from(count).ok()
}

struct Reader {
    pdf: Pdf,
    declared: Option<usize>,
}

impl PagedReader for Reader {
    fn pages(&self) -> usize {
        self.pdf.pages().len()
    }

    fn declared_pages(&self) -> Option<usize> {
        self.declared
    }

    fn read(&self, pages: Range<usize>, each: &mut dyn FnMut(usize, Result<RawPage, String>)) {
        let mut cache = InterpreterCache::new();
        for number in pages {
            let Some(page) = self.pdf.pages().get(number) else { return };
            let outcome = catch_unwind(AssertUnwindSafe(|| read_page(page, &cache)));
            if outcome.is_err() {
                // What a panic left in the shared caches is not to be trusted.
                cache = InterpreterCache::new();
            }
            each(number, outcome.unwrap_or_else(|panic| Err(reason(panic.as_ref()))));
        }
    }

    fn raster(&self, page: usize, dpi: f32) -> Result<Gray, String> {
        let page = self.pdf.pages().get(page).ok_or("there is no such page")?;
        let (width, height) = page.render_dimensions();
        let scale = (dpi / 72.0).min(MAX_PIXELS / width.max(height).max(1.0));
        let settings = PixmapSettings { x_scale: scale, y_scale: scale, bg_color: hayro::vello_cpu::color::palette::css::WHITE };
        let draw = || {
            scale::weigh(page)?;
            let pixmap =
                hayro::render(page, &RenderCache::new(), &settings_for(RenderContent::all()), &RenderSettings::default(), &settings);
            let (width, height) = (usize::from(pixmap.width()), usize::from(pixmap.height()));
            // Luma of Rec. 601; the background is opaque, so premultiplied is plain.
            let pixels = pixmap
                .data()
                .iter()
                .map(|p| ((u32::from(p.r) * 299 + u32::from(p.g) * 587 + u32::from(p.b) * 114 + 500) / 1000) as u8)
                .collect();
            Ok(Gray { width, height, pixels })
        };
        catch_unwind(AssertUnwindSafe(draw)).unwrap_or_else(|panic| Err(reason(panic.as_ref())))
    }
}

fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    match panic.downcast_ref::<TooMuch>() {
        Some(TooMuch(reason)) => reason.clone(),
        None => "damaged: the reader gave up on it".to_owned(),
    }
}

fn settings_for(content: RenderContent) -> InterpreterSettings {
    InterpreterSettings { render_content: content, ..InterpreterSettings::default() }
}

fn read_page<'a>(page: &'a Page<'a>, cache: &InterpreterCache<'a>) -> Result<RawPage, String> {
    let (width, height) = page.render_dimensions();
    if !(width.is_finite() && height.is_finite()) {
        return Err("its size is no number".into());
    }
    let transform = page.initial_transform(true).to_kurbo();
    let rotation = match page.rotation() {
        Rotation::None => 0,
        Rotation::Horizontal => 90,
        Rotation::Flipped => 180,
        Rotation::FlippedHorizontal => 270,
    };
    check_content(page)?;
    let contents = page.raw().contains_key(b"Contents".as_slice());
    if contents && page.page_stream().is_none() {
        return Err("its content cannot be unpacked".into());
    }
    let bounds = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let mut context = Context::new(transform, bounds, cache, page.xref(), settings_for(RenderContent::all()));
    let raw = RawPage { width, height, rotation, links: links(page, transform), ..RawPage::default() };
    let mut collector = Collector { page: raw, operations: 0, utf8: String::new() };
    interpret_page(page, &mut context, &mut collector);
    Ok(collector.page)
}

fn links(page: &Page<'_>, transform: Affine) -> Vec<RawLink> {
    let Some(annotations) = page.raw().get::<Array<'_>>(b"Annots".as_slice()) else { return Vec::new() };
    let link = |annotation: Dict<'_>| {
        let action = annotation.get::<Dict<'_>>(b"A".as_slice())?;
        let uri = action.get::<PdfString<'_>>(b"URI".as_slice())?;
        let rect = annotation.get::<PdfRect>(b"Rect".as_slice())?;
        let bounds = transform.transform_rect_bbox(Rect::new(rect.x0, rect.y0, rect.x1, rect.y1));
        Some(RawLink { bbox: bbox(bounds), uri: String::from_utf8_lossy(uri.as_bytes()).into_owned() })
    };
    annotations.iter::<Dict<'_>>().take(10_000).filter_map(link).collect()
}

fn bbox(r: Rect) -> BBox {
    BBox { x0: r.x0 as f32, y0: r.y0 as f32, x1: r.x1 as f32, y1: r.y1 as f32 }
}

/// Gathers what a page draws.
struct Collector {
    page: RawPage,
    operations: u64,
    utf8: String,
}

impl Collector {
    fn tick(&mut self) {
        self.operations += 1;
        if self.operations > MAX_OPERATIONS {
            // Not a panic: nothing is printed, and `read` catches it.
            resume_unwind(Box::new(TooMuch(format!("it draws more than {MAX_OPERATIONS} things; no page needs that"))));
        }
    }

    fn rule(&mut self, r: Rect) {
        if self.page.rules.len() < MAX_RULES && r.is_finite() {
            self.page.rules.push(bbox(r));
        }
    }

    fn fill(&mut self, r: Rect) {
        if r.width().min(r.height()) <= RULE {
            if r.width().max(r.height()) > 2.0 * RULE {
                self.rule(r);
            }
        } else {
            // The edges of a filled box (a shaded cell) are rules as well.
            self.edges(r);
            self.page.shapes += 1;
        }
    }

    fn edges(&mut self, r: Rect) {
        if r.width() > 8.0 && r.height() > 4.0 {
            self.rule(Rect::new(r.x0, r.y0, r.x1, r.y0));
            self.rule(Rect::new(r.x0, r.y1, r.x1, r.y1));
            self.rule(Rect::new(r.x0, r.y0, r.x0, r.y1));
            self.rule(Rect::new(r.x1, r.y0, r.x1, r.y1));
        }
    }

    fn stroke(&mut self, path: &BezPath, transform: Affine) {
        let (mut start, mut at) = (Point::ZERO, Point::ZERO);
        for element in path.elements().iter().take(10_000) {
            let to = match *element {
                PathEl::MoveTo(p) => {
                    (start, at) = (p, p);
                    continue;
                }
                PathEl::LineTo(p) => p,
                PathEl::ClosePath => start,
                PathEl::QuadTo(_, p) | PathEl::CurveTo(_, _, p) => {
                    at = p;
                    continue;
                }
            };
            let r = Rect::from_points(transform * at, transform * to);
            at = to;
            if r.width().min(r.height()) <= 1.0 && r.width().max(r.height()) > 2.0 * RULE {
                self.rule(r);
            }
        }
    }

    fn glyph(&mut self, glyph: &HayroGlyph<'_>, transform: Affine, mode: WritingMode, bold: bool) {
        let start = self.page.text.len() as u32;
        match glyph.as_unicode() {
            Some(BfString::Char(c)) => push(&mut self.page.text, c),
            Some(BfString::String(s)) => {
                self.utf8.clear();
                self.utf8.push_str(&s);
                for c in self.utf8.chars() {
                    push(&mut self.page.text, c);
                }
            }
            None => self.page.text.push('\u{FFFD}'),
        }
        let end = self.page.text.len() as u32;
        if start == end {
            return;
        }
        if self.page.text[start as usize..].contains('\u{FFFD}') {
            self.page.unknown += 1;
        }
        let advance = match glyph {
            HayroGlyph::Outline(g) => g.advance_width(),
            HayroGlyph::Type3(g) => g.advance_width(),
        };
        let vertical = mode == WritingMode::Vertical;
        let advance = f64::from(advance.unwrap_or(500.0));
        let origin = transform * Point::ZERO;
        let up = transform * Point::new(0.0, 1000.0) - origin;
        // Vertical glyphs are placed by their upper middle; their origin is the lower left.
        let (origin, end_at) = if vertical {
            let middle = transform * Point::new(advance / 2.0, 880.0);
            (middle, middle - up)
        } else {
            (origin, transform * Point::new(advance, 0.0))
        };
        let size = up.hypot();
        let along = transform * Point::new(1000.0, 0.0) - transform * Point::ZERO;
        if !(origin.is_finite() && end_at.is_finite() && size.is_finite()) || size < 0.1 {
            self.page.text.truncate(start as usize);
            return;
        }
        let direction = if vertical { Direction::Vertical } else { direction(along.x, along.y) };
        self.page.glyphs.push(Glyph {
            chars: (start, end),
            x: origin.x as f32,
            y: origin.y as f32,
            end_x: end_at.x as f32,
            end_y: end_at.y as f32,
            size: size as f32,
            direction,
            bold,
        });
    }
}

/// The quarter turn that a vector is nearest to, if it is within 20 degrees of it.
fn direction(x: f64, y: f64) -> Direction {
    let slack = 0.364;
    if y.abs() <= x.abs() * slack {
        if x >= 0.0 { Direction::Right } else { Direction::Left }
    } else if x.abs() <= y.abs() * slack {
        if y >= 0.0 { Direction::Down } else { Direction::Up }
    } else {
        Direction::Oblique
    }
}

/// Adds a character as text means it: ligatures as letters, radicals as the characters they stand for, odd spaces as spaces, no controls.
fn push(text: &mut String, c: char) {
    match c {
        '\u{FB00}'..='\u{FB06}' => text.push_str(["ff", "fi", "fl", "ffi", "ffl", "st", "st"][(c as usize) - 0xFB00]),
        '\u{2E80}'..='\u{2FDF}' | '\u{F900}'..='\u{FAFF}' => {
            use unicode_normalization::UnicodeNormalization;
            text.extend(std::iter::once(c).nfkc());
        }
        '\u{A0}' | '\t' | '\u{2000}'..='\u{200A}' | '\u{202F}' => text.push(' '),
        '\u{E000}'..='\u{F8FF}' => text.push('\u{FFFD}'),
        '\u{200B}' | '\u{FEFF}' => {}
        c if c.is_control() => {}
        c => text.push(c),
    }
}

/// Whether a glyph's font is bold, as far as the font says so.
fn is_bold(glyph: &HayroGlyph<'_>) -> bool {
    let HayroGlyph::Outline(outline) = glyph else { return false };
    let Some(font) = outline.font_data() else { return false };
    font.weight.is_some_and(|w| w >= 600)
        || font.postscript_name.is_some_and(|n| {
            let name = n.to_ascii_lowercase();
            ["bold", "black", "heavy", "simhei"].iter().any(|w| name.contains(w))
        })
}

impl<'a> Device<'a> for Collector {
    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, draw_mode: &DrawMode) {
        self.tick();
        match draw_mode {
            DrawMode::Invisible => {}
            DrawMode::Fill(_) if path.elements().len() <= 7 => self.fill(props.transform.transform_rect_bbox(path.bounding_box())),
            DrawMode::Fill(_) => self.page.shapes += 1,
            DrawMode::Stroke(_) | DrawMode::FillAndStroke(..) => self.stroke(path, props.transform),
        }
    }

    fn draw_rect(&mut self, rect: &Rect, props: DrawProps<'a>, draw_mode: &DrawMode) {
        self.tick();
        let r = props.transform.transform_rect_bbox(*rect);
        match draw_mode {
            DrawMode::Invisible => {}
            DrawMode::Fill(_) => self.fill(r),
            DrawMode::Stroke(_) | DrawMode::FillAndStroke(..) => {
                if r.width().min(r.height()) <= RULE {
                    self.fill(r);
                } else {
                    self.edges(r);
                }
            }
        }
    }

    fn draw_glyph_run(&mut self, glyph_run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        self.tick();
        let first = self.page.glyphs.len();
        let bold = glyph_run.glyphs().first().is_some_and(|g| is_bold(g));
        for glyph in glyph_run.glyphs() {
            if self.page.glyphs.len() >= MAX_GLYPHS {
                resume_unwind(Box::new(TooMuch(format!("it has more than {MAX_GLYPHS} characters; no page needs that"))));
            }
            let before = self.page.glyphs.len();
            self.glyph(glyph, props.transform * glyph.transform(), glyph_run.writing_mode(), bold);
            // A substituted font is stretched to the widths of the file's own, which its advances already are: the next origin knows better.
            if let [.., last, this] = &mut self.page.glyphs[first.min(before)..] {
                let past = |a: f32, b: f32, step: f32| if step >= 0.0 { a > b } else { a < b };
                if past(last.end_x, this.x, last.end_x - last.x) && past(last.end_x, this.x, this.x - last.x) {
                    last.end_x = this.x;
                }
                if past(last.end_y, this.y, last.end_y - last.y) && past(last.end_y, this.y, this.y - last.y) {
                    last.end_y = this.y;
                }
            }
        }
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        self.tick();
        // The transform maps pixels.
        let r = props.transform.transform_rect_bbox(Rect::new(0.0, 0.0, f64::from(image.width()), f64::from(image.height())));
        if r.is_finite() && self.page.images.len() < MAX_RULES {
            self.page.images.push(bbox(r));
        }
    }

    fn push_clip_path(&mut self, _: &ClipPath) {
        self.tick();
    }
    fn push_clip_rect(&mut self, _: &Rect) {
        self.tick();
    }
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {
        self.tick();
    }
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
