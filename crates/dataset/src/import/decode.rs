//! Bytes to UTF-8 while reading, so that every format behind it sees one encoding.
//!
//! Owns the `encoding_rs` library.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes looked at to tell the encoding.
const SNIFFED: usize = 4096;
/// Bytes decoded at a time.
const CHUNK: usize = 64 * 1024;

/// A stream of UTF-8.
pub(crate) type Utf8 = Box<dyn BufRead + Send>;

/// What a file's first bytes, or the recipe, say about its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Detected {
    encoding: &'static Encoding,
    /// Bytes of byte-order mark to skip.
    mark: usize,
}

impl Detected {
    /// The encoding's usual name.
    pub(crate) fn name(self) -> &'static str {
        self.encoding.name()
    }
}

/// Tells the encoding: a byte-order mark decides, then the recipe, then the pattern of zero bytes (UTF-16 without a mark has one in
/// nearly every other place wherever the text has ASCII), and otherwise it is UTF-8. An error is a name that is no encoding.
pub(crate) fn detect(head: &[u8], declared: Option<&str>) -> Result<Detected, String> {
    if let Some((encoding, mark)) = Encoding::for_bom(head) {
        return Ok(Detected { encoding, mark });
    }
    if let Some(label) = declared {
        let encoding = Encoding::for_label(label.as_bytes())
            .ok_or_else(|| format!("{label:?} is no encoding; examples: utf-8, utf-16le, gb18030, big5, windows-1252"))?;
        return Ok(Detected { encoding, mark: 0 });
    }
    let zeros = |offset: usize| head.iter().skip(offset).step_by(2).filter(|&&b| b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let enough = head.len() / 8;
    let encoding = match (even, odd) {
        (0, odd) if odd > enough => UTF_16LE,
        (even, 0) if even > enough => UTF_16BE,
        _ => UTF_8,
    };
    Ok(Detected { encoding, mark: 0 })
}

/// Opens a stream as UTF-8. Input that already is UTF-8 passes through unchecked: each format reports invalid bytes at their line.
pub(crate) fn utf8<R: Read + Send + 'static>(input: R, declared: Option<&str>) -> io::Result<Result<(Utf8, Detected), String>> {
    let mut input = BufReader::with_capacity(CHUNK, input);
    // One `fill_buf` may return less than there is; the sniffed bytes are read in full and put back in front.
    let mut head = Vec::with_capacity(SNIFFED);
    input.by_ref().take(SNIFFED as u64).read_to_end(&mut head)?;
    let detected = match detect(&head, declared) {
        Ok(detected) => detected,
        Err(reason) => return Ok(Err(reason)),
    };
    let rest = io::Cursor::new(head.split_off(detected.mark)).chain(input);
    let reader: Utf8 = if detected.encoding == UTF_8 {
        Box::new(rest)
    } else {
        Box::new(BufReader::with_capacity(
            CHUNK,
            Transcoder {
                input: rest,
                decoder: detected.encoding.new_decoder_without_bom_handling(),
                done: false,
                out: Vec::new(),
                taken: 0,
            },
        ))
    };
    Ok(Ok((reader, detected)))
}

/// A reader of UTF-8 over a reader of something else. Malformed input becomes U+FFFD, as every browser does it.
struct Transcoder<R> {
    input: R,
    decoder: Decoder,
    done: bool,
    out: Vec<u8>,
    taken: usize,
}

impl<R: BufRead> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.out.len() && !self.done {
            let bytes = self.input.fill_buf()?;
            let last = bytes.is_empty();
            self.out.resize(CHUNK, 0);
            let (result, read, written, _) = self.decoder.decode_to_utf8(bytes, &mut self.out, last);
            self.input.consume(read);
            self.out.truncate(written);
            self.taken = 0;
            self.done = last && result == CoderResult::InputEmpty;
        }
        let n = buffer.len().min(self.out.len() - self.taken);
        buffer[..n].copy_from_slice(&self.out[self.taken..self.taken + n]);
        self.taken += n;
        Ok(n)
    }
}

/// The same text with every line end as `\n` (Windows' `\r\n`, old Macs' `\r`), and one at the end of the last line: what Python's
/// text mode does. Line numbers then count the same in every format.
pub(crate) fn universal_newlines(input: Utf8) -> Utf8 {
    Box::new(BufReader::with_capacity(CHUNK, Newlines { input, after_return: false, last: b'\n' }))
}

struct Newlines {
    input: Utf8,
    /// The byte before was `\r`: a `\n` now is its second half.
    after_return: bool,
    /// The last byte given out.
    last: u8,
}

impl Read for Newlines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                if self.last == b'\n' {
                    return Ok(0);
                }
                self.last = b'\n';
                buffer[0] = b'\n';
                return Ok(1);
            }
            let taken = bytes.len().min(buffer.len());
            let mut written = 0;
            for &byte in &bytes[..taken] {
                let second_half = byte == b'\n' && self.after_return;
                self.after_return = byte == b'\r';
                if !second_half {
                    buffer[written] = if byte == b'\r' { b'\n' } else { byte };
                    written += 1;
                }
            }
            self.input.consume(taken);
            // Nothing is written if all that came was the second half of a line end.
            if written > 0 {
                self.last = buffer[written - 1];
                return Ok(written);
            }
        }
    }
}

/// What to say about a line that is not UTF-8: GB18030 is what Chinese spreadsheets write, so it is named if it would fit.
pub(crate) fn not_utf8(bytes: &[u8]) -> String {
    let at = std::str::from_utf8(bytes).err().map_or(0, |e| e.valid_up_to());
    let fits = |label: &'static Encoding| !label.decode_without_bom_handling(bytes).1;
    let hint = match fits(encoding_rs::GB18030) {
        true => "; if it is Chinese, say `encoding: gb18030` (on the command line: --encoding gb18030)",
        false => "; name its encoding with `encoding:` (on the command line: --encoding)",
    };
    format!("not UTF-8 at byte {} of the line{hint}", at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: Vec<u8>, declared: Option<&str>) -> String {
        let (mut reader, _) = utf8(io::Cursor::new(bytes), declared).unwrap().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    fn utf16(text: &str, big: bool, mark: bool) -> Vec<u8> {
        let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
        units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    #[test]
    fn marks_and_zero_bytes_tell_the_encoding() {
        let text = "text,label\n这部电影很好,1\n";
        assert_eq!(read(text.as_bytes().to_vec(), None), text);
        assert_eq!(read([b"\xEF\xBB\xBF", text.as_bytes()].concat(), None), text);
        for big in [false, true] {
            for mark in [false, true] {
                assert_eq!(read(utf16(text, big, mark), None), text, "big {big} mark {mark}");
            }
        }
        assert_eq!(read(encoding_rs::GB18030.encode(text).0.into_owned(), Some("gb18030")), text);
        assert_eq!(read(Vec::new(), None), "");
        assert!(utf8(io::empty(), Some("klingon")).unwrap().is_err());
        assert!(not_utf8(&encoding_rs::GB18030.encode("好评").0).contains("gb18030"));
    }

    #[test]
    fn line_ends_become_one() {
        for (given, want) in [("a\r\nb\rc\n\r\n", "a\nb\nc\n\n"), ("a", "a\n"), ("", ""), ("\r\r\n", "\n\n")] {
            // One byte at a time: a line end may fall on the border of two reads.
            let input = BufReader::with_capacity(1, io::Cursor::new(given.to_owned()));
            let mut text = String::new();
            universal_newlines(Box::new(input)).read_to_string(&mut text).unwrap();
            assert_eq!(text, want, "{given:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_utf16(text in "[a-z你好\u{1F600}\n,]{0,3000}", big: bool) {
            prop_assert_eq!(read(utf16(&text, big, true), None), text);
        }
    }
}
