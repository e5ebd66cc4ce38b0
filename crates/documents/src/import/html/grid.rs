//! Cells that span columns and rows, laid out so that each stands in its column. A spanning cell's text is in its first place; the others are empty.

/// Columns that a cell may take; pages write 100 and 1000 for "all".
const MAX_SPAN: usize = 64;
/// Empty cells of a table that spans may make. Beyond, cells stand one behind the other.
const MAX_PADDING: usize = 200_000;

/// A table as it is met.
#[derive(Default)]
pub(super) struct Grid {
    rows: Vec<Vec<Cell>>,
    /// Rows that begin a group (`thead`, `tbody`, `tfoot`): no cell reaches into another group.
    groups: Vec<usize>,
    in_cell: bool,
    /// Text outside all cells: the caption, and what is misplaced.
    outside: String,
}

struct Cell {
    text: String,
    columns: usize,
    rows: usize,
}

impl Grid {
    /// A row begins.
    pub(super) fn row(&mut self) {
        self.rows.push(Vec::new());
        self.in_cell = false;
    }

    /// A group of rows begins or ends.
    pub(super) fn group(&mut self) {
        self.groups.push(self.rows.len());
        self.in_cell = false;
    }

    /// A cell begins, in a row of its own if none was begun. `rows` 0: to the end of the group.
    pub(super) fn cell(&mut self, columns: usize, rows: usize) {
        if self.rows.is_empty() {
            self.row();
        }
        if let Some(row) = self.rows.last_mut() {
            let rows = if rows == 0 { usize::MAX } else { rows };
            row.push(Cell { text: String::new(), columns: columns.clamp(1, MAX_SPAN), rows });
        }
        self.in_cell = true;
    }

    /// A cell or row ends.
    pub(super) fn end_cell(&mut self) {
        self.in_cell = false;
    }

    /// Text of the cell, or outside of all.
    pub(super) fn push(&mut self, text: &str) {
        match self.rows.last_mut().filter(|_| self.in_cell).and_then(|row| row.last_mut()) {
            Some(cell) => cell.text.push_str(text),
            None => self.outside.push_str(text),
        }
    }

    /// Text outside the cells, and the rows that have text.
    pub(super) fn finish(self) -> (String, Vec<Vec<String>>) {
        let outside = self.outside.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut out: Vec<Vec<String>> = Vec::with_capacity(self.rows.len());
        // The row from which each column is free again.
        let mut free: Vec<usize> = Vec::new();
        let mut padding = MAX_PADDING;
        let mut groups = self.groups.into_iter().peekable();
        for (i, cells) in self.rows.into_iter().enumerate() {
            while groups.next_if(|group| *group <= i).is_some() {
                free.clear();
            }
            let mut row: Vec<String> = Vec::new();
            let mut next = 0;
            for cell in cells {
                let mut at = next;
                while free.get(at).is_some_and(|until| *until > i) && at - row.len() < padding {
                    at += 1;
                }
                let empty = at.saturating_sub(row.len());
                if empty <= padding {
                    padding -= empty;
                    row.resize(at, String::new());
                } else {
                    at = row.len();
                }
                row.push(cell.text);
                next = at + cell.columns;
                if cell.rows > 1 && next <= padding {
                    free.resize(free.len().max(next), 0);
                    free[at..next].fill(i.saturating_add(cell.rows));
                }
            }
            out.push(row);
        }
        out.retain(|row| row.iter().any(|cell| !cell.trim().is_empty()));
        (outside, out)
    }
}
