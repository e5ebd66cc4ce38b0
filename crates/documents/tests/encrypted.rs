//! Encrypted files: every way that the standard knows, made here, read back word for word.

#[path = "made/lock.rs"]
mod lock;
#[path = "made/pdf.rs"]
mod made;

use std::path::Path;

use documents::import::ReadOptions;
use documents::pdf::open;
use documents::{Extracted, ingest};
use lock::{Lock, Way};
use made::{bytes_stream, deflate, pdf_with};

/// A page of packed content: English, Chinese, and between them pictures that stand in the content itself, one of them packed once more.
fn page_of(lock: &Lock) -> Vec<u8> {
    let picture = deflate(&[0x80; 64]);
    let content = [
        &b"BT /F 12 Tf 20 250 Td (Rent is due on the third day.) Tj ET\nq 40 0 0 40 20 180 cm\nBI /W 4 /H 4 /BPC 8 /CS /G ID "[..],
        b"0123 EI4567 BTxy",
        b"\nEI Q\nBT /G 12 Tf 20 140 Td <79DF91D16BCF67087B2C4E09592965E5652F4ED8> Tj ET\nq 40 0 0 40 20 80 cm\n",
        b"BI /W 8 /H 8 /BPC 8 /CS /G /F /Fl ID ",
        &picture,
        b"\nEI Q\nBT /F 12 Tf 20 40 Td (After the pictures.) Tj ET",
    ]
    .concat();
    let uri = lock.string(3, "https://e.example/租");
    let page = format!(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Resources << /Font << /F 5 0 R /G 6 0 R >> >> \
         /Annots [<< /Type /Annot /Subtype /Link /Rect [20 240 90 260] /A << /S /URI /URI {uri} >> >>] >>"
    );
    let chinese =
        "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UTF16-H /DescendantFonts [<< /Type /Font /Subtype \
                   /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry () /Ordering () /Supplement 4 >> /DW 1000 >>] >>"
            .replace("/Registry ()", &format!("/Registry {}", lock.string(6, "Adobe")))
            .replace("/Ordering ()", &format!("/Ordering {}", lock.string(6, "GB1")));
    let objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        page.into_bytes(),
        bytes_stream("/Filter /FlateDecode", &lock.seal(4, &deflate(&content))),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec(),
        chinese.into_bytes(),
    ];
    pdf_with(&objects, &lock.trailer)
}

fn read(bytes: Vec<u8>, passwords: &[&str]) -> documents::Result<Extracted> {
    let options = ReadOptions { encoding: None, passwords: passwords.iter().map(|p| (*p).to_owned()).collect() };
    ingest::read(Path::new("lease.pdf"), bytes, &options, None, &|_| {})
}

#[test]
fn every_way_of_encrypting_is_undone() {
    for way in Way::ALL {
        let bytes = page_of(&Lock::new(way, "open sesame"));
        assert!(!bytes.windows(4).any(|w| w == b"Rent"), "nothing can be read as it is");
        let got = read(bytes.clone(), &["open sesame"]).unwrap_or_else(|e| panic!("{way:?}: {e}"));
        let lines: Vec<&str> = got.blocks.iter().flat_map(|b| b.text.lines()).collect();
        assert_eq!(lines, ["Rent is due on the third day.", "租金每月第三天日支付", "After the pictures."], "{way:?}");
        assert_eq!((got.pages.len(), got.failures.len(), got.pages[0].reason.as_ref()), (1, 0, None), "{way:?}");
        let reader = open(bytes, &["open sesame".to_owned()]).unwrap();
        let mut pages = Vec::new();
        reader.read(0..1, &mut |_, page| pages.push(page.unwrap()));
        assert_eq!(pages[0].images.len(), 2, "{way:?}: both pictures are seen");
        assert_eq!(pages[0].links[0].uri, "https://e.example/租", "{way:?}: strings are deciphered, too");
        // The second is grey all over: what is drawn there is the deciphered, unpacked picture.
        let drawn = reader.raster(0, 72.0).unwrap();
        assert!(drawn.pixels[200 * drawn.width + 40].abs_diff(0x80) < 4, "{way:?}: {}", drawn.pixels[200 * drawn.width + 40]);
    }
}

#[test]
fn wrong_and_missing_passwords_are_told() {
    for way in Way::ALL {
        let bytes = page_of(&Lock::new(way, "密码"));
        let missing = read(bytes.clone(), &[]).unwrap_err();
        assert!(
            missing.is_user_input() && missing.to_string().contains("lease.pdf: it is encrypted; give its password with --password"),
            "{missing}"
        );
        let wrong = read(bytes.clone(), &["密", "open sesame", ""]).unwrap_err();
        assert!(wrong.is_user_input() && wrong.to_string().contains("lease.pdf: it is encrypted, and no --password fits"), "{wrong}");
        assert!(wrong.to_string().contains("give the one"), "{wrong}");
        // Of several the one that fits.
        let got = read(bytes, &["密", "密码"]).unwrap_or_else(|e| panic!("{way:?}: {e}"));
        assert!(got.blocks[0].text.starts_with("Rent is due"), "{way:?}");
        // A lock that only says what may be done with the file asks for nothing.
        assert!(read(page_of(&Lock::new(way, "")), &[]).is_ok(), "{way:?}");
    }
}

#[test]
fn damage_behind_a_lock_is_no_panic() {
    for way in Way::ALL {
        let whole = page_of(&Lock::new(way, "a"));
        for at in (9..whole.len()).step_by(whole.len() / 60) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            if let Err(e) = read(bytes, &["a"]) {
                assert!(e.to_string().starts_with("lease.pdf: "), "{e}");
            }
        }
    }
}
