//! What a page would cost to draw, counted without drawing it: a page that paints itself over without end, or holds pictures of absurd
//! sizes, is refused before one of them is decoded.

use std::panic::resume_unwind;

use hayro::hayro_interpret::font::GlyphRun;
use hayro::hayro_interpret::{BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps};
use hayro::hayro_interpret::{InterpreterCache, RenderContent, SoftMask, TransformExt, interpret_page};
use hayro::hayro_syntax::Filter;
use hayro::hayro_syntax::object::{Array, Dict, Stream};
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::{BezPath, Rect, Shape};

use super::{MAX_OPERATIONS, TooMuch, check_content, packings, settings_for};
use crate::pdf::bombs::{MAX_PIXELS, check_stream, jpeg2000_size};

/// Pixels of all pictures of a page that is drawn.
const MAX_PICTURES: u64 = 1_000_000_000;
/// How many times over a page that is drawn may be painted.
const MAX_PAINTED: f64 = 3000.0;

/// Whether a page can be drawn in reasonable time and memory. Unwinds with [`TooMuch`] where it cannot.
pub(super) fn weigh<'a>(page: &'a Page<'a>) -> Result<(), String> {
    check_content(page)?;
    let (width, height) = page.render_dimensions();
    let bounds = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let cache = InterpreterCache::new();
    let transform = page.initial_transform(true).to_kurbo();
    let mut context = Context::new(transform, bounds, &cache, page.xref(), settings_for(RenderContent::all()));
    let mut scale = Scale { bounds, operations: 0, painted: 0.0, pixels: 0 };
    interpret_page(page, &mut context, &mut scale);
    Ok(())
}

struct Scale {
    bounds: Rect,
    operations: u64,
    /// In pages.
    painted: f64,
    pixels: u64,
}

/// Not a panic: nothing is printed, and who draws catches it.
fn refuse(reason: String) -> ! {
    resume_unwind(Box::new(TooMuch(reason)))
}

impl Scale {
    fn paint(&mut self, r: Rect) {
        self.operations += 1;
        let seen = r.intersect(self.bounds);
        if seen.is_finite() && self.bounds.area() > 0.0 {
            self.painted += seen.area().abs() / self.bounds.area();
        }
        if self.operations > MAX_OPERATIONS {
            refuse(format!("it draws more than {MAX_OPERATIONS} things; no page needs that"));
        }
        if self.painted > MAX_PAINTED {
            refuse(format!("it paints itself over more than {MAX_PAINTED} times; no page needs that"));
        }
    }

    fn picture(&mut self, width: u64, height: u64) {
        let pixels = width.saturating_mul(height);
        self.pixels = self.pixels.saturating_add(pixels);
        if pixels > MAX_PIXELS || self.pixels > MAX_PICTURES {
            refuse(format!("it holds pictures of {width} x {height} pixels or too many of them; up to {MAX_PIXELS} pixels are drawn"));
        }
    }

    fn stream(&mut self, stream: &Stream<'_>, depth: usize) {
        let dict = stream.dict();
        let number = |dict: &Dict<'_>, keys: [&[u8]; 2]| keys.iter().find_map(|k| dict.get::<u32>(*k)).map_or(0, u64::from);
        let (width, height) = (number(dict, [b"Width", b"W"]), number(dict, [b"Height", b"H"]));
        self.picture(width, height);
        let (filters, raw) = (packings(stream), stream.raw_data());
        if let Err(reason) = check_stream(&raw, &filters) {
            refuse(format!("a picture: {reason}"));
        }
        match stream.filters().get(filters.len()) {
            // The picture's own word counts for its decoder.
            Some(Filter::JpxDecode) => {
                if let Some((width, height)) = jpeg2000_size(&raw) {
                    self.picture(width, height);
                }
            }
            Some(Filter::CcittFaxDecode) => {
                let of = |key: [&[u8]; 2]| -> Vec<Dict<'_>> {
                    let one = key.iter().find_map(|k| dict.get::<Dict<'_>>(*k)).into_iter();
                    let many = key.iter().find_map(|k| dict.get::<Array<'_>>(*k)).into_iter();
                    one.chain(many.flat_map(|a| a.iter::<Dict<'_>>().collect::<Vec<_>>())).collect()
                };
                for parameters in of([b"DecodeParms", b"DP"]) {
                    let columns = number(&parameters, [b"Columns", b"Columns"]).max(1);
                    self.picture(columns, number(&parameters, [b"Rows", b"Rows"]).max(height));
                }
            }
            _ => {}
        }
        for mask in [b"SMask".as_slice(), b"Mask"] {
            if let Some(mask) = dict.get::<Stream<'_>>(mask).filter(|_| depth < 4) {
                self.stream(&mask, depth + 1);
            }
        }
    }
}

impl<'a> Device<'a> for Scale {
    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, _: &DrawMode) {
        self.paint(props.transform.transform_rect_bbox(path.bounding_box()));
    }

    fn draw_rect(&mut self, rect: &Rect, props: DrawProps<'a>, _: &DrawMode) {
        self.paint(props.transform.transform_rect_bbox(*rect));
    }

    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        for glyph in run.glyphs() {
            self.paint((props.transform * glyph.transform()).transform_rect_bbox(Rect::new(0.0, -200.0, 1000.0, 800.0)));
        }
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        self.paint(props.transform.transform_rect_bbox(Rect::new(0.0, 0.0, f64::from(image.width()), f64::from(image.height()))));
        match &image {
            Image::Raster(raster) => self.stream(raster.stream(), 0),
            Image::Stencil(stencil) => self.stream(stencil.stream(), 0),
        }
    }

    fn push_clip_path(&mut self, _: &ClipPath) {
        self.paint(Rect::ZERO);
    }
    fn push_clip_rect(&mut self, _: &Rect) {
        self.paint(Rect::ZERO);
    }
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {
        // Every picture comes in one; most cost nothing.
        self.paint(Rect::ZERO);
    }
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
