//! Files of models, vectors and documents: an error, or something whose parts fit together; never a panic, never more time or memory than
//! the file explains.

use std::path::Path;

use containers::{GgufFile, SafetensorsFile, TensorView};
use documents::chunk::{Characters, ChunkOptions, Cleaned, cut};
use documents::clean::{Cleaner, Draft, Duplicates, Form, HeadersFooters, Length, Pii, Pipeline, Step, Width};
use documents::import::{ReadOptions, plain};
use documents::{block, ingest};

use crate::{Outcome, outcome};

/// What a file's tensors decode to.
fn tensors<'a>(views: impl Iterator<Item = TensorView<'a>>) -> Outcome {
    let (mut read, mut kinds) = (0, String::new());
    for view in views {
        assert_eq!(view.dtype.bytes_for(view.numel()), Some(view.data.len()));
        read += usize::from(view.to_f32().is_ok());
        kinds.push_str(&format!("{:?} {} ", view.dtype, view.name));
    }
    outcome(&kinds, &[read])
}

/// Tensors of a gguf file decode.
pub fn gguf(bytes: &[u8]) -> Outcome {
    GgufFile::from_bytes("fuzz", bytes.to_vec()).map_or_else(|e| outcome(&e.to_string(), &[]), |file| tensors(file.tensors()))
}

/// Tensors of a safetensors file decode.
pub fn safetensors(bytes: &[u8]) -> Outcome {
    SafetensorsFile::from_bytes("fuzz", bytes.to_vec()).map_or_else(|e| outcome(&e.to_string(), &[]), |file| tensors(file.tensors()))
}

/// Word vectors, text or binary; written again in both forms they are the same.
pub fn word2vec(bytes: &[u8]) -> Outcome {
    use vectorize::load::vectors::word2vec_from;
    use vectorize::save::vectors::{VectorFormat, word2vec_to};
    let name = Path::new("fuzz");
    match word2vec_from(name, bytes.len() as u64, bytes) {
        Ok(vectors) => {
            let words = vectors.words().len();
            for form in [VectorFormat::Text, VectorFormat::Binary] {
                let mut out = Vec::new();
                // What cannot be written so that it comes back is refused.
                if word2vec_to(&mut out, name, &vectors, form).is_err() {
                    continue;
                }
                // Numbers whose bytes happen to be a line of text look like one: no trained vector is made of such.
                let first = out.split(|b| *b == b'\n').nth(1).unwrap_or_default();
                if form == VectorFormat::Binary && std::str::from_utf8(first).is_ok() {
                    continue;
                }
                let again = word2vec_from(name, out.len() as u64, out.as_slice()).expect("our own file");
                assert_eq!(again.words(), vectors.words());
                let bits = |v: &vectorize::embed::WordVectors| {
                    v.values().iter().map(|x| if x.is_nan() { 0x7FC0_0000 } else { x.to_bits() }).collect::<Vec<u32>>()
                };
                assert_eq!(bits(&again), bits(&vectors));
            }
            outcome("vectors", &[words])
        }
        Err(e) => outcome(&e.to_string(), &[]),
    }
}

fn document(name: &str, bytes: &[u8]) -> Outcome {
    let read = match ingest::read(Path::new(name), bytes.to_vec(), &ReadOptions::default(), None, &|_| {}) {
        Ok(read) => read,
        Err(e) => return outcome(&e.to_string(), &[]),
    };
    let (text, ranges) = block::join(&read.blocks);
    assert_eq!(ranges.len(), read.blocks.len());
    assert!(ranges.iter().all(|r| text.get(r.clone()).is_some()));
    let mut links = 0;
    for block in &read.blocks {
        let length = block.text.chars().count();
        links += block.links.len();
        assert!(block.links.iter().all(|l| l.start <= l.end && l.end <= length), "{:?}", block.links);
        assert!(block.places.iter().all(|p| (1..=read.pages.len() as u32).contains(&p.page)), "{:?}", block.places);
        assert!(!block.places.is_empty());
    }
    let reasons: String =
        read.pages.iter().filter_map(|p| p.reason.as_deref()).chain(read.failures.iter().map(|f| f.reason.as_str())).take(4).collect();
    let tables = read.blocks.iter().filter(|b| b.kind == block::BlockKind::Table).count();
    outcome(&reasons, &[read.pages.len(), read.blocks.len(), links, tables, text.len() / 16])
}

/// PDF.
pub fn pdf(bytes: &[u8]) -> Outcome {
    document("a.pdf", bytes)
}

/// Word.
pub fn docx(bytes: &[u8]) -> Outcome {
    document("a.docx", bytes)
}

/// Excel.
pub fn xlsx(bytes: &[u8]) -> Outcome {
    document("a.xlsx", bytes)
}

/// HTML.
pub fn html(bytes: &[u8]) -> Outcome {
    document("a.html", bytes)
}

/// Markdown.
pub fn markdown(bytes: &[u8]) -> Outcome {
    document("a.md", bytes)
}

/// Plain text of any encoding.
pub fn text(bytes: &[u8]) -> Outcome {
    document("a.txt", bytes)
}

/// PNG, JPEG and the pages of TIFF, decoded and made fit for a recogniser.
pub fn picture(bytes: &[u8]) -> Outcome {
    use documents::ocr::picture::{clean, decode, quarter_turns, rotate, skew};
    use documents::ocr::tiff::{TiffReader, is_tiff};
    use documents::pdf::PagedReader;
    let pages = if is_tiff(bytes) {
        TiffReader::new(bytes.to_vec()).map(|reader| (0..reader.pages().min(3)).map(|page| reader.picture(page)).collect())
    } else {
        Ok(vec![decode(bytes)])
    };
    let pages: Vec<_> = match pages {
        Ok(pages) => pages,
        Err(e) => return outcome(&e, &[]),
    };
    let mut all = Outcome::default();
    for page in pages {
        let picture = match page {
            Ok(picture) => picture,
            Err(e) => {
                all = all.rotate_left(7) ^ outcome(&e, &[]);
                continue;
            }
        };
        assert_eq!(picture.pixels.len(), picture.width * picture.height);
        let size = [picture.width, picture.height];
        if picture.pixels.len() <= 1 << 20 {
            let clean = clean(picture);
            let straight = rotate(&clean, -skew(&clean));
            let turned = quarter_turns(&straight, 90);
            assert_eq!((turned.width, turned.height), (size[1], size[0]));
        }
        all = all.rotate_left(7) ^ outcome("picture", &size);
    }
    all
}

/// Any text through steps that the first byte chooses, cut into chunks of a size that the second chooses: maps and chunks fit the texts.
pub fn pipelines(bytes: &[u8]) -> Outcome {
    let [choice, size, rest @ ..] = bytes else { return 0 };
    let text = String::from_utf8_lossy(rest);
    let all = [
        Step::Unicode(Form::Nfkc),
        Step::Width(Width::All),
        Step::HeadersFooters(HeadersFooters { share: 0.2, min_pages: 1, zone: 0.5 }),
        Step::Pii(Pii::default()),
        Step::Width(Width::Alphanumeric),
        Step::Length(Length { min: 2, max: None }),
        Step::Duplicates(Duplicates { near: 0.6 }),
    ];
    let mut steps = Pipeline::default().steps;
    steps.extend(all.into_iter().enumerate().filter(|(i, _)| choice >> i & 1 == 1).map(|(_, s)| s));
    let blocks = if choice & 128 == 0 { plain::blocks(&text) } else { documents::import::markdown::blocks(&text) };
    let draft = Draft::new(&blocks);
    let before = draft.text.chars().count();
    let result = Cleaner::new(Pipeline { steps }).clean("a", draft, &[]);
    let whole = result.maps.iter().try_fold(0..before, |range, map| map.forward(&range));
    let after = result.draft.text.chars().count();
    assert!(whole.is_none_or(|w| w.end <= after));
    for start in (0..before).step_by(7) {
        let range = start..(start + 3).min(before);
        let there = result.maps.iter().try_fold(range, |range, map| map.forward(&range));
        assert!(there.is_none_or(|r| r.start <= r.end && r.end <= after));
    }
    let cleaned = Cleaned { file: "a", sha256: "0", pipeline: "", text: &result.draft.text, parts: &result.draft.parts };
    let size = usize::from(*size) + 4;
    let chunks = cut(&cleaned, ChunkOptions { size, overlap: size / 4 }, &Characters).unwrap_or_default();
    let letters: Vec<char> = result.draft.text.chars().collect();
    for chunk in &chunks {
        assert!(chunk.start < chunk.end && chunk.end <= after);
        assert!(chunk.text.chars().eq(letters[chunk.start..chunk.end].iter().copied()), "a chunk's text is its range");
    }
    let edits: usize = result.counts.iter().map(|c| c.edits).sum();
    outcome(result.dropped.as_deref().unwrap_or_default(), &[edits, chunks.len(), after / 8])
}
