//! Chinese set vertically: columns from right to left, each from above to below.

#[path = "made/pdf.rs"]
mod made;

use std::path::Path;

use documents::import::ReadOptions;
use documents::ingest;
use made::{pdf, stream};

/// A page of columns, each drawn at its place by one string.
fn page_of(columns: &[(u32, u32, &str)]) -> Vec<u8> {
    let hex = |text: &str| text.encode_utf16().map(|u| format!("{u:04X}")).collect::<String>();
    let content: String = columns.iter().map(|(x, y, text)| format!("1 0 0 1 {x} {y} Tm <{}> Tj\n", hex(text))).collect();
    let content = format!("BT /F 12 Tf\n{content}ET");
    let font = "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UTF16-V /DescendantFonts [<< /Type /Font /Subtype \
                /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 4 >> /DW 1000 >>] >>";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 400] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>".to_owned(),
        stream("", &content),
        font.to_owned(),
    ];
    pdf(&objects)
}

#[test]
fn columns_are_read_from_right_to_left() {
    // Drawn out of order.
    let bytes =
        page_of(&[(180, 350, "之日起計算租金應當在每月"), (200, 350, "租賃期限為十二個月自三月"), (160, 350, "第三個工作日之前支付。")]);
    let got = ingest::read(Path::new("a.pdf"), bytes, &ReadOptions::default(), None, &|_| {}).unwrap();
    let text: String = got.blocks.iter().map(|b| b.text.as_str()).collect();
    assert_eq!(text, "租賃期限為十二個月自三月之日起計算租金應當在每月第三個工作日之前支付。");
}
