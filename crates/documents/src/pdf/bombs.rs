//! Streams that unpack to far more than any page needs, found before the reader unpacks them.
//!
//! The reader unpacks a stream whole. Deflate turns one byte into at most 1,032, so small streams are harmless by arithmetic; large ones, and
//! those with several filters behind each other, are unpacked here first into nothing, with a limit.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// No stream of a document may unpack to more: a 600 dpi colour page of A3 has 210 MB.
pub const MAX_STREAM: u64 = 512 << 20;

/// Deflate's greatest ratio.
const MAX_RATIO: u64 = 1032;

/// Looks through a file's streams. An error names the first bomb.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    check_to(bytes, MAX_STREAM)
}

fn check_to(bytes: &[u8], limit: u64) -> Result<(), String> {
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
        let dictionary = &bytes[keyword.saturating_sub(1024)..keyword];
        let dictionary = &dictionary[rfind(dictionary, b" obj").or_else(|| rfind(dictionary, b"obj")).unwrap_or(0)..];
        let filters = filters(dictionary);
        if filters == 0 {
            continue;
        }
        let length = find(&bytes[start..], b"endstream").unwrap_or(bytes.len() - start);
        let stream = &bytes[start..start + length];
        at = start + length;
        let worst = (0..filters).fold(stream.len() as u64, |n, _| n.saturating_mul(MAX_RATIO));
        if worst <= limit {
            continue;
        }
        if unpacked(stream, filters, limit) > limit {
            return Err(format!(
                "a stream at byte {start} unpacks from {} to more than {} MB; no page needs that, so the file is not opened",
                stream.len(),
                limit >> 20
            ));
        }
    }
    Ok(())
}

/// Number of deflate filters of a stream's dictionary.
fn filters(dictionary: &[u8]) -> usize {
    let count = |name: &[u8]| dictionary.windows(name.len()).filter(|w| *w == name).count();
    // `/Fl` is the abbreviation in inline images and lazy writers' files.
    (count(b"/FlateDecode") + dictionary.windows(4).filter(|w| w.starts_with(b"/Fl") && !w[3].is_ascii_alphanumeric()).count()).min(8)
}

/// Bytes that come out, counted up to just above the limit.
fn unpacked(stream: &[u8], filters: usize, limit: u64) -> u64 {
    let mut reader: Box<dyn Read + '_> = Box::new(stream);
    for _ in 0..filters {
        reader = Box::new(ZlibDecoder::new(reader));
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

    #[test]
    fn bombs_are_refused_and_pages_are_not() {
        let limit = 1 << 20;
        let check = |bytes: &[u8]| check_to(bytes, limit);
        let bomb = deflate(&vec![0; limit as usize + 1]);
        assert!(check(&file("/FlateDecode", &bomb)).unwrap_err().contains("unpacks"));
        assert!(check(&file("[/FlateDecode /FlateDecode]", &deflate(&bomb))).is_err());
        assert!(check(&file("[/Fl /FlateDecode]", &deflate(&bomb))).is_err());
        let page = deflate("BT (a) Tj ET ".repeat(1000).as_bytes());
        assert!(check(&file("/FlateDecode", &page)).is_ok());
        assert!(check(&file("[/FlateDecode /FlateDecode]", &deflate(&page))).is_ok());
        assert!(check(b"stream of words without any end, stream\n").is_ok());
    }
}
