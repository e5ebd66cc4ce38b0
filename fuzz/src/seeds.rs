//! What mutation begins with: committed files of the tests, and small ones made here that reach what those do not.

// The files that the tests make are made in one place.
#[path = "../../crates/documents/tests/made/pdf.rs"]
mod made;

use std::io::{Read, Write};
use std::path::Path;

use crate::Target;
use made::pdf;

/// Words of PDF.
pub const PDF_WORDS: &[&str] = &[
    "obj",
    "endobj",
    "stream\n",
    "\nendstream",
    "<<",
    ">>",
    "[",
    "]",
    "R",
    "/Kids",
    "/Count",
    "/Parent",
    "/Type",
    "/Page",
    "/Contents",
    "/Resources",
    "/Font",
    "/XObject",
    "/Length",
    "/Filter",
    "/FlateDecode",
    "/LZWDecode",
    "/RunLengthDecode",
    "/ASCII85Decode",
    "/ASCIIHexDecode",
    "/DCTDecode",
    "/CCITTFaxDecode",
    "/JBIG2Decode",
    "/JPXDecode",
    "/DecodeParms",
    "/Predictor 15",
    "/Columns 99999999",
    "/Colors 255",
    "/Width 2147483647",
    "/Height 2147483647",
    "/BitsPerComponent 16",
    "/ObjStm",
    "/XRef",
    "/Prev 0",
    "/W [9 9 9]",
    "/Index [0 99999999]",
    "/Rotate 90",
    "/MediaBox",
    "/Encrypt",
    "/ToUnicode",
    "/Identity-V",
    "/DescendantFonts",
    "xref",
    "trailer",
    "startxref",
    "BT",
    "ET",
    "Tj",
    "TJ",
    "Tf",
    "Td",
    "Tm",
    "cm",
    "q",
    "Q",
    "Do",
    "re",
    "f",
    "BI",
    "ID",
    "EI",
    "1 0 R",
    "2 0 R",
    "3 0 R",
    "4 0 R",
    "5 0 R",
    "1e38",
    "-1",
    "0.000001",
    "(",
    ")",
    "<FEFF",
    "%%EOF",
];
/// Words of Office's XML.
pub const OFFICE_WORDS: &[&str] = &[
    "<w:p>",
    "</w:p>",
    "<w:r>",
    "<w:t>",
    "<w:tbl>",
    "<w:tr>",
    "<w:tc>",
    "</w:tc>",
    "<w:vMerge/>",
    "<w:gridSpan w:val=\"99999999\"/>",
    "<w:del>",
    "<w:tab/>",
    "<w:numPr>",
    "<w:hyperlink r:id=\"rId1\">",
    "<row r=\"1048577\">",
    "<c r=\"XFD1048576\" t=\"s\">",
    "<c r=\"A1\">",
    "<v>",
    "</v>",
    "t=\"inlineStr\"",
    "<mergeCell ref=\"A1:XFD1048576\"/>",
    "&amp;",
    "&#x110000;",
    "&lol;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml encoding=\"utf-16\"?>",
    "<!DOCTYPE a [",
    "s=\"65535\"",
    "/>",
];
/// Words of HTML.
pub const HTML_WORDS: &[&str] = &[
    "<table>",
    "<tr>",
    "<td colspan=99999999>",
    "<td rowspan=\"4000000000\">",
    "</td>",
    "<tbody>",
    "<caption>",
    "<ruby>",
    "<rp>",
    "<rt>",
    "<ul>",
    "<li>",
    "<ol start=-1>",
    "<pre>",
    "<script>",
    "</script",
    "<style>",
    "<!--",
    "-->",
    "<h1>",
    "<a href=",
    "</a>",
    "<br>",
    "&amp",
    "&#0;",
    "&#x10FFFF;",
    "&#xD800;",
    "<meta charset=utf-16>",
    "<p",
    "</",
    "<template>",
    "<svg>",
    "<title>",
];
/// Words of Markdown.
pub const MARKDOWN_WORDS: &[&str] = &[
    "# ",
    "```\n",
    "| a | b |\n",
    "|---|\n",
    "- ",
    "1. ",
    "> ",
    "    ",
    "[a](b)",
    "![",
    "\n\n",
    "***",
    "\\|",
    "~~~\n",
    "<div>",
    "---\nk: v\n",
];
/// Words of running text that cleaning looks for.
pub const TEXT_WORDS: &[&str] = &[
    "a@b.example",
    "+49 30 1234567",
    "13800138000",
    "11010519491231002X",
    "4111 1111 1111 1111",
    "ＡＢＣ１２３",
    "　",
    "\u{200b}",
    "\u{ad}",
    "e\u{301}",
    "ﬁ",
    "Page 1 of 9\n",
    "第 1 页\n",
    "\n\n",
    "。",
    ". ",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{0}",
    "\u{7f}",
    "\t\t",
];

/// Inputs to begin with.
pub fn of(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut out = Vec::new();
    for (directory, endings) in target.seeds {
        let mut files = Vec::new();
        walk(&root.join(directory), &mut files);
        files.sort();
        for file in files.iter().filter(|f| endings.iter().any(|e| f.to_string_lossy().ends_with(e))) {
            let Ok(bytes) = std::fs::read(file) else { continue };
            if target.name.starts_with("label_") && target.name != "label_files" && matches!(bytes.first(), Some(b'{' | b'[')) {
                rows(&bytes, &mut out);
            } else {
                out.push(bytes);
            }
        }
    }
    if target.name == "pdf" {
        let plain: Vec<Vec<u8>> = out.iter().map(|pdf| inflated(pdf)).collect();
        out.extend(plain);
    }
    out.extend(made(target.name));
    out
}

fn walk(directory: &Path, out: &mut Vec<std::path::PathBuf>) {
    for path in std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()) {
        if path.is_dir() { walk(&path, out) } else { out.push(path) }
    }
}

/// Rows of JSON lines, or of one array of them.
fn rows(bytes: &[u8], out: &mut Vec<Vec<u8>>) {
    if let Ok(all) = serde_json::from_slice::<Vec<serde_json::Value>>(bytes) {
        out.extend(all.iter().map(|row| row.to_string().into_bytes()));
        return;
    }
    out.extend(bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
}

/// A PDF whose deflated streams are plain: mutants reach what is drawn.
fn inflated(pdf: &[u8]) -> Vec<u8> {
    let find = |from: usize, word: &[u8]| pdf[from.min(pdf.len())..].windows(word.len()).position(|w| w == word).map(|n| from + n);
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(keyword) = find(at, b"stream\n").or_else(|| find(at, b"stream\r\n")) {
        let start = keyword + if pdf[keyword + 6] == b'\r' { 8 } else { 7 };
        let Some(end) = find(start, b"endstream") else { break };
        let dictionary = String::from_utf8_lossy(&pdf[at..keyword]).into_owned();
        let mut plain = Vec::new();
        let alone = dictionary.contains("/FlateDecode") && !dictionary.contains("/ASCII85Decode") && !dictionary.contains("/Length1");
        if alone && flate2::read::ZlibDecoder::new(&pdf[start..end]).take(1 << 20).read_to_end(&mut plain).is_ok() {
            out.extend(dictionary.replace("/FlateDecode", "").replace("/Filter [  ]", "").replace("/Filter ", "").bytes());
            out.extend(b"stream\n");
            out.extend(plain);
            out.extend(b"\nendstream");
        } else {
            out.extend(&pdf[at..end + 9]);
        }
        at = end + 9;
    }
    out.extend(&pdf[at..]);
    out
}

fn png(width: u32, height: u32, color: u8, pixels: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], data: &[u8]| {
        out.extend((data.len() as u32).to_be_bytes());
        let body = [name.as_slice(), data].concat();
        out.extend(&body);
        let mut crc = flate2::Crc::new();
        crc.update(&body);
        out.extend(crc.sum().to_be_bytes());
    };
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, color, 0, 0, 0]);
    chunk(b"IHDR", &header);
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    // Into memory.
    let _ = encoder.write_all(pixels);
    chunk(b"IDAT", &encoder.finish().unwrap_or_default());
    chunk(b"IEND", b"");
    out
}

/// What no committed file has.
fn made(target: &str) -> Vec<Vec<u8>> {
    match target {
        "word2vec" => {
            let mut binary = b"2 2\n".to_vec();
            for (word, numbers) in [("the", [0.5f32, -1.0]), ("词", [1e-3, 2.0])] {
                binary.extend(word.as_bytes());
                binary.push(b' ');
                numbers.iter().for_each(|n| binary.extend(n.to_le_bytes()));
                binary.push(b'\n');
            }
            vec!["3 2\nthe 0.5 -1\n词 1e-3 2\na,b 3 4\n".into(), binary, b"0 5\n".to_vec(), b"1 1\nx 1".to_vec()]
        }
        "html" => [
            "<html><head><meta charset=gb18030><title>T</title><style>x</style></head><body><h1>A</h1><p>b <a href='https://e.example'>c</a><br>d<ul><li>x<li>y</ul>",
            "<table><tr><th colspan=2>a<td>b<tr><td rowspan=2>c<td>d<td>e<tr><td>f</table><pre>a\n  b</pre><script>1 < 2</script><!-- c -->&lt;&amp;&#20013;",
            "<ol><li>1<ol><li>2</ol></ol><blockquote>q</blockquote><dl><dt>a<dd>b</dl>",
        ]
        .iter()
        .map(|s| s.as_bytes().to_vec())
        .collect(),
        "text" => vec![
            "甲方\r\n\r\n乙方\n- a\n- b\n".into(),
            b"\xFF\xFEa\0b\0\n\0-N\xD7\x65".to_vec(),
            b"\xB1\xBE\xBA\xCF\xCD\xAC\xD3\xC9\xD2\xBB\xB7\xBD\xB3\xF6\xD7\xE2".to_vec(),
            b"caf\xE9 na\xEFve \x93quoted\x94".to_vec(),
            b"\xFE\xFF\0a\xD8\x3D\xDE\x00\0\n".to_vec(),
        ],
        "pipelines" => ["\u{7f}\u{20}a@b.example rang 13800138000. 第 1 页\n\nＡＢＣ，ﬁne e\u{301}.", "\u{ff}\u{8}# H\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n- x\n- y\n\n```\ncode\n```\n"]
            .iter()
            .map(|s| s.chars().flat_map(|c| if c as u32 <= 0xFF { vec![c as u8] } else { c.to_string().into_bytes() }).collect())
            .collect(),
        "picture" => {
            let gray: Vec<u8> = (0..40u32).flat_map(|y| std::iter::once(0).chain((0..60u32).map(move |x| if x * y % 7 == 0 { 0 } else { 230 }))).collect();
            let color: Vec<u8> = (0..8).flat_map(|y| std::iter::once(y % 5).chain((0..32).map(move |x| x * 7))).collect();
            // The smallest JPEG of one grey block.
            let jpeg = b"\xFF\xD8\xFF\xDB\x00\x43\x00".iter().copied().chain([1; 64]).chain(*b"\xFF\xC0\x00\x0B\x08\x00\x08\x00\x08\x01\x01\x11\x00\xFF\xC4\x00\x14\x00\x01").chain([0; 15]).chain(*b"\x00\xFF\xC4\x00\x14\x10\x01").chain([0; 15]).chain(*b"\x00\xFF\xDA\x00\x08\x01\x01\x00\x00\x3F\x00\x37\xFF\xD9");
            // Two directories of a grey TIFF, and a fax.
            let directory = |next: u32| {
                let entries: [(u16, u16, u32); 9] = [(256, 3, 4), (257, 3, 3), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 3), (279, 4, 12)];
                let entries = entries.iter().flat_map(|(tag, kind, value)| [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()].concat());
                [&9u16.to_le_bytes()[..], &entries.collect::<Vec<u8>>(), &next.to_le_bytes()].concat()
            };
            let tiff = [&b"II\x2A\0\x14\0\0\0"[..], &[0, 255, 9, 80, 170, 3, 4, 5, 6, 7, 8, 9], &directory(20 + 114), &directory(0)].concat();
            let fax = include_bytes!("../../crates/documents/tests/fixtures/fax-g4.tif").to_vec();
            vec![png(60, 40, 0, &gray), png(8, 8, 6, &color), jpeg.collect(), tiff, fax]
        }
        "pdf" => {
            let text = "<< /Length 120 >>\nstream\nBT /F 12 Tf 20 250 Td (One line of text) Tj 0 -14 Td [(Two) -300 (words)] TJ ET 20 20 100 50 re f /X Do q 1 0 0 1 5 5 cm Q\nendstream";
            let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Rotate 0 /Resources << /Font << /F 5 0 R >> /XObject << /X 6 0 R >> >> /Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 99 99] /A << /URI (https://e.example) >> >>] >>";
            let catalog = "<< /Type /Catalog /Pages 2 0 R >>";
            let pages = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>";
            let latin = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>";
            let image = "<< /Type /XObject /Subtype /Image /Width 4 /Height 4 /BitsPerComponent 8 /ColorSpace /DeviceGray /Length 16 >>\nstream\n0123456789abcdef\nendstream";
            let form = "<< /Type /XObject /Subtype /Form /BBox [0 0 300 300] /Matrix [1 0 0 1 0 0] /Resources << /Font << /F 5 0 R >> >> /Length 40 >>\nstream\nBT /F 9 Tf 9 9 Td (In a form) Tj ET\nendstream";
            let upright = "<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UTF16-V /DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 4 >> /DW 1000 >>] >>";
            let chinese = "<< /Length 60 >>\nstream\nBT /F 12 Tf 200 250 Td <4E2D6587> Tj 20 20 Td <5317> Tj ET\nendstream";
            let three = "<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [.1 0 0 .1 0 0] /FirstChar 65 /LastChar 65 /Widths [9] /Encoding << /Differences [65 /a] >> /CharProcs << /a 6 0 R >> >>";
            let hex = "<< /Filter [/ASCIIHexDecode /RunLengthDecode] /Length 40 >>\nstream\n0342542045543E80>\nendstream";
            vec![
                pdf(&[catalog, pages, page, text, latin, image]),
                pdf(&[catalog, pages, page, text, latin, form]),
                pdf(&[catalog, pages, page, chinese, upright, form]),
                pdf(&[catalog, pages, page, text, three, form]),
                pdf(&[catalog, pages, page, hex, latin, image]),
            ]
        }
        "label_brat" => vec!["T1\tPerson 0 7\tAnn Lee\nT2\tOrg 13 17;19 20\tAcme 😀\nR1\tWorks Arg1:T1 Arg2:T2\nE1\tHire:T1 Who:T2\nA1\tSure E1 Yes\n*\tEquiv T1 T2 T2\n#1\tAnnotatorNotes T1\tnote\nN1\tReference T2 W:1\tAcme\n".into()],
        "label_conll" => vec!["Ann\tB-PER\nLee\tI-PER\n\nruns\tO\n".into(), "-DOCSTART- -X- O O\n\nEU NNP I-NP S-ORG\ncuts VB O O\n".into()],
        "label_csv" => [r##"{"text":"a","label":"x#y","id":7,"extra":null}"##, r#"{"review":"b","label":3}"#].iter().map(|s| s.as_bytes().to_vec()).collect(),
        "label_doccano" => [r#"{"text":"to 北京","entities":[[3,5,"City"]],"cats":["flight"]}"#, r##"{"text":"a😀b","label":[[0,2,"X"],[1,3,"Y"]]}"##]
            .iter()
            .map(|s| s.as_bytes().to_vec())
            .collect(),
        "label_jsonl" => vec![
            r##"{"id":"7","text":"Ann runs Acme","label":"b","spans":[{"id":"T1","label":"PER","start":0,"end":3,"text":"Ann"},{"id":"T2","label":"ORG","ranges":[[9,11],[12,13]]}],"relations":[{"id":"R1","label":"runs","args":[{"role":"from","id":"T1"},{"role":"to","id":"T2"}]}],"events":[{"id":"E1","trigger":"T1","args":[]}],"attributes":[{"label":"Sure","of":"R1"}],"annotator":"kim","answer":"accept","confidence":0.9}"##.into(),
            r##"{"text":"x","labels":["a","b"],"document":{"source":"f","row":"3"},"annotations":[{"annotator":"a","label":"x"},{"annotator":"b","answer":"reject","label":"x"}],"meta":{"k":[1]}}"##.into(),
            r##"{"text":"q","texts":["t"],"questions":[{"question":"who","answers":["me"]}],"classes":[{"group":"g","label":"l"}]}"##.into(),
        ],
        "label_files" => vec![
            "text,label\n\"a, b\",x#y\n北京,\n".into(),
            "\u{feff}text;label\r\na;x\r\n".into(),
            "T1\tPerson 0 7\tAnn Lee\nT2\tCity 23 30\tBeijing\n".into(),
            "{\"text\":\"😀 Ann\",\"label\":[[3,6,\"P\"]]}\r\n{\"text\":\"Ann 😀\",\"label\":[[0,3,\"P\"]]}\r\n".into(),
        ],
        _ => Vec::new(),
    }
}
