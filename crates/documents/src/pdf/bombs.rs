//! Streams that unpack to far more than any page needs, found before the reader unpacks them.
//!
//! The reader unpacks a stream whole. Each filter has a greatest ratio, so small streams are harmless by arithmetic; what could be too much is
//! unpacked here first into nothing, with a limit. This is done twice: in the file's bytes before it is opened, because opening unpacks
//! object streams and tables, and on the streams as the reader sees them afterwards ([`check_stream`], [`check_together`]): deciphered, their filters resolved.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// No stream of a document may unpack to more: a 600 dpi colour page of A3 has 210 MB.
pub const MAX_STREAM: u64 = 512 << 20;
/// No picture may have more pixels: a square metre at 400 dpi has 250 million.
pub const MAX_PIXELS: u64 = 400_000_000;

/// A filter that unpacks bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Deflate.
    Flate,
    /// Lempel, Ziv and Welch.
    Lzw,
    /// Runs of bytes.
    RunLength,
    /// Five letters for four bytes, one for four zeros.
    Ascii85,
    /// Two digits a byte.
    Hex,
}

impl Packing {
    /// Bytes out of one byte, at most.
    fn ratio(self) -> u64 {
        match self {
            Packing::Flate => 1032,
            // A code of twelve bits stands for at most as many bytes as there are codes.
            Packing::Lzw => 4096 * 2 / 3,
            Packing::RunLength => 64,
            Packing::Ascii85 => 4,
            Packing::Hex => 1,
        }
    }

    /// By the name in a dictionary.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"FlateDecode" | b"Fl" => Packing::Flate,
            b"LZWDecode" | b"LZW" => Packing::Lzw,
            b"RunLengthDecode" | b"RL" => Packing::RunLength,
            b"ASCII85Decode" | b"A85" => Packing::Ascii85,
            b"ASCIIHexDecode" | b"AHx" => Packing::Hex,
            _ => return None,
        })
    }
}

/// The most that a stream can unpack to.
fn worst(stream: &[u8], filters: &[Packing]) -> u64 {
    filters.iter().fold(stream.len() as u64, |n, f| n.saturating_mul(f.ratio()))
}

/// Whether `n` streams unpack to more than `limit` together. Exact only where arithmetic does not tell; one is held at a time.
pub fn check_together<S: AsRef<[u8]>>(n: usize, stream: impl Fn(usize) -> (S, Vec<Packing>), limit: u64) -> Result<(), String> {
    let (mut most, mut left) = (0u64, limit);
    for i in 0..n {
        let (bytes, filters) = stream(i);
        most = most.saturating_add(worst(bytes.as_ref(), &filters));
        if most > limit {
            break;
        }
    }
    for i in (0..n).take_while(|_| most > limit) {
        let (bytes, filters) = stream(i);
        let bytes = unpacked(bytes.as_ref(), &filters, left);
        left = left.checked_sub(bytes).ok_or_else(|| format!("it unpacks to more than {} MB; no page needs that", limit >> 20))?;
    }
    Ok(())
}

/// Whether one stream unpacks to more than the limit for streams.
pub fn check_stream(stream: &[u8], filters: &[Packing]) -> Result<(), String> {
    if worst(stream, filters) > MAX_STREAM && unpacked(stream, filters, MAX_STREAM) > MAX_STREAM {
        return Err(format!("a stream unpacks from {} bytes to more than {} MB; no page needs that", stream.len(), MAX_STREAM >> 20));
    }
    Ok(())
}

/// Looks through a file's bytes. An error names the first bomb.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    check_to(bytes, MAX_STREAM)
}

fn check_to(bytes: &[u8], limit: u64) -> Result<(), String> {
    let encrypted = find(bytes, b"/Encrypt").is_some();
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], b"stream") {
        let keyword = at + found;
        at = keyword + 6;
        let start = match bytes.get(at..at + 2) {
            Some(b"\r\n") => at + 2,
            Some([b'\n' | b'\r', _]) => at + 1,
            // `endstream`, or the word in a text.
            _ => continue,
        };
        let dictionary = &bytes[keyword.saturating_sub(1 << 16)..keyword];
        let dictionary = &dictionary[rfind(dictionary, b"obj").unwrap_or(0)..];
        let (filters, objects) = filters(dictionary);
        if filters.is_empty() {
            continue;
        }
        let length = find(&bytes[start..], b"endstream").unwrap_or(bytes.len() - start);
        let stream = &bytes[start..start + length];
        at = start + length;
        if worst(stream, &filters) <= limit {
            continue;
        }
        let bomb = |what: &str| {
            format!(
                "{what} at byte {start} unpacks from {} to more than {} MB; no page needs that, so the file is not opened",
                stream.len(),
                limit >> 20
            )
        };
        // What is enciphered cannot be unpacked here; writers put some hundred small objects into one stream.
        if encrypted && objects {
            return Err(bomb("an enciphered stream of objects may hold too much: it"));
        }
        if unpacked(stream, &filters, limit) > limit {
            return Err(bomb("a stream"));
        }
    }
    Ok(())
}

/// The filters that a stream's dictionary names, in order, and whether it holds objects.
fn filters(dictionary: &[u8]) -> (Vec<Packing>, bool) {
    let (mut filters, mut objects, mut at) = (Vec::new(), false, 0);
    while let Some(slash) = memchr::memchr(b'/', &dictionary[at..]).map(|n| at + n) {
        at = slash + 1;
        let mut name = Vec::new();
        while let Some(&b) = dictionary.get(at).filter(|b| b.is_ascii_alphanumeric() || **b == b'#') {
            // `#6c` is another way to write a letter.
            let digits =
                dictionary.get(at + 1..at + 3).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
            match digits.filter(|_| b == b'#') {
                Some(letter) => {
                    name.push(letter);
                    at += 3;
                }
                None => {
                    name.push(b);
                    at += 1;
                }
            }
        }
        objects |= name == b"ObjStm";
        if filters.len() < 8 {
            filters.extend(Packing::of_name(&name));
        }
    }
    (filters, objects)
}

/// Bytes that come out, counted up to just above the limit.
fn unpacked(stream: &[u8], filters: &[Packing], limit: u64) -> u64 {
    let mut reader: Box<dyn Read + '_> = Box::new(stream);
    for filter in filters {
        reader = match filter {
            Packing::Flate => Box::new(ZlibDecoder::new(reader)),
            Packing::Lzw => Box::new(Steps::new(reader, Lzw::default())),
            Packing::RunLength => Box::new(Steps::new(reader, RunLength)),
            Packing::Ascii85 => Box::new(Steps::new(reader, Ascii85)),
            Packing::Hex => Box::new(Steps::new(reader, Hex)),
        };
    }
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    while total <= limit {
        // An error ends a stream for the reader too.
        match reader.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => total += n as u64,
        }
    }
    total
}

/// One step of unpacking: takes bytes, gives some.
trait Step {
    /// Adds to `out`; false at the end.
    fn step(&mut self, next: &mut dyn FnMut() -> Option<u8>, out: &mut Vec<u8>) -> bool;
}

/// A [`Step`] as a reader.
struct Steps<R, S> {
    input: std::io::BufReader<R>,
    step: S,
    out: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: Read, S: Step> Steps<R, S> {
    fn new(input: R, step: S) -> Self {
        Steps { input: std::io::BufReader::new(input), step, out: Vec::new(), at: 0, ended: false }
    }
}

impl<R: Read, S: Step> Read for Steps<R, S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.out.len() {
            if self.ended {
                return Ok(0);
            }
            self.out.clear();
            self.at = 0;
            let input = &mut self.input;
            let mut next = || {
                let mut byte = [0];
                (input.read(&mut byte).ok()? == 1).then_some(byte[0])
            };
            while self.out.len() < 4096 && !self.ended {
                self.ended = !self.step.step(&mut next, &mut self.out);
            }
        }
        let n = buffer.len().min(self.out.len() - self.at);
        buffer[..n].copy_from_slice(&self.out[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

struct RunLength;

impl Step for RunLength {
    fn step(&mut self, next: &mut dyn FnMut() -> Option<u8>, out: &mut Vec<u8>) -> bool {
        match next() {
            None | Some(128) => return false,
            Some(n @ 0..=127) => out.extend((0..=n).map_while(|_| next())),
            Some(n) => match next() {
                Some(byte) => out.extend(std::iter::repeat_n(byte, 257 - usize::from(n))),
                None => return false,
            },
        }
        true
    }
}

struct Hex;

impl Step for Hex {
    fn step(&mut self, next: &mut dyn FnMut() -> Option<u8>, out: &mut Vec<u8>) -> bool {
        // Only how many bytes there are matters to the limit, but a filter behind this one needs the bytes.
        let mut digit = || {
            loop {
                let b = next()?;
                if let Some(d) = char::from(b).to_digit(16) {
                    return Some(d as u8);
                }
                if b == b'>' {
                    return None;
                }
            }
        };
        let Some(high) = digit() else { return false };
        let low = digit();
        out.push(high << 4 | low.unwrap_or(0));
        low.is_some()
    }
}

struct Ascii85;

impl Step for Ascii85 {
    fn step(&mut self, next: &mut dyn FnMut() -> Option<u8>, out: &mut Vec<u8>) -> bool {
        let (mut value, mut n) = (0u32, 0);
        while n < 5 {
            match next() {
                Some(b'z') if n == 0 => {
                    out.extend([0; 4]);
                    return true;
                }
                Some(b @ b'!'..=b'u') => {
                    value = value.wrapping_mul(85).wrapping_add(u32::from(b - b'!'));
                    n += 1;
                }
                Some(b) if b.is_ascii_whitespace() || b == 0 => {}
                _ => break,
            }
        }
        (n..5).for_each(|_| value = value.wrapping_mul(85).wrapping_add(84));
        out.extend(&value.to_be_bytes()[..usize::from(n > 0) * (n as usize).saturating_sub(1)]);
        n == 5
    }
}

/// Codes of 9 to 12 bits; each entry is another one and a byte.
#[derive(Default)]
struct Lzw {
    entries: Vec<(u16, u8)>,
    bits: u32,
    held: u32,
    last: Option<u16>,
}

impl Lzw {
    /// Codes below this are bytes and marks.
    const FIRST: u16 = 258;

    fn push(&self, mut code: u16, out: &mut Vec<u8>) -> Option<u8> {
        let start = out.len();
        while code >= Self::FIRST {
            let (before, byte) = *self.entries.get(usize::from(code - Self::FIRST))?;
            out.push(byte);
            code = before;
        }
        out.push(u8::try_from(code).ok()?);
        out[start..].reverse();
        out.get(start).copied()
    }
}

impl Step for Lzw {
    fn step(&mut self, next: &mut dyn FnMut() -> Option<u8>, out: &mut Vec<u8>) -> bool {
        let known = Self::FIRST + self.entries.len() as u16;
        let width = match known + 1 {
            2048.. => 12,
            1024.. => 11,
            512.. => 10,
            _ => 9,
        };
        while self.bits < width {
            let Some(byte) = next() else { return false };
            self.held = self.held << 8 | u32::from(byte);
            self.bits += 8;
        }
        self.bits -= width;
        let code = (self.held >> self.bits & ((1 << width) - 1)) as u16;
        self.held &= (1 << self.bits) - 1;
        match code {
            256 => {
                self.entries.clear();
                self.last = None;
            }
            257 => return false,
            _ => {
                let first = if code < known { self.push(code, out) } else { None };
                match (first, self.last) {
                    (Some(byte), Some(last)) if known < 4096 => self.entries.push((last, byte)),
                    (None, Some(last)) if code == known && known < 4096 => {
                        // The entry that is being made: the last one and its own first byte.
                        let start = out.len();
                        let Some(byte) = self.push(last, out) else { return false };
                        out.push(byte);
                        debug_assert!(out.len() > start);
                        self.entries.push((last, byte));
                    }
                    (None, _) => return false,
                    _ => {}
                }
                self.last = Some(code);
            }
        }
        true
    }
}

/// Width and height that a JPEG 2000 picture states itself, whatever its dictionary says (ISO 15444-1, A.5.1).
pub fn jpeg2000_size(bytes: &[u8]) -> Option<(u64, u64)> {
    let at = find(&bytes[..bytes.len().min(1 << 16)], b"\xFF\x4F\xFF\x51")?;
    let number = |i: usize| bytes.get(at + i..at + i + 4).map(|b| u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]])));
    Some((number(8)?, number(12)?))
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, word)
}

fn rfind(bytes: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(bytes, word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn file(filter: &str, stream: &[u8]) -> Vec<u8> {
        let head = format!("%PDF-1.7\n1 0 obj\n<< /Filter {filter} /Length {} >>\nstream\n", stream.len());
        [head.as_bytes(), stream, b"\nendstream\nendobj\n"].concat()
    }

    /// Codes that repeat one byte in ever longer entries.
    fn lzw_run(codes: usize) -> Vec<u8> {
        let (mut bits, mut out, mut known) = (Vec::new(), Vec::new(), 258u32);
        let mut put = |code: u32, width: u32| bits.extend((0..width).rev().map(|i| code >> i & 1 == 1));
        put(256, 9);
        put(65, 9);
        for _ in 0..codes.min(3800) {
            let width = if known >= 2047 {
                12
            } else if known >= 1023 {
                11
            } else if known >= 511 {
                10
            } else {
                9
            };
            put(known, width);
            known += 1;
        }
        let width = if known >= 2047 {
            12
        } else if known >= 1023 {
            11
        } else if known >= 511 {
            10
        } else {
            9
        };
        put(257, width);
        for byte in bits.chunks(8) {
            out.push(byte.iter().enumerate().fold(0, |b, (i, on)| b | u8::from(*on) << (7 - i)));
        }
        out
    }

    #[test]
    fn bombs_are_refused_and_pages_are_not() {
        let limit = 1 << 20;
        let check = |bytes: &[u8]| check_to(bytes, limit);
        let bomb = deflate(&vec![0; limit as usize + 1]);
        assert!(check(&file("/FlateDecode", &bomb)).unwrap_err().contains("unpacks"));
        assert!(check(&file("[/FlateDecode /FlateDecode]", &deflate(&bomb))).is_err());
        assert!(check(&file("[/Fl /FlateDecode]", &deflate(&bomb))).is_err());
        assert!(check(&file("/Fl#61teDecode", &bomb)).is_err(), "another way to write the name");
        let letters: String = bomb.iter().map(|b| format!("{b:02x}")).collect();
        assert!(check(&file("[/ASCIIHexDecode /FlateDecode]", letters.as_bytes())).is_err());
        let runs = [129, 7].repeat(limit as usize / 128 + 1);
        assert!(check(&file("/RunLengthDecode", &runs)).is_err());
        assert!(check(&file("[/A85 /RL]", &[b'z'; 9000])).is_ok(), "runs of one byte");
        assert!(check(&file("/LZWDecode", &lzw_run(3000))).is_err());
        let page = deflate("BT (a) Tj ET ".repeat(1000).as_bytes());
        assert!(check(&file("/FlateDecode", &page)).is_ok());
        assert!(check(&file("[/FlateDecode /FlateDecode]", &deflate(&page))).is_ok());
        assert!(check(b"stream of words without any end, stream\n").is_ok());
        let enciphered = [file("/FlateDecode /Type /ObjStm", &[0x55; 4000]), b"trailer << /Encrypt 9 0 R >>".to_vec()].concat();
        assert!(check(&enciphered).unwrap_err().contains("enciphered"));
    }

    #[test]
    fn every_packing_is_unpacked() {
        let all = |stream: &[u8], filters: &[Packing]| unpacked(stream, filters, u64::MAX);
        // 1 + 2 + … + 101 letters.
        assert_eq!(all(&lzw_run(100), &[Packing::Lzw]), 101 * 102 / 2);
        assert_eq!(all(&lzw_run(3800), &[Packing::Lzw]), 3801 * 3802 / 2);
        assert_eq!(all(&[4, 10, 11, 12, 13, 14, 253, 3, 128], &[Packing::RunLength]), 9);
        assert_eq!(all(b"68 65 6C6>", &[Packing::Hex]), 4);
        assert_eq!(all(b"<~z87cURD]~>".strip_prefix(b"<~").unwrap(), &[Packing::Ascii85]), 4 + 5);
        let inner = deflate(&[1; 1000]);
        let hex: String = inner.iter().map(|b| format!("{b:02X}")).collect();
        assert_eq!(all(hex.as_bytes(), &[Packing::Hex, Packing::Flate]), 1000);
        let twice = |limit| check_together(2, |_| (&inner, vec![Packing::Flate]), limit);
        assert!(twice(2000).is_ok() && twice(1999).unwrap_err().contains("unpacks"));
    }

    #[test]
    fn sizes_of_pictures_are_found() {
        let mut picture = b"\0\0\0\x0CjP  junk\xFF\x4F\xFF\x51\0\x2F\0\0".to_vec();
        picture.extend([0, 1, 0, 0, 0, 0, 2, 0]);
        assert_eq!(jpeg2000_size(&picture), Some((65_536, 512)));
        assert_eq!(jpeg2000_size(b"none"), None);
    }
}
