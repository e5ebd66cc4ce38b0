//! Excel workbooks: each sheet is a page with its name as heading and its cells as a table. Dates are written as dates.

use std::collections::{BTreeMap, BTreeSet};

use super::Archive;
use super::xml::{Event, walk};
use crate::block::{Block, BlockKind, Extracted, PageFailure, PageInfo};
use crate::table;

/// Cells of a workbook that are read.
const MAX_CELLS: usize = 5_000_000;
/// Columns of a sheet with something in them that are read.
const MAX_COLUMNS: usize = 1_000;
/// Cells of a sheet as a table, the empty ones between others included.
const MAX_GRID: usize = 10_000_000;

/// A workbook: its sheets as pages.
///
/// # Errors
/// Why it cannot be read.
pub fn read(bytes: &[u8]) -> Result<Extracted, String> {
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
    let mut out = Extracted::default();
    let mut budget = MAX_CELLS;
    for (i, (name, id)) in sheets.iter().enumerate() {
        let number = i as u32 + 1;
        let target = relations.get(id).map(|t| t.trim_start_matches("/xl/").trim_start_matches('/').to_owned());
        let part = target.map_or_else(|| format!("xl/worksheets/sheet{number}.xml"), |t| format!("xl/{t}"));
        let sheet = match archive.part(&part)? {
            Some(text) => cells(&text, &shared, &dates, from_1904, &mut budget)?,
            None => Sheet::default(),
        };
        add(&mut out, name, number, &sheet);
    }
    Ok(out)
}

/// What is read of a sheet.
#[derive(Debug, Default, PartialEq)]
struct Sheet {
    rows: Vec<Vec<String>>,
    /// Cells to the right of the columns that are read.
    beyond: usize,
    /// Formulas without a value, and the first of them.
    formulas: usize,
    formula: String,
}

/// A sheet as a page.
fn add(out: &mut Extracted, name: &str, number: u32, sheet: &Sheet) {
    out.pages.push(PageInfo::unpaged(number, sheet.rows.is_empty()));
    if sheet.beyond > 0 {
        let reason = format!(
            "sheet {name:?} has more than {MAX_COLUMNS} columns with something in them: {} cells to the right of these are left out; put them on a sheet of their own",
            sheet.beyond
        );
        out.failures.push(PageFailure { page: Some(number), reason });
    }
    if sheet.formulas > 0 {
        out.notes.push(format!(
            "sheet {name:?}: {} without a value, as a program wrote them, stand as formulas ({}); open the file in a spreadsheet program, save it there, and read it again",
            if sheet.formulas == 1 { "1 formula".to_owned() } else { format!("{} formulas", sheet.formulas) },
            sheet.formula
        ));
    }
    if !sheet.rows.is_empty() {
        out.blocks.push(Block::plain(BlockKind::Heading(1), name, number));
        out.blocks.push(Block::plain(BlockKind::Table, table::markdown(&sheet.rows), number));
    }
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
    /// Hours (or minutes, or seconds) that count on beyond a day.
    Elapsed,
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
                    46 => Dated::Elapsed,
                    18..=21 | 32 | 33 | 45 | 47 => Dated::Time,
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
    let (mut letters, mut inside, mut elapsed) = (String::new(), String::new(), false);
    for c in code.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' if !quoted => {
                bracket = true;
                inside.clear();
            }
            ']' if !quoted => {
                bracket = false;
                // `[h]`, `[mm]`, `[ss]`; anything else is a colour, a condition, a currency.
                elapsed |= matches!(inside.as_str(), "h" | "hh" | "m" | "mm" | "s" | "ss");
            }
            c if bracket => inside.extend(c.to_lowercase()),
            c if !quoted => letters.extend(c.to_lowercase()),
            _ => {}
        }
    }
    if letters.contains("general") {
        return Dated::No;
    }
    if elapsed {
        return Dated::Elapsed;
    }
    match (letters.contains(['y', 'd']), letters.contains(['h', 's'])) {
        (true, true) => Dated::Both,
        (true, false) => Dated::Date,
        (false, true) => Dated::Time,
        (false, false) => Dated::No,
    }
}

fn cells(text: &str, shared: &[String], dates: &[Dated], from_1904: bool, budget: &mut usize) -> Result<Sheet, String> {
    let mut sheet = Sheet::default();
    let mut rows: Vec<Vec<(usize, String)>> = Vec::new();
    let (mut column, mut kind, mut style) = (0usize, String::new(), 0usize);
    let (mut value, mut in_value, mut full) = (String::new(), false, false);
    let (mut formula, mut in_formula, mut computed) = (String::new(), false, false);
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
            formula.clear();
            computed = false;
        }
        Event::Open("v" | "t", _) => in_value = true,
        Event::Close("v" | "t") => in_value = false,
        Event::Open("f", _) => (in_formula, computed) = (true, true),
        Event::Close("f") => in_formula = false,
        Event::Text(text) if in_value => value.push_str(text),
        Event::Text(text) if in_formula => formula.push_str(text),
        Event::Close("c") => {
            let shown = match kind.as_str() {
                // An empty text is a value, too.
                kind if computed && kind != "str" && value.trim().is_empty() => {
                    // A formula that is shared by a column is written in its first cell only.
                    let shown = if formula.trim().is_empty() { "=…".to_owned() } else { format!("={}", formula.trim()) };
                    if sheet.formulas == 0 {
                        sheet.formula = shown.chars().take(40).collect();
                    }
                    sheet.formulas += 1;
                    shown
                }
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
            if let Some(row) = rows.last_mut().filter(|_| !shown.trim().is_empty()) {
                row.push((column, shown));
                full = *budget == 0;
                *budget = budget.saturating_sub(1);
            }
            column = column.saturating_add(1);
        }
        _ => {}
    })?;
    if full {
        return Err(format!("it has more than {MAX_CELLS} cells; export the sheet as CSV and use it as data"));
    }
    // Columns that are empty throughout are margins.
    let columns: BTreeSet<usize> = rows.iter().flatten().map(|(column, _)| *column).collect();
    let places: BTreeMap<usize, usize> = columns.into_iter().take(MAX_COLUMNS).enumerate().map(|(place, column)| (column, place)).collect();
    let width = |cells: &Vec<(usize, String)>| cells.iter().filter_map(|(column, _)| places.get(column)).max().map_or(0, |place| place + 1);
    if rows.iter().map(width).sum::<usize>() > MAX_GRID {
        return Err(format!(
            "its cells stand so far apart that a sheet would be a table of more than {MAX_GRID} cells; export the sheet as CSV and use it as data"
        ));
    }
    for cells in rows {
        let mut row: Vec<String> = vec![String::new(); width(&cells)];
        for (column, shown) in cells {
            match places.get(&column) {
                Some(&place) => row[place] = shown,
                None => sheet.beyond += 1,
            }
        }
        if !row.is_empty() {
            sheet.rows.push(row);
        }
    }
    Ok(sheet)
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
    if dated == Dated::Elapsed && value.abs() < 1e9 {
        let seconds = (value.abs() * 86_400.0).round() as u64;
        let sign = if value < 0.0 && seconds > 0 { "-" } else { "" };
        return format!("{sign}{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60);
    }
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
        assert_eq!(number("1.25", Dated::Elapsed, false), "30:00:00");
        assert_eq!(number("-0.0625", Dated::Elapsed, true), "-1:30:00");
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
        assert_eq!(dated_format("[hh]:mm:ss;@"), Dated::Elapsed);
        assert_eq!(dated_format("[$-804]yyyy/m/d"), Dated::Date);
    }

    fn sheet(xml: &str) -> Result<Sheet, String> {
        cells(xml, &[], &[Dated::No], false, &mut MAX_CELLS.clone())
    }

    #[test]
    fn formulas_without_a_value_are_shown_and_counted() {
        let xml = "<row r='1'><c r='A1'><f>C2*2</f><v></v></c><c r='B1'><f>1+1</f><v>2</v></c><c r='C1' t='str'><f>\"\"</f><v></v></c>\
                   <c r='D1'><f t='shared' si='0'/></c><c r='E1' t='b'><f>A1&gt;1</f></c></row>";
        let sheet = sheet(xml).unwrap();
        assert_eq!(sheet.rows, [["=C2*2", "2", "=…", "=A1>1"]], "the empty text is empty");
        let mut out = Extracted::default();
        add(&mut out, "销售", 1, &sheet);
        assert!(out.notes[0].contains("销售") && out.notes[0].contains("3 formulas") && out.notes[0].contains("=C2*2"), "{:?}", out.notes);
        assert!(out.failures.is_empty());
    }

    #[test]
    fn far_columns_are_read_and_too_many_are_counted() {
        let far =
            sheet("<row r='1'><c r='A1'><v>1</v></c><c r='XFD1'><v>2</v></c></row><row r='9'><c r='XFD9'><v>3</v></c></row>").unwrap();
        assert_eq!((far.rows, far.beyond), (vec![vec!["1".to_owned(), "2".into()], vec![String::new(), "3".into()]], 0));
        let wide = sheet(&format!("<row>{}</row>", "<c><v>7</v></c>".repeat(MAX_COLUMNS + 3))).unwrap();
        assert_eq!((wide.rows[0].len(), wide.beyond), (MAX_COLUMNS, 3));
        let mut out = Extracted::default();
        add(&mut out, "Wide", 2, &wide);
        assert_eq!(out.failures[0].page, Some(2));
        assert!(out.failures[0].reason.contains("\"Wide\"") && out.failures[0].reason.contains("3 cells"), "{:?}", out.failures);
        // A few cells, a table of an absurd size.
        let first = format!("<row>{}</row>", "<c><v>7</v></c>".repeat(MAX_COLUMNS));
        let apart = sheet(&(first + &"<row><c r='ALL1'><v>1</v></c></row>".repeat(MAX_GRID / MAX_COLUMNS))).unwrap_err();
        assert!(apart.contains("CSV"), "{apart}");
    }
}
