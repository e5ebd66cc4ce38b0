//! Word documents: paragraphs, headings by their style, lists, tables, links, notes. What is deleted in tracked changes is not read.

use std::collections::BTreeMap;

use super::Archive;
use super::xml::{Attributes, Event, walk};
use crate::block::{Block, BlockKind, Link};
use crate::table;

/// Empty cells of a document that spans may make; beyond, cells stand one behind the other.
const MAX_PADDING: usize = 1_000_000;

/// Blocks of a Word document.
///
/// # Errors
/// Why it cannot be read.
pub fn blocks(bytes: &[u8]) -> Result<Vec<Block>, String> {
    let mut archive = Archive::open(bytes)?;
    let Some(document) = archive.part("word/document.xml")? else { return Err("not a Word document: it has no word/document.xml".into()) };
    let styles = styles(archive.part("word/styles.xml")?.as_deref())?;
    let numbered = numbered_lists(archive.part("word/numbering.xml")?.as_deref())?;
    let relations = archive.relations("word/_rels/document.xml.rels")?;
    let mut builder = Builder { styles: &styles, numbered: &numbered, relations: &relations, ..Builder::new() };
    walk(&document, &mut |event| builder.event(event))?;
    for notes in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(text) = archive.part(notes)? {
            builder.reset();
            walk(&text, &mut |event| builder.event(event))?;
        }
    }
    Ok(builder.blocks)
}

/// What styles say of their paragraphs, by style id.
#[derive(Default)]
struct Styles {
    levels: BTreeMap<String, u8>,
    lists: BTreeMap<String, String>,
}

fn styles(text: Option<&str>) -> Result<Styles, String> {
    let mut out = Styles::default();
    let mut current = String::new();
    if let Some(text) = text {
        walk(text, &mut |event| {
            if let Event::Open(name, attributes) = event {
                match name {
                    "style" => current = attributes.get("styleId").unwrap_or_default(),
                    "name" => {
                        if let Some(level) = attributes.get("val").and_then(|n| heading_level(&n)) {
                            out.levels.insert(current.clone(), level);
                        }
                    }
                    "numId" => {
                        if let Some(list) = attributes.get("val").filter(|v| v != "0") {
                            out.lists.insert(current.clone(), list);
                        }
                    }
                    "outlineLvl" => {
                        if let Some(level) = attributes.get("val").and_then(|v| v.parse::<u8>().ok()).filter(|l| *l < 9) {
                            out.levels.entry(current.clone()).or_insert((level + 1).min(6));
                        }
                    }
                    _ => {}
                }
            }
        })?;
    }
    Ok(out)
}

/// `heading 2`, `Heading2`, `标题 2`, `Title`.
fn heading_level(name: &str) -> Option<u8> {
    let name = name.to_lowercase().replace(' ', "");
    if matches!(name.as_str(), "title" | "标题") {
        return Some(1);
    }
    let digit = name.strip_prefix("heading").or_else(|| name.strip_prefix("标题")).or_else(|| name.strip_prefix("überschrift"))?;
    digit.parse::<u8>().ok().filter(|l| (1..=9).contains(l)).map(|l| l.min(6))
}

/// Numbering ids whose first level counts (the others have bullets).
fn numbered_lists(text: Option<&str>) -> Result<Vec<String>, String> {
    let (mut abstracts, mut out): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut current, mut number, mut level) = (String::new(), String::new(), String::new());
    if let Some(text) = text {
        walk(text, &mut |event| {
            if let Event::Open(name, attributes) = event {
                match name {
                    "abstractNum" => current = attributes.get("abstractNumId").unwrap_or_default(),
                    "lvl" => level = attributes.get("ilvl").unwrap_or_default(),
                    "numFmt" if level == "0" && attributes.get("val").is_some_and(|v| v != "bullet" && v != "none") => {
                        abstracts.push(current.clone())
                    }
                    "num" => number = attributes.get("numId").unwrap_or_default(),
                    "abstractNumId" if attributes.get("val").is_some_and(|v| abstracts.contains(&v)) => out.push(number.clone()),
                    _ => {}
                }
            }
        })?;
    }
    Ok(out)
}

struct Builder<'s> {
    styles: &'s Styles,
    numbered: &'s [String],
    relations: &'s BTreeMap<String, String>,
    blocks: Vec<Block>,
    /// Paragraphs that are open: a text box has some inside another.
    open: Vec<Paragraph>,
    tables: Vec<Vec<Vec<String>>>,
    /// Columns beyond its own that each open cell takes.
    spans: Vec<usize>,
    /// Empty cells that spans may still make.
    padding: usize,
    counters: BTreeMap<String, usize>,
    in_text: bool,
    /// Depth of elements whose text does not count.
    skipped: usize,
}

#[derive(Default)]
struct Paragraph {
    text: String,
    chars: usize,
    level: Option<u8>,
    list: Option<String>,
    links: Vec<Link>,
    link: Option<(usize, String)>,
}

static NO_STYLES: Styles = Styles { levels: BTreeMap::new(), lists: BTreeMap::new() };
static NO_RELATIONS: BTreeMap<String, String> = BTreeMap::new();

impl Builder<'static> {
    fn new() -> Self {
        Builder {
            styles: &NO_STYLES,
            numbered: &[],
            relations: &NO_RELATIONS,
            blocks: Vec::new(),
            open: Vec::new(),
            tables: Vec::new(),
            spans: Vec::new(),
            padding: MAX_PADDING,
            counters: BTreeMap::new(),
            in_text: false,
            skipped: 0,
        }
    }
}

impl Builder<'_> {
    fn reset(&mut self) {
        self.open.clear();
        self.tables.clear();
        self.spans.clear();
        (self.in_text, self.skipped) = (false, 0);
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            // Deleted text; the second form of a drawing, for old programs.
            Event::Open("del" | "moveFrom" | "Fallback" | "instrText", _) => self.skipped += 1,
            Event::Close("del" | "moveFrom" | "Fallback" | "instrText") => self.skipped = self.skipped.saturating_sub(1),
            _ if self.skipped > 0 => {}
            Event::Open("p", _) => self.open.push(Paragraph::default()),
            Event::Close("p") => self.end_paragraph(),
            Event::Open("t", _) => self.in_text = true,
            Event::Close("t") => self.in_text = false,
            Event::Text(text) if self.in_text => self.push(text),
            Event::Open("tab", _) => self.push("\t"),
            Event::Open("br" | "cr", _) => self.push("\n"),
            Event::Open("noBreakHyphen", _) => self.push("-"),
            Event::Open("pStyle", attributes) => {
                let style = attributes.get("val").unwrap_or_default();
                let level = self.styles.levels.get(&style).copied().or_else(|| heading_level(&style));
                let list = self.styles.lists.get(&style).cloned();
                if let Some(p) = self.open.last_mut() {
                    (p.level, p.list) = (level, list);
                }
            }
            Event::Open("numId", attributes) => {
                let id = attributes.get("val").filter(|v| v != "0");
                if let Some(p) = self.open.last_mut() {
                    p.list = id;
                }
            }
            Event::Open("hyperlink", attributes) => {
                let target = attributes.get("id").and_then(|id| self.relations.get(&id).cloned());
                if let (Some(p), Some(uri)) = (self.open.last_mut(), target) {
                    p.link = Some((p.chars, uri));
                }
            }
            Event::Close("hyperlink") => {
                if let Some(p) = self.open.last_mut()
                    && let Some((start, uri)) = p.link.take()
                    && start < p.chars
                {
                    p.links.push(Link { start, end: p.chars, uri });
                }
            }
            Event::Open("tbl", _) => self.tables.push(Vec::new()),
            Event::Open("tr", _) => {
                if let Some(table) = self.tables.last_mut() {
                    table.push(Vec::new());
                }
            }
            // A row may begin some columns to the right.
            Event::Open("gridBefore", attributes) => self.pad(spanned(&attributes)),
            Event::Open("tc", _) => {
                self.spans.push(0);
                if let Some(row) = self.tables.last_mut().and_then(|t| t.last_mut()) {
                    row.push(String::new());
                }
            }
            // A cell over several columns leaves the others empty: the next begins behind them.
            Event::Open("gridSpan", attributes) => {
                if let Some(span) = self.spans.last_mut() {
                    *span = spanned(&attributes).saturating_sub(1);
                }
            }
            Event::Close("tc") => {
                let more = self.spans.pop().unwrap_or(0);
                self.pad(more);
            }
            Event::Close("tbl") => self.end_table(),
            _ => {}
        }
    }

    /// So many empty cells more in the open row.
    fn pad(&mut self, n: usize) {
        if let Some(row) = self.tables.last_mut().and_then(|t| t.last_mut()).filter(|_| n <= self.padding) {
            self.padding -= n;
            row.resize(row.len() + n, String::new());
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(p) = self.open.last_mut() {
            p.text.push_str(text);
            p.chars += text.chars().count();
        }
    }

    fn end_paragraph(&mut self) {
        let Some(p) = self.open.pop() else { return };
        let text = p.text.trim_end();
        if text.trim().is_empty() {
            return;
        }
        if let Some(cell) = self.tables.last_mut().and_then(|t| t.last_mut()).and_then(|r| r.last_mut()) {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(text.trim());
            return;
        }
        let (kind, marker) = match (p.level, &p.list) {
            (Some(level), _) => (BlockKind::Heading(level), String::new()),
            (None, Some(list)) if self.numbered.contains(list) => {
                let n = self.counters.entry(list.clone()).or_default();
                *n += 1;
                (BlockKind::Item, format!("{n}. "))
            }
            (None, Some(_)) => (BlockKind::Item, "- ".to_owned()),
            (None, None) => (BlockKind::Paragraph, String::new()),
        };
        let lead = text.chars().count() - text.trim_start().chars().count();
        let body = text.trim_start();
        let length = body.chars().count();
        let shift = marker.chars().count();
        let mut block = Block::plain(kind, format!("{marker}{body}"), 1);
        let moved = p.links.into_iter().map(|l| Link {
            start: l.start.saturating_sub(lead).min(length) + shift,
            end: l.end.saturating_sub(lead).min(length) + shift,
            ..l
        });
        block.links = moved.filter(|l| l.start < l.end).collect();
        self.blocks.push(block);
    }

    fn end_table(&mut self) {
        let Some(rows) = self.tables.pop() else { return };
        let rows: Vec<Vec<String>> = rows.into_iter().filter(|r| r.iter().any(|c| !c.is_empty())).collect();
        if rows.is_empty() {
            return;
        }
        match self.tables.last_mut().and_then(|t| t.last_mut()).and_then(|r| r.last_mut()) {
            // A table in a cell: its text.
            Some(cell) => {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&rows.concat().join(" "));
            }
            None => self.blocks.push(Block::plain(BlockKind::Table, table::markdown(&rows), 1)),
        }
    }
}

/// How many columns an attribute names, within reason.
fn spanned(attributes: &Attributes<'_>) -> usize {
    attributes.get("val").and_then(|v| v.parse().ok()).unwrap_or(1).min(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<String> {
        let mut builder = Builder::new();
        let document = format!("<w:document><w:body>{body}</w:body></w:document>");
        walk(&document, &mut |event| builder.event(event)).unwrap();
        builder.blocks.into_iter().map(|b| b.text).collect()
    }

    fn cell(properties: &str, text: &str) -> String {
        format!("<w:tc><w:tcPr><w:tcW w:w=\"100\"/>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>")
    }

    #[test]
    fn merged_cells_stand_in_their_first_column() {
        let span = "<w:gridSpan w:val=\"2\"/>";
        let inner = format!("<w:tbl><w:tr>{}{}</w:tr></w:tbl>", cell(span, "in1"), cell("", "in2"));
        let rows = [
            cell(span, "合并") + &cell("", "c"),
            cell("", "a") + &cell("<w:vMerge w:val=\"restart\"/>", "down") + &cell("", "z"),
            cell("", "d") + &cell("<w:vMerge/>", "") + &cell("", "f"),
            format!("<w:trPr><w:gridBefore w:val=\"1\"/></w:trPr>{}", cell(span, "late")),
            format!("<w:tc><w:tcPr>{span}</w:tcPr><w:p><w:r><w:t>outer</w:t></w:r></w:p>{inner}<w:p/></w:tc>{}", cell("", "end")),
        ];
        let table: String = rows.iter().map(|r| format!("<w:tr>{r}</w:tr>")).collect();
        let want = "| 合并 |  | c |\n| --- | --- | --- |\n| a | down | z |\n| d |  | f |\n|  | late |  |\n| outer in1 in2 |  | end |";
        assert_eq!(read(&format!("<w:tbl><w:tblPr/><w:tblGrid/>{table}</w:tbl>")), [want]);
    }
}
