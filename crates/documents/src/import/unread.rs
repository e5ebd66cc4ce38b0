//! Files that are not read, with the reason and what to do instead.

use std::path::Path;

/// What every RTF file begins with, whatever its name.
const RTF: &[u8] = b"{\\rtf";
/// What Word, Excel and PowerPoint wrote before 2007, and what Office encrypts.
const COMPOUND: &[u8] = &[0xD0, 0xCF, 0x11, 0xE0];

/// Endings of documents that are not read.
const KINDS: &[(&[&str], &str)] = &[
    (&["doc", "dot", "wps"], "an old Word document: save it as .docx or PDF"),
    (&["rtf"], "rich text (RTF): save it as .docx or PDF"),
    (&["odt", "ott", "fodt", "pages", "wpd"], "a text document of another kind: save it as .docx or PDF"),
    (&["xls", "xlsb", "xlt", "et"], "an old or binary Excel workbook: save it as .xlsx"),
    (&["ods", "fods", "numbers"], "a spreadsheet of another kind: save it as .xlsx"),
    (&["ppt", "pptx", "pptm", "pps", "ppsx", "odp", "dps", "key"], "slides: save them as PDF"),
    (&["epub", "mobi", "azw", "azw3", "fb2", "chm"], "a book: convert it to HTML or PDF"),
    (&["eml", "msg", "mbox", "mht", "mhtml", "pst"], "mail or a web archive: save it as HTML, text or PDF"),
    (&["ps", "eps", "djvu", "xps", "ofd", "caj"], "pages of another kind: save them as PDF"),
    (&["gif", "bmp", "webp", "heic", "heif", "jp2", "avif", "svg"], "a picture of another kind: save it as PNG or JPEG"),
    (&["zip", "rar", "7z", "tar", "gz", "tgz", "bz2", "xz"], "an archive: unpack it"),
    (
        &["csv", "tsv", "json", "jsonl", "ndjson", "parquet", "sqlite", "db"],
        "rows of data, no document: `data preview`, `train` and `label import` read such files",
    ),
];

/// Why a file with this ending is not read, and what to do; `None` for endings that nothing is known of.
pub fn reason(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    KINDS.iter().find(|(endings, _)| endings.contains(&ending.as_str())).map(|(_, reason)| *reason)
}

/// Why a file of a directory is passed over.
pub(crate) fn passed_over(path: &Path) -> &'static str {
    match reason(path) {
        Some(reason) => reason,
        None if path.extension().is_none() => "its name has no ending; if it is text, give the file itself",
        None => "no ending of a document; if it is text, give the file itself",
    }
}

/// Why a file that was given by itself cannot be read, though it may look like text.
pub(crate) fn refused(path: &Path, bytes: &[u8]) -> Option<String> {
    if bytes.starts_with(RTF) {
        return Some("rich text (RTF) is not read: save it as .docx or PDF".into());
    }
    let known = super::Format::from_name(path).is_some();
    match reason(path) {
        _ if known => None,
        Some(reason) if bytes.contains(&0) => Some(format!("{reason}; files of this kind are not read")),
        None if bytes.starts_with(COMPOUND) => {
            Some("an old or encrypted Office file: save it as .docx, .xlsx or PDF, without a password".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_has_a_way_out() {
        for (name, word) in [("合同.DOC", ".docx"), ("a.rtf", "PDF"), ("a.csv", "data"), ("noext", "no ending"), ("a.xyz", "give the file")]
        {
            assert!(passed_over(Path::new(name)).contains(word), "{name}");
        }
        for (name, bytes, word) in [
            ("a.txt", &b"{\\rtf1 hi}"[..], Some("RTF")),
            ("old.doc", b"\xD0\xCF\x11\xE0\0\0", Some(".docx")),
            ("noext", b"\xD0\xCF\x11\xE0\0\0", Some("Office")),
            ("a.csv", b"a,b\n", None),
            ("a.eml", b"Subject: x\n", None),
            ("a.docx", b"\xD0\xCF\x11\xE0", None),
        ] {
            let refused = refused(Path::new(name), bytes);
            assert_eq!(refused.is_some(), word.is_some(), "{name}: {refused:?}");
            assert!(word.is_none_or(|w| refused.unwrap().contains(w)), "{name}");
        }
    }
}
