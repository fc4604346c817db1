//! Aligned columns of text.

/// Lays rows out under their headings. A cell that reads as a number stands to the right.
/// Rows may be shorter than the headings.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|it| it.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // A heading stands as the first cell below it does.
    let below = rows.first().map_or(&[][..], Vec::as_slice);
    let right = |column: usize| below.get(column).is_some_and(|it| is_number(it));
    let headings = headings.iter().map(|it| (*it).to_owned()).enumerate();
    let mut text = line(&widths, headings.map(|(column, cell)| (right(column), cell)));
    for row in rows {
        text.push_str(&line(&widths, row.iter().map(|cell| (is_number(cell), cell.clone()))));
    }
    text
}

fn line(widths: &[usize], cells: impl Iterator<Item = (bool, String)>) -> String {
    let cells = widths.iter().zip(cells).map(|(width, (right, cell))| {
        if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    });
    format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
}

fn is_number(cell: &str) -> bool {
    cell.starts_with(|it: char| it.is_ascii_digit() || it == '-')
        && cell.chars().all(|it| it.is_ascii_digit() || matches!(it, '.' | '-' | 'x' | '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_to_the_left_and_numbers_to_the_right() {
        let rows = [("alpha", "8001"), ("b", "80")];
        let rows = rows.map(|(name, port)| vec![name.to_owned(), port.to_owned()]);
        let expected = "name   port\nalpha  8001\nb        80\n";
        assert_eq!(table(&["name", "port"], &rows), expected);
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(table(&["a", "b"], &[]), "a  b\n");
    }
}
