//! The corpus with known text (`oracles/documents_corpus.py`): character error rates of the text layer and of recognised scans, tables row by
//! row, structure, passwords, and `pdftotext` as a second opinion where it is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use documents::import::ReadOptions;
use documents::import::pdf::Recogniser;
use documents::ocr::{PictureReader, Tesseract, picture};
use documents::pdf::{Gray, open};
use documents::{BlockKind, Extracted, PageSource, ingest};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn truth() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("truth.json")).unwrap()).unwrap()
}

fn read(name: &str, passwords: &[&str]) -> documents::Result<Extracted> {
    let path = fixtures().join(name);
    let options = ReadOptions { encoding: None, passwords: passwords.iter().map(|p| (*p).to_owned()).collect() };
    ingest::read(&path, std::fs::read(&path).unwrap(), &options, None, &|_| {})
}

/// Texts of the truth without tables, as one string.
fn running_text(truth: &Value) -> String {
    let texts = truth["blocks"].as_array().unwrap().iter().filter_map(|b| ["text", "heading", "item"].iter().find_map(|k| b[*k].as_str()));
    normal(&texts.collect::<Vec<_>>().join(" "))
}

fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Edits that turn one text into the other, over the length of the right one (Levenshtein).
fn error_rate(found: &str, right: &str) -> f64 {
    let (a, b): (Vec<char>, Vec<char>) = (found.chars().collect(), right.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] as f64 / b.len().max(1) as f64
}

fn found_text(extracted: &Extracted) -> String {
    let texts = extracted.blocks.iter().filter(|b| b.kind != BlockKind::Table).map(|b| b.text.as_str());
    normal(&texts.collect::<Vec<_>>().join(" "))
}

#[test]
fn text_layers_are_read_in_order() {
    let truth = truth();
    for (name, bound) in [
        ("en-one.pdf", 0.005),
        ("en-two.pdf", 0.02),
        ("zh-one.pdf", 0.005),
        ("zh-two.pdf", 0.02),
        ("zh-cid.pdf", 0.02),
        ("en-rotated.pdf", 0.005),
        ("mixed.pdf", 0.005),
    ] {
        let extracted = read(name, &[]).unwrap();
        let rate = error_rate(&found_text(&extracted), &running_text(&truth[name]));
        println!("{name}: character error rate {:.3} %", 100.0 * rate);
        assert!(rate <= bound, "{name}: {rate}\n{}", found_text(&extracted));
    }
}

#[test]
fn cells_stay_in_their_rows_and_headings_are_headings() {
    let truth = truth();
    for name in ["en-one.pdf", "en-two.pdf", "zh-one.pdf", "zh-two.pdf", "zh-cid.pdf"] {
        let extracted = read(name, &[]).unwrap();
        let tables: Vec<&str> = extracted.blocks.iter().filter(|b| b.kind == BlockKind::Table).map(|b| b.text.as_str()).collect();
        assert_eq!(tables.len(), 1, "{name}");
        for block in truth[name]["blocks"].as_array().unwrap() {
            if let Some(rows) = block["table"].as_array() {
                let cells = |row: &Value| row.as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned()).collect::<Vec<_>>();
                let wanted: Vec<String> = rows.iter().map(|row| format!("| {} |", cells(row).join(" | "))).collect();
                let got: Vec<&str> = tables[0].lines().filter(|l| !l.contains("---")).collect();
                assert_eq!(got, wanted, "{name}");
            }
            if let Some(heading) = block["heading"].as_str() {
                let found = extracted.blocks.iter().find(|b| b.text == heading).unwrap();
                assert!(matches!(found.kind, BlockKind::Heading(_)), "{name}: {heading}");
            }
        }
        // Every block knows where it stands, within the page.
        let page = &extracted.pages[0];
        for place in extracted.blocks.iter().flat_map(|b| &b.places) {
            let b = place.bbox.unwrap();
            assert!(b.x0 >= 0.0 && b.y0 >= 0.0 && b.x1 <= page.width && b.y1 <= page.height && b.x0 < b.x1 && b.y0 < b.y1, "{name}: {b:?}");
        }
    }
}

#[test]
fn lists_links_empty_pages_and_pictures_are_told() {
    let extracted = read("mixed.pdf", &[]).unwrap();
    let items: Vec<&str> = extracted.blocks.iter().filter(|b| b.kind == BlockKind::Item).map(|b| b.text.as_str()).collect();
    assert_eq!(items.len(), 4);
    assert!(items[0].starts_with("- keys") && items[0].ends_with("made and paid") && items[3] == "2. then the costs");
    let linked = extracted.blocks.iter().find(|b| !b.links.is_empty()).unwrap();
    let link = &linked.links[0];
    let words: String = linked.text.chars().skip(link.start).take(link.end - link.start).collect();
    assert_eq!((words.as_str(), link.uri.as_str()), ("register", "https://example.org/register"));
    let sources: Vec<PageSource> = extracted.pages.iter().map(|p| p.source).collect();
    assert_eq!(sources, [PageSource::Text, PageSource::Empty, PageSource::Failed]);
    assert!(extracted.pages[2].reason.as_ref().unwrap().contains("picture"));
    assert_eq!(extracted.declared_pages, Some(3));
    assert_eq!(read("en-rotated.pdf", &[]).unwrap().pages[0].rotation, 90);
}

#[test]
fn office_files_are_read() {
    let word = read("lease.docx", &[]).unwrap();
    let got: Vec<(BlockKind, &str)> = word.blocks.iter().map(|b| (b.kind, b.text.as_str())).collect();
    let (h, p, i) = (BlockKind::Heading(1), BlockKind::Paragraph, BlockKind::Item);
    let want = [
        (h, "Lease Agreement 房屋租赁合同"),
        (h, "1. Rent"),
        (p, "The rent is due monthly; 租金按月支付 & <so on>."),
        (i, "- keys of the door"),
        (i, "- the garage"),
        (i, "1. first the rent"),
        (i, "2. then the costs"),
        (BlockKind::Table, "| Item | Price |\n| --- | --- |\n| Rent | 850 |\n| 押金 | 2550 |"),
        (p, "See the register of the court."),
    ];
    assert_eq!(got, want);
    let link = &word.blocks.last().unwrap().links[0];
    assert_eq!((link.start, link.end, link.uri.as_str()), (8, 16, "https://example.org/register"));

    let excel = read("lease.xlsx", &[]).unwrap();
    let texts: Vec<&str> = excel.blocks.iter().map(|b| b.text.as_str()).collect();
    let first = "| 项目 | 金额 | 日期 |\n| --- | --- | --- |\n| 租金 | 3200.5 | 2024-03-01 |\n| a\\|b | TRUE | <x> & y |";
    assert_eq!(texts, ["费用 2024", first, "Numbers", "| n | value |\n| --- | --- |\n| 1 | 0.3 |"]);
    let sources: Vec<PageSource> = excel.pages.iter().map(|p| p.source).collect();
    assert_eq!(sources, [PageSource::Text, PageSource::Empty, PageSource::Text]);
}

#[test]
fn passwords_open_and_their_lack_is_told() {
    assert!(read("locked.pdf", &[]).unwrap_err().to_string().contains("--password"));
    assert!(read("locked.pdf", &["wrong"]).unwrap_err().to_string().contains("no --password fits"));
    assert!(found_text(&read("locked.pdf", &["wrong", "open"]).unwrap()).starts_with("The landlord lets the premises"));
}

/// A second opinion: the words that `pdftotext` finds are the words that we find, and our order is no worse than its.
#[test]
fn pdftotext_agrees() {
    let truth = truth();
    for name in ["en-one.pdf", "en-two.pdf", "zh-one.pdf", "zh-two.pdf", "zh-cid.pdf"] {
        let output = Command::new("pdftotext").arg(fixtures().join(name)).arg("-").output();
        let Ok(output) = output else {
            println!("pdftotext is not installed (Debian: poppler-utils): not compared");
            return;
        };
        let theirs = String::from_utf8(output.stdout).unwrap();
        if theirs.trim().is_empty() {
            println!("{name}: pdftotext has no CMaps (Debian: poppler-data): not compared");
            continue;
        }
        let extracted = read(name, &[]).unwrap();
        let ours: String = extracted.blocks.iter().map(|b| b.text.as_str()).collect::<Vec<_>>().join(" ");
        let letters = |text: &str| {
            let mut all: Vec<char> = text.chars().filter(|c| c.is_alphanumeric()).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(letters(&ours), letters(&theirs), "{name}: the same characters");
        let everything = {
            let mut out = Vec::new();
            for block in truth[name]["blocks"].as_array().unwrap() {
                out.extend(["text", "heading"].iter().find_map(|k| block[*k].as_str()).map(str::to_owned));
                let cells = block["table"].as_array().into_iter().flatten().flat_map(|r| r.as_array().unwrap()).filter_map(Value::as_str);
                out.extend(cells.map(str::to_owned));
            }
            out.join(" ")
        };
        let squeeze = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let (our_rate, their_rate) =
            (error_rate(&squeeze(&ours), &squeeze(&everything)), error_rate(&squeeze(&theirs), &squeeze(&everything)));
        println!("{name}: letters in order, ours {:.2} %, pdftotext {:.2} %", 100.0 * our_rate, 100.0 * their_rate);
        assert!(our_rate <= their_rate + 0.001, "{name}: {our_rate} {their_rate}");
    }
}

/// A page as a scanner gives it: skewed, with noise and specks.
fn scan(name: &str, degrees: f32) -> Gray {
    let reader = open(std::fs::read(fixtures().join(name)).unwrap(), &[]).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let mut page = picture::rotate(&reader.raster(0, 300.0).unwrap(), degrees);
    let mut state = 12_345u32;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    for p in &mut page.pixels {
        let r = random();
        let noise = (r % 61) as i32 - 30;
        *p = if r >> 16 & 1023 < 4 { if r & 1 == 0 { 0 } else { 255 } } else { (i32::from(*p).clamp(20, 235) + noise).clamp(0, 255) as u8 };
    }
    page
}

#[test]
fn scans_are_recognised() {
    let tesseract = Tesseract::new(None);
    let installed = tesseract.languages().is_ok_and(|l| ["eng", "chi_sim", "osd"].iter().all(|w| l.iter().any(|i| i == w)));
    if !installed {
        println!("Tesseract with eng, chi_sim and osd is not installed: no scan is read");
        return;
    }
    let truth = truth();
    let cases = [
        ("en-one.pdf", 5.0, 0.01, "eng"),
        ("zh-one.pdf", -5.0, 0.03, "chi_sim"),
        // Two columns: what counts here is the order as well.
        ("en-two.pdf", -5.0, 0.01, "eng"),
        ("zh-two.pdf", 5.0, 0.03, "chi_sim"),
    ];
    std::thread::scope(|scope| {
        for (name, degrees, bound, language) in cases {
            let (tesseract, truth) = (&tesseract, &truth);
            scope.spawn(move || {
                let reader = PictureReader::new(scan(name, degrees));
                let got = tesseract.recognise(&reader, 0, (595.0, 842.0), "").unwrap();
                assert_eq!(got.language, language);
                assert!(got.confidence.unwrap() > 0.7);
                // Tables without text layer may come as lines: all text counts.
                let ours: String = got.blocks.iter().map(|b| b.text.replace(['|', '-'], " ")).collect::<Vec<_>>().join(" ");
                let mut right = Vec::new();
                for block in truth[name]["blocks"].as_array().unwrap() {
                    right.extend(["text", "heading"].iter().find_map(|k| block[*k].as_str()).map(str::to_owned));
                    let cells =
                        block["table"].as_array().into_iter().flatten().flat_map(|r| r.as_array().unwrap()).filter_map(Value::as_str);
                    right.extend(cells.map(str::to_owned));
                }
                let rate = error_rate(&normal(&ours), &normal(&right.join(" ").replace('-', " ")));
                println!("{name} as a scan at {degrees} degrees: character error rate {:.2} %", 100.0 * rate);
                assert!(rate <= bound, "{name}: {rate}\n{ours}");
                let word = &got.blocks.iter().flat_map(|b| &b.words).next().unwrap().bbox;
                assert!(word.x0 > 0.0 && word.x1 < 595.0 && word.y1 < 842.0, "boxes are on the page: {word:?}");
            });
        }
    });
}
