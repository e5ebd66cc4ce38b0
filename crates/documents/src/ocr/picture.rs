//! Pictures of pages made fit to be read: noise taken out, skew undone. Owns the libraries `png` and `zune-jpeg`.

use crate::pdf::Gray;

/// Skew that is looked for, degrees to each side.
const MAX_SKEW: f32 = 8.0;
/// Dark pixels that a skew is measured on, at most.
const POINTS: usize = 60_000;
/// Below this a pixel is ink.
const INK: u8 = 128;
/// Largest picture that is taken, pixels.
const MAX_PIXELS: usize = 200_000_000;

/// Makes a picture fit to be read: noise taken out where there is some, paper made white and ink black.
pub fn clean(picture: Gray) -> Gray {
    let noisy = picture.width >= 3 && picture.height >= 3 && is_noisy(&picture);
    let picture = if noisy { smooth(&denoise(picture)) } else { picture };
    stretch(picture)
}

/// Grain goes where each pixel is the weighted mean of nine (1 2 1, a Gaussian of half a pixel).
fn smooth(picture: &Gray) -> Gray {
    let (w, h) = (picture.width, picture.height);
    let mut out = picture.clone();
    for y in 1..h - 1 {
        for x in 1..w - 1 {
            let row = |at: usize| u32::from(picture.pixels[at - 1]) + 2 * u32::from(picture.pixels[at]) + u32::from(picture.pixels[at + 1]);
            let at = y * w + x;
            out.pixels[at] = ((row(at - w) + 2 * row(at) + row(at + w) + 8) / 16) as u8;
        }
    }
    out
}

/// Maps the grey of most paper to white and that of most ink to black: the two classes of Otsu (1979).
fn stretch(mut picture: Gray) -> Gray {
    let mut histogram = [0u64; 256];
    picture.pixels.iter().for_each(|p| histogram[usize::from(*p)] += 1);
    let all: u64 = histogram.iter().sum();
    let sum: u64 = histogram.iter().enumerate().map(|(v, n)| v as u64 * n).sum();
    let (mut below, mut sum_below, mut best) = (0u64, 0u64, (0f64, 0f64, 0f64));
    for (value, n) in histogram.iter().enumerate() {
        below += n;
        sum_below += value as u64 * n;
        if below == 0 || below == all {
            continue;
        }
        let (dark, light) = (sum_below as f64 / below as f64, (sum - sum_below) as f64 / (all - below) as f64);
        let between = below as f64 * (all - below) as f64 * (light - dark) * (light - dark);
        if between > best.0 {
            best = (between, dark, light);
        }
    }
    let (_, dark, light) = best;
    // Nothing but paper, or a photograph: left as it is.
    if light - dark < 60.0 {
        return picture;
    }
    let (black, white) = (dark + 0.1 * (light - dark), light - 0.2 * (light - dark));
    let table: Vec<u8> = (0..256).map(|v| (255.0 * (f64::from(v) - black) / (white - black)).clamp(0.0, 255.0) as u8).collect();
    picture.pixels.iter_mut().for_each(|p| *p = table[usize::from(*p)]);
    picture
}

/// Takes out salt and pepper: a median of 3 x 3, only where there is such noise, because it also thins fine strokes.
pub fn denoise(picture: Gray) -> Gray {
    let (w, h) = (picture.width, picture.height);
    if w < 3 || h < 3 || !is_noisy(&picture) {
        return picture;
    }
    let mut out = picture.clone();
    for y in 1..h - 1 {
        let rows = [&picture.pixels[(y - 1) * w..y * w], &picture.pixels[y * w..(y + 1) * w], &picture.pixels[(y + 1) * w..(y + 2) * w]];
        for x in 1..w - 1 {
            let mut around = [0u8; 9];
            for (i, row) in rows.iter().enumerate() {
                around[3 * i..3 * i + 3].copy_from_slice(&row[x - 1..x + 2]);
            }
            out.pixels[y * w + x] = median9(around);
        }
    }
    out
}

/// Median of nine by a sorting network of 19 exchanges (Devillard 1998, after Smith 1996).
fn median9(mut p: [u8; 9]) -> u8 {
    let mut sort = |a: usize, b: usize| {
        if p[a] > p[b] {
            p.swap(a, b);
        }
    };
    for (a, b) in [
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 1),
        (3, 4),
        (6, 7),
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 3),
        (5, 8),
        (4, 7),
        (3, 6),
        (1, 4),
        (2, 5),
        (4, 7),
        (4, 2),
        (6, 4),
        (4, 2),
    ] {
        sort(a, b);
    }
    p[4]
}

/// Whether many specks stand alone: ink with no ink around it, or holes in ink.
fn is_noisy(picture: &Gray) -> bool {
    let (w, h) = (picture.width, picture.height);
    let (mut ink, mut alone) = (0u64, 0u64);
    for y in (1..h - 1).step_by(2) {
        for x in 1..w - 1 {
            let at = y * w + x;
            if picture.pixels[at] >= INK {
                continue;
            }
            ink += 1;
            let beside = [at - w, at + w, at - 1, at + 1];
            alone += u64::from(beside.iter().all(|&i| picture.pixels[i] >= INK));
        }
    }
    alone * 50 > ink && alone > 20
}

/// The angle in degrees by which lines of text lie turned clockwise; 0 if there are none or they are straight.
///
/// The angle whose rows of ink differ most from their neighbours (projection profiles, Postl 1986), first in steps of half a degree on a
/// thinned set of ink pixels, then finer.
pub fn skew(picture: &Gray) -> f32 {
    let w = picture.width;
    let step = 3;
    let mut points: Vec<(f32, f32)> = Vec::new();
    for y in (0..picture.height).step_by(step) {
        for x in (0..w).step_by(step) {
            if picture.pixels[y * w + x] < INK {
                points.push((x as f32, y as f32));
            }
        }
    }
    if points.len() < 200 {
        return 0.0;
    }
    let thin = points.len().div_ceil(POINTS);
    let points: Vec<(f32, f32)> = points.into_iter().step_by(thin).collect();
    let bin = step as f32;
    let diagonal = (picture.width as f32).hypot(picture.height as f32);
    let size = (2.0 * diagonal / bin) as usize + 2;
    let mut rows = vec![0f32; size];
    let mut score = |degrees: f32| {
        rows.fill(0.0);
        let (sin, cos) = degrees.to_radians().sin_cos();
        for (x, y) in &points {
            let at = ((y * cos - x * sin + diagonal) / bin) as usize;
            if let Some(row) = rows.get_mut(at) {
                *row += 1.0;
            }
        }
        rows.windows(2).map(|r| (r[1] - r[0]) * (r[1] - r[0])).sum::<f32>()
    };
    let best = |from: f32, to: f32, by: f32, score: &mut dyn FnMut(f32) -> f32| {
        let n = ((to - from) / by).round() as i32;
        let mut found = (f32::MIN, 0.0);
        for i in 0..=n {
            let angle = from + i as f32 * by;
            let s = score(angle);
            if s > found.0 {
                found = (s, angle);
            }
        }
        found
    };
    let (_, coarse) = best(-MAX_SKEW, MAX_SKEW, 0.5, &mut score);
    let (_, middle) = best(coarse - 0.5, coarse + 0.5, 0.1, &mut score);
    let (top, fine) = best(middle - 0.1, middle + 0.1, 0.02, &mut score);
    // A drawing has no direction that stands out.
    if fine.abs() < 0.05 || top < 1.05 * score(0.0) { 0.0 } else { fine }
}

/// Turns a picture clockwise by a few degrees about its middle; what comes in from outside is white.
pub fn rotate(picture: &Gray, degrees: f32) -> Gray {
    if degrees == 0.0 {
        return picture.clone();
    }
    let (w, h) = (picture.width, picture.height);
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (cx, cy) = (w as f32 / 2.0, h as f32 / 2.0);
    let mut out = Gray { width: w, height: h, pixels: vec![255; w * h] };
    for y in 0..h {
        let dy = y as f32 + 0.5 - cy;
        for x in 0..w {
            let dx = x as f32 + 0.5 - cx;
            // Where the pixel comes from: turned back.
            let (sx, sy) = (cx + dx * cos + dy * sin - 0.5, cy - dx * sin + dy * cos - 0.5);
            if sx < 0.0 || sy < 0.0 || sx >= (w - 1) as f32 || sy >= (h - 1) as f32 {
                continue;
            }
            let (x0, y0) = (sx as usize, sy as usize);
            let (fx, fy) = (sx - x0 as f32, sy - y0 as f32);
            let at = y0 * w + x0;
            let p = |i: usize| f32::from(picture.pixels[i]);
            let upper = p(at) + (p(at + 1) - p(at)) * fx;
            let lower = p(at + w) + (p(at + w + 1) - p(at + w)) * fx;
            out.pixels[y * w + x] = (upper + (lower - upper) * fy + 0.5) as u8;
        }
    }
    out
}

/// Turns a picture clockwise by 0, 90, 180 or 270 degrees.
pub fn quarter_turns(picture: &Gray, degrees: u16) -> Gray {
    let (w, h) = (picture.width, picture.height);
    let from = |x: usize, y: usize| match degrees {
        90 => (h - 1 - x) * w + y,
        180 => (h - 1 - y) * w + (w - 1 - x),
        270 => x * w + (w - 1 - y),
        _ => y * w + x,
    };
    let (width, height) = if degrees % 180 == 90 { (h, w) } else { (w, h) };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| picture.pixels[from(x, y)]).collect();
    Gray { width, height, pixels }
}

/// As a PGM file, which Tesseract reads from a pipe.
pub fn pgm(picture: &Gray) -> Vec<u8> {
    let mut out = format!("P5\n{} {}\n255\n", picture.width, picture.height).into_bytes();
    out.extend_from_slice(&picture.pixels);
    out
}

/// Decodes a PNG or JPEG file.
///
/// # Errors
/// Why it cannot be decoded.
pub fn decode(bytes: &[u8]) -> Result<Gray, String> {
    if bytes.starts_with(b"\x89PNG") { decode_png(bytes) } else { decode_jpeg(bytes) }
}

fn decode_png(bytes: &[u8]) -> Result<Gray, String> {
    let fail = |e: png::DecodingError| format!("this PNG is damaged: {e}");
    let mut decoder = png::Decoder::new_with_limits(std::io::Cursor::new(bytes), png::Limits { bytes: 1 << 30 });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(fail)?;
    let size = reader.output_buffer_size().ok_or("this PNG is too large")?;
    check(reader.info().width as usize, reader.info().height as usize)?;
    let mut buffer = vec![0; size];
    let info = reader.next_frame(&mut buffer).map_err(fail)?;
    let (width, height) = (info.width as usize, info.height as usize);
    let channels = info.color_type.samples();
    let pixels = buffer.chunks_exact(channels).take(width * height).map(|p| match p {
        [l] => *l,
        // What is transparent shows white paper.
        [l, a] => over_white(*l, *a),
        [r, g, b] => luma(*r, *g, *b),
        [r, g, b, a] => over_white(luma(*r, *g, *b), *a),
        _ => 255,
    });
    finish(width, height, pixels.collect())
}

fn decode_jpeg(bytes: &[u8]) -> Result<Gray, String> {
    use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::Luma).set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let fail = |e: zune_jpeg::errors::DecodeErrors| format!("this JPEG is damaged: {e}");
    decoder.decode_headers().map_err(fail)?;
    let (width, height) = decoder.dimensions().ok_or("this JPEG has no size")?;
    check(width, height)?;
    let pixels = decoder.decode().map_err(fail)?;
    finish(width, height, pixels)
}

pub(super) fn check(width: usize, height: usize) -> Result<(), String> {
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(format!("{width} x {height} pixels are too many; up to {MAX_PIXELS} are read"));
    }
    Ok(())
}

pub(super) fn finish(width: usize, height: usize, pixels: Vec<u8>) -> Result<Gray, String> {
    if width == 0 || height == 0 || pixels.len() != width * height {
        return Err("the picture is damaged: its size does not fit its content".into());
    }
    Ok(Gray { width, height, pixels })
}

pub(super) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114 + 500) / 1000) as u8
}

pub(super) fn over_white(value: u8, alpha: u8) -> u8 {
    ((u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha))) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of ink like words.
    fn page(w: usize, h: usize) -> Gray {
        let mut pixels = vec![255; w * h];
        for y in (40..h - 40).filter(|y| y % 30 < 10) {
            for x in (40..w - 40).filter(|x| x % 50 < 38) {
                pixels[y * w + x] = 0;
            }
        }
        Gray { width: w, height: h, pixels }
    }

    #[test]
    fn skew_is_found_and_undone() {
        let straight = page(700, 500);
        assert_eq!(skew(&straight), 0.0);
        for angle in [-5.0f32, -1.3, 0.4, 3.7, 5.0] {
            let turned = rotate(&straight, angle);
            let found = skew(&turned);
            assert!((found - angle).abs() < 0.25, "{angle}: {found}");
            assert!(skew(&rotate(&turned, -found)).abs() < 0.3);
        }
        assert_eq!(skew(&Gray { width: 50, height: 50, pixels: vec![255; 2500] }), 0.0);
    }

    #[test]
    fn specks_go_and_letters_stay() {
        let clean = page(400, 300);
        assert_eq!(denoise(clean.clone()), clean, "nothing is done without noise");
        let mut noisy = clean.clone();
        for i in (0..noisy.pixels.len()).step_by(53) {
            noisy.pixels[i] = 255 - noisy.pixels[i];
        }
        let wrong = |p: &Gray| p.pixels.iter().zip(&clean.pixels).filter(|(a, b)| a != b).count();
        assert!(wrong(&denoise(noisy.clone())) * 5 < wrong(&noisy));
    }

    #[test]
    fn paper_becomes_white_and_ink_black() {
        let mut gray = page(400, 300);
        gray.pixels.iter_mut().for_each(|p| *p = if *p > 0 { 190 } else { 70 });
        assert_eq!(clean(gray), page(400, 300));
        let blank = Gray { width: 40, height: 40, pixels: vec![200; 1600] };
        assert_eq!(clean(blank.clone()), blank);
    }

    #[test]
    fn medians_are_medians() {
        let mut state = 7u32;
        for _ in 0..2000 {
            let values = std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            });
            let mut sorted: [u8; 9] = values;
            sorted.sort_unstable();
            assert_eq!(median9(values), sorted[4]);
        }
    }

    #[test]
    fn four_quarter_turns_are_none() {
        let picture = Gray { width: 3, height: 2, pixels: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(quarter_turns(&picture, 90), Gray { width: 2, height: 3, pixels: vec![4, 1, 5, 2, 6, 3] });
        assert_eq!(quarter_turns(&quarter_turns(&picture, 90), 270), picture);
        assert_eq!(quarter_turns(&quarter_turns(&picture, 180), 180), picture);
        let all = (0..4).fold(picture.clone(), |p, _| quarter_turns(&p, 90));
        assert_eq!(all, picture);
    }

    #[test]
    fn damaged_pictures_are_errors() {
        assert!(decode(b"\x89PNG\r\n").is_err() && decode(b"\xFF\xD8\xFF\xE0").is_err() && decode(b"").is_err());
    }
}
