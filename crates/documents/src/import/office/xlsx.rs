//! Excel workbooks: each sheet is a page with its name as heading and its cells as a table. Dates are written as dates.

use std::collections::BTreeMap;

use super::Archive;
use super::xml::{Event, walk};
use crate::block::{Block, BlockKind, PageInfo};
use crate::table;

/// Cells of a workbook that are read.
const MAX_CELLS: usize = 5_000_000;
/// Columns of a sheet that are read.
const MAX_COLUMNS: usize = 1_000;

/// Blocks and pages of a workbook.
///
/// # Errors
/// Why it cannot be read.
pub fn blocks(bytes: &[u8]) -> Result<(Vec<Block>, Vec<PageInfo>), String> {
    let mut archive = Archive::open(bytes)?;
    let Some(workbook) = archive.part("xl/workbook.xml")? else { return Err("not an Excel workbook: it has no xl/workbook.xml".into()) };
    let relations = archive.relations("xl/_rels/workbook.xml.rels")?;
    let shared = shared_strings(archive.part("xl/sharedStrings.xml")?.as_deref())?;
    let dates = date_styles(archive.part("xl/styles.xml")?.as_deref())?;
    let mut sheets: Vec<(String, String)> = Vec::new();
    let mut from_1904 = false;
    walk(&workbook, &mut |event| {
        if let Event::Open(name, attributes) = event {
            match name {
                "sheet" => sheets.push((attributes.get("name").unwrap_or_default(), attributes.get("id").unwrap_or_default())),
                "workbookPr" => from_1904 = attributes.get("date1904").is_some_and(|v| v == "1" || v == "true"),
                _ => {}
            }
        }
    })?;
    let (mut blocks, mut pages) = (Vec::new(), Vec::new());
    let mut budget = MAX_CELLS;
    for (i, (name, id)) in sheets.iter().enumerate() {
        let number = i as u32 + 1;
        let target = relations.get(id).map(|t| t.trim_start_matches("/xl/").trim_start_matches('/').to_owned());
        let part = target.map_or_else(|| format!("xl/worksheets/sheet{number}.xml"), |t| format!("xl/{t}"));
        let rows = match archive.part(&part)? {
            Some(text) => cells(&text, &shared, &dates, from_1904, &mut budget)?,
            None => Vec::new(),
        };
        pages.push(PageInfo::unpaged(number, rows.is_empty()));
        if !rows.is_empty() {
            blocks.push(Block::plain(BlockKind::Heading(1), name.clone(), number));
            blocks.push(Block::plain(BlockKind::Table, table::markdown(&rows), number));
        }
    }
    Ok((blocks, pages))
}

fn shared_strings(text: Option<&str>) -> Result<Vec<String>, String> {
    let mut out: Vec<String> = Vec::new();
    let (mut in_text, mut phonetic) = (false, false);
    if let Some(text) = text {
        walk(text, &mut |event| match event {
            Event::Open("si", _) => out.push(String::new()),
            // Readings of Japanese and Chinese characters stand beside the text.
            Event::Open("rPh", _) => phonetic = true,
            Event::Close("rPh") => phonetic = false,
            Event::Open("t", _) => in_text = true,
            Event::Close("t") => in_text = false,
            Event::Text(text) if in_text && !phonetic => {
                if let Some(last) = out.last_mut() {
                    last.push_str(text);
                }
            }
            _ => {}
        })?;
    }
    Ok(out)
}

/// What a cell style says of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dated {
    No,
    Date,
    Time,
    Both,
}

/// By index of a cell's style.
fn date_styles(text: Option<&str>) -> Result<Vec<Dated>, String> {
    let mut formats: BTreeMap<u32, Dated> = BTreeMap::new();
    let mut out = Vec::new();
    let mut in_cells = false;
    if let Some(text) = text {
        walk(text, &mut |event| match event {
            Event::Open("numFmt", attributes) => {
                let id = attributes.get("numFmtId").and_then(|v| v.parse().ok());
                if let (Some(id), Some(code)) = (id, attributes.get("formatCode")) {
                    formats.insert(id, dated_format(&code));
                }
            }
            Event::Open("cellXfs", _) => in_cells = true,
            Event::Close("cellXfs") => in_cells = false,
            Event::Open("xf", attributes) if in_cells => {
                let id: u32 = attributes.get("numFmtId").and_then(|v| v.parse().ok()).unwrap_or(0);
                // The numbers below 164 are built in (ECMA-376, 18.8.30).
                let dated = match id {
                    14..=17 | 27..=31 | 34..=36 | 50..=58 => Dated::Date,
                    18..=21 | 32 | 33 | 45..=47 => Dated::Time,
                    22 => Dated::Both,
                    _ => formats.get(&id).copied().unwrap_or(Dated::No),
                };
                out.push(dated);
            }
            _ => {}
        })?;
    }
    Ok(out)
}

/// What letters of a format outside quotes and brackets say.
fn dated_format(code: &str) -> Dated {
    let (mut quoted, mut bracket) = (false, false);
    let mut letters = String::new();
    for c in code.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' => bracket = true,
            ']' => bracket = false,
            c if !quoted && !bracket => letters.extend(c.to_lowercase()),
            _ => {}
        }
    }
    if letters.contains("general") {
        return Dated::No;
    }
    match (letters.contains(['y', 'd']), letters.contains(['h', 's'])) {
        (true, true) => Dated::Both,
        (true, false) => Dated::Date,
        (false, true) => Dated::Time,
        (false, false) => Dated::No,
    }
}

fn cells(text: &str, shared: &[String], dates: &[Dated], from_1904: bool, budget: &mut usize) -> Result<Vec<Vec<String>>, String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let (mut column, mut kind, mut style) = (0usize, String::new(), 0usize);
    let (mut value, mut in_value, mut full) = (String::new(), false, false);
    walk(text, &mut |event| match event {
        _ if full => {}
        Event::Open("row", _) => {
            rows.push(Vec::new());
            column = 0;
        }
        Event::Open("c", attributes) => {
            column = attributes.get("r").and_then(|r| column_of(&r)).unwrap_or(column);
            kind = attributes.get("t").unwrap_or_default();
            style = attributes.get("s").and_then(|s| s.parse().ok()).unwrap_or(0);
            value.clear();
        }
        Event::Open("v" | "t", _) => in_value = true,
        Event::Close("v" | "t") => in_value = false,
        Event::Text(text) if in_value => value.push_str(text),
        Event::Close("c") => {
            let shown = match kind.as_str() {
                "s" => value.trim().parse::<usize>().ok().and_then(|i| shared.get(i)).cloned().unwrap_or_default(),
                "b" => {
                    if value.trim() == "1" {
                        "TRUE".into()
                    } else {
                        "FALSE".into()
                    }
                }
                "str" | "inlineStr" | "e" | "d" => value.clone(),
                _ => number(&value, dates.get(style).copied().unwrap_or(Dated::No), from_1904),
            };
            if let Some(row) = rows.last_mut().filter(|_| column < MAX_COLUMNS && !shown.is_empty()) {
                if row.len() <= column {
                    row.resize(column + 1, String::new());
                }
                row[column] = shown;
                full = *budget == 0;
                *budget = budget.saturating_sub(1);
            }
            column += 1;
        }
        _ => {}
    })?;
    if full {
        return Err(format!("it has more than {MAX_CELLS} cells; export the sheet as CSV and use it as data"));
    }
    rows.retain(|r| r.iter().any(|c| !c.trim().is_empty()));
    // Columns that are empty throughout are margins.
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let used: Vec<bool> = (0..width).map(|c| rows.iter().any(|r| r.get(c).is_some_and(|v| !v.trim().is_empty()))).collect();
    Ok(rows.into_iter().map(|r| r.into_iter().enumerate().filter(|(c, _)| used[*c]).map(|(_, v)| v).collect()).collect())
}

/// `BC23` is column 54 (from 0).
fn column_of(reference: &str) -> Option<usize> {
    let letters: Vec<u8> = reference.bytes().take_while(u8::is_ascii_alphabetic).collect();
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    Some(letters.iter().fold(0usize, |n, b| n * 26 + usize::from(b.to_ascii_uppercase() - b'A') + 1) - 1)
}

/// A number as Excel's general format shows it, or the date that it stands for.
fn number(text: &str, dated: Dated, from_1904: bool) -> String {
    let text = text.trim();
    let Ok(value) = text.parse::<f64>() else { return text.to_owned() };
    if dated == Dated::No || !(0.0..2_958_466.0).contains(&value) {
        // 15 digits, as Excel has them: 0.1 + 0.2 is stored as 0.30000000000000004.
        let rounded: f64 = format!("{value:.14e}").parse().unwrap_or(value);
        return if value.is_finite() { format!("{rounded}") } else { text.to_owned() };
    }
    let seconds = (value.fract() * 86_400.0).round() as u64;
    let carry = seconds / 86_400;
    let time = format!("{:02}:{:02}:{:02}", seconds % 86_400 / 3600, seconds % 3600 / 60, seconds % 60);
    // Day 60 of the 1900 system is a 29 February that never was (kept for Lotus 1-2-3).
    let day = value.trunc() as i64 + carry as i64;
    let since_1970 = if from_1904 {
        day - 24_107
    } else if day < 60 {
        day - 25_568
    } else {
        day - 25_569
    };
    let date = civil(since_1970);
    match dated {
        Dated::Date => date,
        Dated::Time if day == 0 => time,
        _ if seconds.is_multiple_of(86_400) => date,
        _ => format!("{date} {time}"),
    }
}

/// Days since 1970-01-01 as a date (Howard Hinnant, chrono-compatible low-level date algorithms).
fn civil(days: i64) -> String {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_see_them() {
        assert_eq!(number("0.30000000000000004", Dated::No, false), "0.3");
        assert_eq!(number("1234567", Dated::No, false), "1234567");
        assert_eq!(number("45292", Dated::Date, false), "2024-01-01");
        assert_eq!(number("45292.75", Dated::Both, false), "2024-01-01 18:00:00");
        assert_eq!(number("0.5", Dated::Time, false), "12:00:00");
        assert_eq!(number("1", Dated::Date, false), "1900-01-01");
        assert_eq!(number("61", Dated::Date, false), "1900-03-01");
        assert_eq!(number("43830", Dated::Date, true), "2024-01-01");
        assert_eq!(
            (column_of("A1"), column_of("Z9"), column_of("AA1"), column_of("BC23"), column_of("12")),
            (Some(0), Some(25), Some(26), Some(54), None)
        );
        assert_eq!(dated_format("yyyy\"年\"m\"月\"d\"日\""), Dated::Date);
        assert_eq!(dated_format("#,##0.00 [Red]"), Dated::No);
        assert_eq!(dated_format("General"), Dated::No);
    }
}
