//! Small PDF files, object by object: what tests and fuzz targets begin with.

#![allow(dead_code)] // each test binary uses its part

use std::io::Write as _;

/// A file of objects (from number 1) with a correct table.
pub fn pdf<O: AsRef<[u8]>>(objects: &[O]) -> Vec<u8> {
    pdf_with(objects, "")
}

/// As [`pdf`], with more in its trailer.
pub fn pdf_with<O: AsRef<[u8]>>(objects: &[O], trailer: &str) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.extend([format!("{} 0 obj\n", i + 1).as_bytes(), object.as_ref(), b"\nendobj\n"].concat());
    }
    let (start, size) = (out.len(), objects.len() + 1);
    out.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
    offsets.iter().for_each(|o| out.extend(format!("{o:010} 00000 n \n").bytes()));
    out.extend(format!("trailer << /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n").bytes());
    out
}

/// A stream of text.
pub fn stream(dictionary: &str, data: &str) -> String {
    format!("<< {dictionary} /Length {} >>\nstream\n{data}\nendstream", data.len())
}

/// A stream of bytes, which need not be text.
pub fn bytes_stream(dictionary: &str, data: &[u8]) -> Vec<u8> {
    [format!("<< {dictionary} /Length {} >>\nstream\n", data.len()).as_bytes(), data, b"\nendstream"].concat()
}

/// What `/FlateDecode` undoes.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    // Into memory: nothing can fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
