//! `Name:  value` blocks and small tables, as `describe` prints them.

use unicode_width::UnicodeWidthStr as _;

/// A block of labelled values, aligned. Sections are indented by two.
#[derive(Debug, Default)]
pub struct Fields {
    rows: Vec<(String, String)>,
}

impl Fields {
    /// An empty block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value. Lines after the first are aligned under it.
    pub fn add(&mut self, label: &str, value: impl Into<String>) -> &mut Self {
        self.rows.push((label.to_owned(), value.into()));
        self
    }

    /// Adds a value when there is one.
    pub fn maybe(&mut self, label: &str, value: Option<impl Into<String>>) -> &mut Self {
        if let Some(value) = value {
            self.add(label, value);
        }
        self
    }

    /// Adds a map as `key=value` lines, `<none>` when it is empty.
    pub fn map<'a>(
        &mut self,
        label: &str,
        pairs: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> &mut Self {
        let lines: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        self.add(label, if lines.is_empty() { "<none>".into() } else { lines.join("\n") })
    }

    /// The block's text, each line ending in a newline.
    pub fn render(&self, indent: usize) -> String {
        let width = self.rows.iter().map(|(label, _)| label.width() + 1).max().unwrap_or(0) + 2;
        let mut out = String::new();
        for (label, value) in &self.rows {
            let shown = super::visible(value);
            for (number, line) in shown.split('\n').enumerate() {
                let head = if number == 0 { format!("{label}:") } else { String::new() };
                let pad = " ".repeat(width.saturating_sub(head.width()));
                let row = format!("{}{head}{pad}{line}", " ".repeat(indent));
                out.push_str(row.trim_end());
                out.push('\n');
            }
        }
        out
    }
}

/// Rows in aligned columns, three spaces apart and six wide at least, as kubectl aligns tables.
/// The last column is not padded. `widths` is kept by the caller so that later rows line up with earlier ones.
pub fn align(rows: &[Vec<String>], widths: &mut Vec<usize>) -> String {
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            if widths.len() <= column {
                widths.push(6);
            }
            widths[column] = widths[column].max(cell.width() + 3);
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if column + 1 < row.len() {
                line.push_str(&" ".repeat(widths[column].saturating_sub(cell.width())));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// [`align`] for one table with a heading, each line indented; `  <none>` when there is no row.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, indent: usize) -> String {
    let pad = " ".repeat(indent);
    if rows.is_empty() {
        return format!("{pad}<none>\n");
    }
    let mut all = vec![header.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>()];
    all.extend(
        rows.into_iter()
            .map(|row| row.iter().map(|cell| super::visible(cell).replace('\n', " ")).collect::<Vec<_>>()),
    );
    align(&all, &mut Vec::new()).lines().map(|line| format!("{pad}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_line_up_and_further_lines_stand_under_the_first() {
        let mut fields = Fields::new();
        fields.add("Name", "x").add("Labels", "a=1\nb=2").maybe("Gone", None::<String>);
        assert_eq!(fields.render(1), " Name:    x\n Labels:  a=1\n          b=2\n");
    }

    #[test]
    fn columns_are_aligned_by_display_width_without_trailing_blanks() {
        let rows = vec![vec!["NAME".to_owned(), "AGE".into()], vec!["日本".into(), "".into()]];
        assert_eq!(align(&rows, &mut Vec::new()), "NAME   AGE\n日本\n");
        assert_eq!(table(&["A"], vec![], 2), "  <none>\n");
    }
}
