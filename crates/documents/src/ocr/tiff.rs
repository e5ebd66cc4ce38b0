//! TIFF files, what scanners and fax servers write: one picture a page. Owns the library `tiff`.

use std::io::Cursor;

use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::picture::{check, finish, luma, over_white, quarter_turns};
use crate::block::BBox;
use crate::pdf::{Gray, PagedReader, RawPage};

/// Pages above this are no scan; a chain of directories that never ends stops here.
const MAX_PAGES: usize = 100_000;
/// Baseline tag `NewSubfileType`: bit 0 says that the picture is a smaller copy of another one in the file.
const REDUCED: u32 = 1;

/// Whether these are the first bytes of a TIFF file (of either byte order, BigTIFF included).
pub fn is_tiff(head: &[u8]) -> bool {
    [b"II\x2A\0", b"MM\0\x2A", b"II\x2B\0", b"MM\0\x2B"].iter().any(|magic| head.starts_with(*magic))
}

/// A TIFF file: its pages in the order of their directories, thumbnails left out.
pub struct TiffReader {
    bytes: Vec<u8>,
    /// For each page its directory's number and its size as shown, or why its directory cannot be read.
    pages: Vec<Result<Page, String>>,
}

#[derive(Clone, Copy)]
struct Page {
    directory: usize,
    width: usize,
    height: usize,
    /// Rows are drawn this often and columns this often: fax lines lie twice as far apart as their pixels.
    stretch: (usize, usize),
    /// Clockwise turn that makes the stored picture upright.
    turn: u16,
}

impl TiffReader {
    /// Reads the directories.
    ///
    /// # Errors
    /// A file without one that can be read.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        let mut decoder = decoder(&bytes)?;
        let mut pages = Vec::new();
        for directory in 0..MAX_PAGES {
            if decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).ok().flatten().unwrap_or(0) & REDUCED == 0 {
                pages.push(page(&mut decoder, directory));
            }
            if !decoder.more_images() {
                break;
            }
            if let Err(e) = decoder.next_image() {
                pages.push(Err(format!("this page and those after it are lost: {}", damaged(e))));
                break;
            }
        }
        drop(decoder);
        Ok(TiffReader { bytes, pages })
    }

    /// Draws a page (from 0).
    ///
    /// # Errors
    /// Why it cannot be drawn.
    pub fn picture(&self, number: usize) -> Result<Gray, String> {
        let page = self.pages.get(number).ok_or("there is no such page")?.clone()?;
        let mut decoder = decoder(&self.bytes)?;
        decoder.seek_to_image(page.directory).map_err(damaged)?;
        let (width, height) = decoder.dimensions().map_err(damaged)?;
        let (width, height) = (width as usize, height as usize);
        let color = decoder.colortype().map_err(damaged)?;
        let mut samples = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut samples).map_err(damaged)?;
        // Planes one after the other, or one plane with a pixel's samples side by side.
        let planes = if layout.planes > 1 { layout.planes } else { 1 };
        let at = Samples { values: &samples, color, width, height, planes };
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                pixels.push(at.gray(x, y).ok_or("this TIFF is damaged: a page is shorter than its size says")?);
            }
        }
        let (columns, rows) = page.stretch;
        let picture = widen(finish(width, height, pixels)?, columns, rows);
        Ok(if page.turn == 0 { picture } else { quarter_turns(&picture, page.turn) })
    }
}

impl PagedReader for TiffReader {
    fn pages(&self) -> usize {
        self.pages.len()
    }

    fn declared_pages(&self) -> Option<usize> {
        None
    }

    fn read(&self, pages: std::ops::Range<usize>, each: &mut dyn FnMut(usize, Result<RawPage, String>)) {
        for number in pages {
            let raw = self.pages[number].clone().map(|page| {
                let upright = (page.width * page.stretch.0, page.height * page.stretch.1);
                let (width, height) = if page.turn % 180 == 90 { (upright.1, upright.0) } else { upright };
                let (width, height) = (width as f32, height as f32);
                RawPage { width, height, images: vec![BBox { x0: 0.0, y0: 0.0, x1: width, y1: height }], ..RawPage::default() }
            });
            each(number, raw);
        }
    }

    fn raster(&self, page: usize, _: f32) -> Result<Gray, String> {
        self.picture(page)
    }
}

fn decoder(bytes: &[u8]) -> Result<Decoder<Cursor<&[u8]>>, String> {
    let mut limits = Limits::default();
    (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (1 << 30, 1 << 30);
    Ok(Decoder::new(Cursor::new(bytes)).map_err(damaged)?.with_limits(limits))
}

fn page(decoder: &mut Decoder<Cursor<&[u8]>>, directory: usize) -> Result<Page, String> {
    let (width, height) = decoder.dimensions().map_err(damaged)?;
    let (width, height) = (width as usize, height as usize);
    let bits = decoder.colortype().map_err(damaged)?.bit_depth();
    if ![1, 2, 4, 8, 16, 32].contains(&bits) {
        return Err(format!("this kind of TIFF is not read ({bits} bits a sample): save it anew as grey, black and white or RGB"));
    }
    let resolution = |decoder: &mut Decoder<Cursor<&[u8]>>, tag| match decoder.find_tag(tag) {
        Ok(Some(Value::Rational(n, d))) if n > 0 && d > 0 => Some(f64::from(n) / f64::from(d)),
        _ => None,
    };
    let across = resolution(decoder, Tag::XResolution);
    let down = resolution(decoder, Tag::YResolution);
    let times = |finer: Option<f64>, coarser: Option<f64>| match (finer, coarser) {
        (Some(finer), Some(coarser)) => ((finer / coarser).round() as usize).clamp(1, 4),
        _ => 1,
    };
    let stretch = (times(down, across), times(across, down));
    check(width * stretch.0, height * stretch.1)?;
    // Of the eight values the four without a mirror: no scanner writes the others.
    let turn = match decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten() {
        Some(3) => 180,
        Some(6) => 90,
        Some(8) => 270,
        _ => 0,
    };
    Ok(Page { directory, width, height, stretch, turn })
}

/// Decoded samples of a page and how they lie.
struct Samples<'a> {
    values: &'a DecodingResult,
    color: ColorType,
    width: usize,
    height: usize,
    planes: usize,
}

impl Samples<'_> {
    /// Sample `channel` of a pixel, 0 to 255.
    fn sample(&self, x: usize, y: usize, channel: usize) -> Option<u8> {
        let channels = usize::from(self.color.num_samples());
        // A plane holds one channel.
        let (before, channel, channels) = if self.planes > 1 { (channel * self.height, 0, 1) } else { (0, channel, channels) };
        let bits = usize::from(self.color.bit_depth());
        let (row, column) = (before + y, x * channels + channel);
        match self.values {
            // Rows begin at whole bytes.
            DecodingResult::U8(v) if bits < 8 => {
                let stride = (self.width * channels * bits).div_ceil(8);
                let byte = *v.get(row * stride + column * bits / 8)?;
                let value = (byte >> (8 - bits - column * bits % 8)) & ((1 << bits) - 1);
                Some((usize::from(value) * 255 / ((1 << bits) - 1)) as u8)
            }
            DecodingResult::U8(v) => v.get(row * self.width * channels + column).copied(),
            DecodingResult::U16(v) => v.get(row * self.width * channels + column).map(|s| (s >> 8) as u8),
            DecodingResult::F32(v) => v.get(row * self.width * channels + column).map(|s| (s.clamp(0.0, 1.0) * 255.0) as u8),
            _ => None,
        }
    }

    fn gray(&self, x: usize, y: usize) -> Option<u8> {
        let s = |channel| self.sample(x, y, channel);
        let rgb = || Some(luma(s(0)?, s(1)?, s(2)?));
        // What two layers of ink leave of the paper's white.
        let left = |channel| Some((u32::from(255 - s(channel)?) * u32::from(255 - s(3)?) / 255) as u8);
        match self.color {
            ColorType::RGB(_) => rgb(),
            ColorType::RGBA(_) => Some(over_white(rgb()?, s(3)?)),
            ColorType::GrayA(_) => Some(over_white(s(0)?, s(1)?)),
            ColorType::CMYK(_) | ColorType::CMYKA(_) => Some(luma(left(0)?, left(1)?, left(2)?)),
            // The first channel of the others is how light it is.
            _ => s(0),
        }
    }
}

/// Draws each column and each row several times.
fn widen(picture: Gray, columns: usize, rows: usize) -> Gray {
    if columns == 1 && rows == 1 {
        return picture;
    }
    let mut pixels = Vec::with_capacity(picture.pixels.len() * columns * rows);
    for row in picture.pixels.chunks(picture.width) {
        for _ in 0..rows {
            row.iter().for_each(|p| pixels.extend(std::iter::repeat_n(*p, columns)));
        }
    }
    Gray { width: picture.width * columns, height: picture.height * rows, pixels }
}

fn damaged(e: TiffError) -> String {
    match e {
        TiffError::UnsupportedError(what) => format!(
            "this kind of TIFF is not read ({what}): save it anew as grey, black and white or RGB, packed with LZW, Deflate or fax group 4"
        ),
        TiffError::LimitsExceeded => "this TIFF is too large, or damaged: it asks for more than 1 GB".into(),
        other => format!("this TIFF is damaged: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};

    /// 16 x 4, a black bar at the left, as fax group 4 with white as zero, 204 x 98 dots an inch; written by libtiff.
    const FAX: &[u8] = include_bytes!("../../tests/fixtures/fax-g4.tif");

    fn written(write: impl FnOnce(&mut TiffEncoder<Cursor<&mut Vec<u8>>>)) -> Vec<u8> {
        packed(Compression::Uncompressed, write)
    }

    fn packed(how: Compression, write: impl FnOnce(&mut TiffEncoder<Cursor<&mut Vec<u8>>>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut TiffEncoder::new(Cursor::new(&mut out)).unwrap().with_compression(how));
        out
    }

    #[test]
    fn every_page_is_read_in_its_order() {
        let gray: Vec<u8> = (0..60).collect();
        let color: Vec<u8> = (0..36).map(|v| v * 7).collect();
        let deep: Vec<u16> = (0..12).map(|v| v * 5000).collect();
        for how in [Compression::Uncompressed, Compression::Lzw, Compression::Deflate(DeflateLevel::Fast), Compression::Packbits] {
            let bytes = packed(how, |tiff| {
                tiff.write_image::<colortype::Gray8>(10, 6, &gray).unwrap();
                tiff.write_image::<colortype::RGB8>(4, 3, &color).unwrap();
                tiff.write_image::<colortype::Gray16>(4, 3, &deep).unwrap();
            });
            assert!(is_tiff(&bytes));
            let reader = TiffReader::new(bytes).unwrap();
            assert_eq!(reader.pages(), 3);
            assert_eq!(reader.picture(0).unwrap(), Gray { width: 10, height: 6, pixels: gray.clone() });
            let expected = color.chunks(3).map(|p| luma(p[0], p[1], p[2])).collect();
            assert_eq!(reader.picture(1).unwrap(), Gray { width: 4, height: 3, pixels: expected });
            let expected = deep.iter().map(|v| (v >> 8) as u8).collect();
            assert_eq!(reader.picture(2).unwrap(), Gray { width: 4, height: 3, pixels: expected });
            assert!(reader.picture(3).is_err());
        }
    }

    #[test]
    fn a_fax_is_black_on_white_and_as_tall_as_it_was_sent() {
        let reader = TiffReader::new(FAX.to_vec()).unwrap();
        let picture = reader.picture(0).unwrap();
        assert_eq!((picture.width, picture.height), (16, 8), "98 lines an inch are drawn twice");
        for row in picture.pixels.chunks(16) {
            assert_eq!(row, [[0; 5].as_slice(), &[255; 11]].concat());
        }
        let mut size = None;
        reader.read(0..1, &mut |_, page| size = page.ok().map(|p| (p.width, p.height)));
        assert_eq!(size, Some((16.0, 8.0)));
    }

    #[test]
    fn turned_pages_are_upright_and_thumbnails_left_out() {
        let bytes = written(|tiff| {
            let mut small = tiff.new_image::<colortype::Gray8>(1, 1).unwrap();
            small.encoder().write_tag(Tag::NewSubfileType, 1u32).unwrap();
            small.write_data(&[9]).unwrap();
            let mut turned = tiff.new_image::<colortype::Gray8>(3, 2).unwrap();
            turned.encoder().write_tag(Tag::Orientation, 6u16).unwrap();
            turned.write_data(&[1, 2, 3, 4, 5, 6]).unwrap();
        });
        let reader = TiffReader::new(bytes).unwrap();
        assert_eq!(reader.pages(), 1);
        assert_eq!(reader.picture(0).unwrap(), Gray { width: 2, height: 3, pixels: vec![4, 1, 5, 2, 6, 3] });
    }

    #[test]
    fn samples_of_less_than_a_byte_and_planes() {
        let two_bits = DecodingResult::U8(vec![0b00_01_10_11, 0b11_00_00_00, 0b11_10_01_00, 0b00_00_00_00]);
        let at = Samples { values: &two_bits, color: ColorType::Gray(2), width: 5, height: 2, planes: 1 };
        let row = |y| (0..5).map(|x| at.gray(x, y).unwrap()).collect::<Vec<_>>();
        assert_eq!((row(0), row(1)), (vec![0, 85, 170, 255, 255], vec![255, 170, 85, 0, 0]));
        let planes = DecodingResult::U8(vec![255, 0, 255, 0, 255, 0]);
        let at = Samples { values: &planes, color: ColorType::RGB(8), width: 2, height: 1, planes: 3 };
        assert_eq!([at.gray(0, 0), at.gray(1, 0), at.gray(2, 2)], [Some(255), Some(0), None]);
        let ink = DecodingResult::U8(vec![0, 0, 0, 255, 0, 0, 0, 0]);
        let at = Samples { values: &ink, color: ColorType::CMYK(8), width: 2, height: 1, planes: 1 };
        assert_eq!([at.gray(0, 0), at.gray(1, 0)], [Some(0), Some(255)]);
    }

    #[test]
    fn damage_is_named_and_pages_before_it_are_kept() {
        let bytes = written(|tiff| {
            tiff.write_image::<colortype::Gray8>(2, 2, &[1, 2, 3, 4]).unwrap();
            tiff.write_image::<colortype::Gray8>(2, 2, &[5, 6, 7, 8]).unwrap();
        });
        for length in 0..bytes.len() {
            if let Ok(reader) = TiffReader::new(bytes[..length].to_vec()) {
                let pages: Vec<_> = (0..reader.pages()).map(|n| reader.picture(n)).collect();
                assert!(pages.iter().any(Result::is_err), "{length}: nothing says that bytes are missing");
            }
        }
        let huge = written(|tiff| {
            let mut image = tiff.new_image::<colortype::Gray8>(1, 1).unwrap();
            image.encoder().write_tag(Tag::ImageWidth, 70_000u32).unwrap();
            image.encoder().write_tag(Tag::ImageLength, 70_000u32).unwrap();
            image.write_data(&[9]).unwrap();
        });
        let reader = TiffReader::new(huge).unwrap();
        assert!(reader.picture(0).unwrap_err().contains("70000 x 70000"));
    }
}
