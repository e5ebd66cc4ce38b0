//! Damaged and hostile files: an error or what can be read, never a panic, never unbounded time or memory.

#[path = "made/pdf.rs"]
mod made;

use std::io::Write as _;
use std::path::Path;

use documents::import::ReadOptions;
use documents::{Extracted, ingest};
use made::{bytes_stream, deflate, pdf, stream};

fn read(name: &str, bytes: Vec<u8>) -> documents::Result<Extracted> {
    ingest::read(Path::new(name), bytes, &ReadOptions::default(), None, &|_| {})
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

fn page(contents: usize) -> String {
    format!(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents {contents} 0 R /Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> /XObject << /X {contents} 0 R >> >> >>"
    )
}

/// A small stream of numbers that look random.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn truncated_and_flipped_files_do_not_panic() {
    // The small ones: a page takes no time even in the test profile.
    for name in ["en-one.pdf", "zh-cid.pdf", "locked.pdf", "lease.docx", "lease.xlsx"] {
        let whole = fixture(name);
        let mut next = random(whole.len() as u64);
        for round in 0..24 {
            let mut bytes = whole.clone();
            if round % 3 == 0 {
                bytes.truncate(next() as usize % whole.len());
            } else {
                for _ in 0..=round {
                    let at = next() as usize % bytes.len();
                    bytes[at] ^= 1 << (next() % 8);
                }
            }
            // Either outcome is right; an error says something.
            if let Err(e) = read(name, bytes) {
                assert!(e.to_string().len() > name.len() + 5, "{e}");
            }
        }
    }
}

#[test]
fn missing_pages_are_counted() {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R 9 0 R] /Count 2 >>".to_owned(),
        page(4),
        stream("", "BT /F 12 Tf 20 200 Td (All that is left) Tj ET"),
    ];
    let got = read("a.pdf", pdf(&objects)).unwrap();
    assert_eq!((got.pages.len(), got.declared_pages), (1, Some(2)));
    assert!(got.failures[0].reason.contains("2 pages") && got.failures[0].reason.contains("only 1"));
    assert_eq!(got.blocks[0].text, "All that is left");
}

#[test]
fn circles_end() {
    // A page tree that holds itself, a form that draws itself, a content array that is itself.
    let catalog = || "<< /Type /Catalog /Pages 2 0 R >>".to_owned();
    let tree =
        [catalog(), "<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 2 >>".to_owned(), page(4), stream("", "BT /F 9 Tf 9 9 Td (x y) Tj ET")];
    assert_eq!(read("a.pdf", pdf(&tree)).unwrap().pages.len(), 1);
    let pages = || "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned();
    let form = [
        catalog(),
        pages(),
        page(4),
        stream("/Type /XObject /Subtype /Form /BBox [0 0 300 300] /Resources << /XObject << /X 4 0 R >> >>", "/X Do /X Do"),
    ];
    assert_eq!(read("a.pdf", pdf(&form)).unwrap().pages.len(), 1);
    let contents = [catalog(), pages(), page(4), "[4 0 R 4 0 R]".to_owned()];
    assert!(read("a.pdf", pdf(&contents)).is_ok_and(|e| e.pages.len() == 1));
    let reference = [catalog(), pages(), page(4), "4 0 R".to_owned()];
    assert!(read("a.pdf", pdf(&reference)).is_ok_and(|e| e.pages.len() == 1));
}

#[test]
fn bombs_are_refused() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
    let blanks = vec![b' '; 1 << 20];
    (0..300).for_each(|_| zip.write_all(&blanks).unwrap());
    let bytes = zip.finish().unwrap().into_inner();
    assert!(bytes.len() < 1 << 20);
    assert!(read("a.docx", bytes).unwrap_err().to_string().contains("unpacks to more"));
    let deep = format!("<w:document>{}", "<w:p>".repeat(100_000));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(deep.as_bytes()).unwrap();
    assert!(read("a.docx", zip.finish().unwrap().into_inner()).unwrap_err().to_string().contains("nest"));
}

#[test]
fn pages_that_unpack_without_end_are_named_and_stop_no_other() {
    let head = || {
        vec![
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [3 0 R 5 0 R] /Count 2 >>".to_vec(),
            page(4).into_bytes(),
            stream("", "BT /F 12 Tf 20 200 Td (A good page) Tj ET").into_bytes(),
        ]
    };
    // Three megabytes of blanks again and again: no stream is too large, but what the page says is.
    let many = format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents [{}] >>", "6 0 R ".repeat(200));
    let mut objects = head();
    objects.extend([many.into_bytes(), bytes_stream("/Filter /FlateDecode", &deflate(&vec![b' '; 3 << 20]))]);
    let got = read("a.pdf", pdf(&objects)).unwrap();
    assert_eq!(got.blocks[0].text, "A good page");
    assert!(got.pages[1].reason.as_ref().unwrap().contains("unpack"), "{:?}", got.pages[1]);
    // A stream by itself too large, in two layers under another spelling.
    let bomb = deflate(&[129, 0].repeat((600 << 20) / 128));
    assert!(bomb.len() < 100_000);
    let mut objects = head();
    objects.extend([page(6).into_bytes(), bytes_stream("/Filter [/#46lateDecode /RunLengthDecode]", &bomb)]);
    let error = read("a.pdf", pdf(&objects)).unwrap_err();
    assert!(error.to_string().contains("unpacks"), "{error}");
}

/// Draws nothing: what is asked of it is whether it was asked.
struct Draws;

impl documents::import::pdf::Recogniser for Draws {
    fn recognise(
        &self,
        reader: &dyn documents::pdf::PagedReader,
        page: usize,
        _: (f32, f32),
        _: &str,
    ) -> Result<documents::import::pdf::Recognised, String> {
        reader.raster(page, 300.0).map(|_| Default::default())
    }

    fn settings(&self) -> String {
        "draws".into()
    }
}

#[test]
fn pictures_of_absurd_sizes_are_not_drawn() {
    let drawn_by = |image: Vec<u8>, content: Vec<u8>| {
        let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >> >>";
        let objects = [
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
            page.as_bytes().to_vec(),
            content,
            image,
        ];
        let got = ingest::read(Path::new("a.pdf"), pdf(&objects), &ReadOptions::default(), Some(&Draws), &|_| {}).unwrap();
        got.pages[0].reason.clone().unwrap_or_default()
    };
    let drawn = |image: Vec<u8>, content: &str| drawn_by(image, stream("", content).into_bytes());
    let image = |more: &str, data: &[u8]| {
        bytes_stream(&format!("/Type /XObject /Subtype /Image /BitsPerComponent 8 /ColorSpace /DeviceGray {more}"), data)
    };
    let whole = "q 300 0 0 300 0 0 cm /X Do Q";
    let jpeg = b"\xFF\xD8\xFF\xC0\x00\x0B\x08\xFF\xFF\xFF\xFF\x01\x01\x11\x00\xFF\xD9";
    assert!(drawn(image("/Width 65535 /Height 65535 /Filter /DCTDecode", jpeg), whole).contains("65535 x 65535"));
    let mut jpeg2000 = b"\xFF\x4F\xFF\x51\x00\x2F\x00\x00".to_vec();
    jpeg2000.extend([0, 1, 0, 0, 0, 1, 0, 0]);
    assert!(drawn(image("/Width 10 /Height 10 /Filter /JPXDecode", &jpeg2000), whole).contains("65536 x 65536"));
    let fax = "/Width 10 /Height 10 /Filter /CCITTFaxDecode /DecodeParms << /Columns 1000000 /Rows 1000000 >>";
    assert!(drawn(image(fax, b"\0\0"), whole).contains("pixels"));
    assert!(drawn(image("/Width 100000 /Height 100000 /Filter /JBIG2Decode", b"\0\0"), whole).contains("pixels"));
    let plain = image("/Width 4 /Height 4", b"0123456789abcdef");
    assert!(!drawn(plain.clone(), whole).contains("needs"), "an ordinary one is drawn");
    // A picture in the content itself, which is packed: nothing of it is seen in the file's bytes.
    let within = |picture: &str| drawn_by(plain.clone(), bytes_stream("/Filter /FlateDecode", &deflate(picture.as_bytes())));
    assert!(within("q 300 0 0 300 0 0 cm BI /W 65535 /H 65535 /BPC 1 /CS /G /F /AHx ID 00> EI Q").contains("65535 x 65535"));
    let small = within("q 300 0 0 300 0 0 cm BI /W 2 /H 2 /BPC 8 /CS /G /F /AHx ID 00800080> EI Q");
    assert!(!small.contains("pixels"), "an ordinary one is drawn: {small}");
    // One small picture, and a page that paints itself over.
    assert!(drawn(plain, &format!("{whole} {}", "0 0 300 300 re f ".repeat(4000))).contains("paints itself over"));
}

#[test]
fn ten_thousand_pages_are_read() {
    let kids: Vec<String> = (0..10_000).map(|i| format!("{} 0 R", i + 5)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count 10000 >>", kids.join(" ")),
        "null".to_owned(),
        stream("", "BT /F 12 Tf 20 200 Td (One of many pages.) Tj ET"),
    ];
    objects.extend((0..10_000).map(|_| page(4)));
    let got = read("a.pdf", pdf(&objects)).unwrap();
    assert_eq!((got.pages.len(), got.blocks.len(), got.failures.len()), (10_000, 10_000, 0));
    assert_eq!(got.blocks[9_999].page(), 10_000);
}

#[test]
fn not_documents_are_told() {
    for (name, bytes, word) in [
        ("a.pdf", b"".to_vec(), "empty"),
        ("a.pdf", b"hello".to_vec(), "not a PDF"),
        ("a.docx", b"hello".to_vec(), "archive"),
        ("a.xlsx", [0xD0, 0xCF, 0x11, 0xE0, 0, 0].to_vec(), "encrypted"),
        ("a.png", b"\x89PNG\r\n\x1a\nxx".to_vec(), "PNG"),
        ("a.jpg", b"\xFF\xD8\xFF\xE0abc".to_vec(), "JPEG"),
        ("a.bin", vec![0, 1, 2, 3, 255, 0], "not a kind of file"),
    ] {
        let error = read(name, bytes).unwrap_err();
        assert!(error.to_string().contains(word) && error.is_user_input(), "{error}");
    }
}
