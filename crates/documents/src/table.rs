//! Tables as Markdown: one row a line, so that no later step can part a row.

/// Cells up to which short rows are filled up: one row of a million cells must not make a million of each other row.
const MAX_FILLED: usize = 20_000_000;

/// Rows of cells as a Markdown table; the first row is the header. Cells lose line breaks, `|` is escaped, short rows are filled up.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    if columns == 0 {
        return String::new();
    }
    let filled = rows.len().saturating_mul(columns) <= MAX_FILLED;
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out.push('|');
        for column in 0..(if filled || i == 0 { columns } else { row.len() }) {
            out.push(' ');
            push_cell(&mut out, row.get(column).map_or("", String::as_str));
            out.push_str(" |");
        }
        if i == 0 {
            out.push_str("\n|");
            out.push_str(&" --- |".repeat(columns));
        }
    }
    out
}

fn push_cell(out: &mut String, cell: &str) {
    let mut space = false;
    for c in cell.trim().chars() {
        if c.is_whitespace() && c != '\u{3000}' {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            out.push(' ');
        }
        if c == '|' {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_in_their_rows() {
        let rows = vec![vec!["a".into(), "b|c".into()], vec!["甲\n乙".into()]];
        assert_eq!(markdown(&rows), "| a | b\\|c |\n| --- | --- |\n| 甲 乙 |  |");
        assert_eq!(markdown(&[]), "");
        let mut uneven = vec![vec!["y".to_owned()]; 5_000];
        uneven[0] = vec!["x".to_owned(); 5_000];
        assert!(markdown(&uneven).len() < 1_000_000);
    }
}
