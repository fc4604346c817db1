//! Puts printed code back on the lines of its source, so that stack traces tell the truth without
//! a source map at run time.
//!
//! The printer ends every statement with a semicolon and prints no comments, so each of its line
//! ends may become a blank, or several line ends; save those in template literals, which
//! [`TEMPLATE_LINE_END`] stands for until the end.

/// Stands for a line end of a template literal: private-use characters that no source holds.
pub(crate) const TEMPLATE_LINE_END: &str = "\u{f8d0}\u{f8d1}\u{f8d0}";

/// Lays out `code`; `places` are pairs of a line in it and the line it comes from, both from 0.
pub(crate) fn realign(code: &str, places: impl Iterator<Item = (u32, u32)>) -> String {
    let mut sources: Vec<Option<u32>> = vec![None; code.lines().count()];
    for (printed, source) in places {
        if let Some(place @ None) = usize::try_from(printed).ok().and_then(|it| sources.get_mut(it))
        {
            *place = Some(source);
        }
    }
    let mut laid_out = String::with_capacity(code.len());
    let mut line = 0;
    for (text, source) in code.lines().zip(sources) {
        let missing = source.unwrap_or_default().saturating_sub(line);
        if missing > 0 {
            laid_out.extend(std::iter::repeat_n('\n', missing as usize));
            line += missing;
        } else if !laid_out.is_empty() {
            laid_out.push(' ');
        }
        let text = if missing > 0 { text } else { text.trim_start() };
        let mut parts = text.split(TEMPLATE_LINE_END);
        laid_out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            laid_out.push('\n');
            laid_out.push_str(part);
            line += 1;
        }
    }
    laid_out.push('\n');
    laid_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, places: &[(u32, u32)], expected: &str) {
        assert_eq!(realign(code, places.iter().copied()), expected);
    }

    #[test]
    fn a_line_moves_down_to_where_it_was() {
        check("a;\nb;\n", &[(0, 0), (1, 3)], "a;\n\n\nb;\n");
        check("a;", &[(0, 2)], "\n\na;\n");
    }

    #[test]
    fn lines_from_one_line_share_it() {
        check("f(\n\ta,\n);\nb;", &[(0, 0), (1, 0), (3, 1)], "f( a, );\nb;\n");
    }

    #[test]
    fn lines_of_a_template_count() {
        let code = format!("a = `x{TEMPLATE_LINE_END}y`;\nb;\nc;");
        check(&code, &[(0, 0), (1, 1), (2, 2)], "a = `x\ny`; b;\nc;\n");
    }
}
