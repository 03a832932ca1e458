//! Pictures of when data comes: a strip for the terminal, an SVG file.

use super::Window;
use jiff::tz::TimeZone;
use std::fmt::Write as _;

const SHADES: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const STRIP_COLUMNS: usize = 72;
const LEFT: usize = 160;
const WIDTH: usize = 960;
const ROW: usize = 22;

/// One character for each window, or for several of them, by its share of the highest.
pub(crate) fn strip(windows: &[Window]) -> String {
    let together = windows.len().div_ceil(STRIP_COLUMNS).max(1);
    let columns: Vec<f64> = windows
        .chunks(together)
        .map(|windows| windows.iter().map(|window| window.probability).sum())
        .collect();
    let most = columns.iter().copied().fold(0.0, f64::max);
    let shade = |column: &f64| {
        let level = if most > 0.0 { (column / most * 8.0).ceil() } else { 0.0 };
        SHADES[if *column < 0.002 { 0 } else { (level as usize).min(8) }]
    };
    format!("|{}|", columns.iter().map(shade).collect::<String>())
}

/// A row of bars for each entity. All text is escaped: names come from elsewhere.
pub(crate) fn svg(
    source: &str,
    period: &str,
    zone: &TimeZone,
    rows: &[(&str, &[Window])],
) -> String {
    let height = 60 + rows.len() * ROW;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>When {} {} arrives</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">{} {}: probability of arrival by window</text>\n",
        LEFT + WIDTH + 20,
        escaped(source),
        escaped(period),
        escaped(source),
        escaped(period)
    );
    for (at, (name, windows)) in rows.iter().enumerate() {
        let bottom = 40 + (at + 1) * ROW;
        let short: String = name.chars().take(20).collect();
        let _ = writeln!(text, "<text x=\"8\" y=\"{}\">{}</text>", bottom - 4, escaped(&short));
        let most = windows.iter().map(|window| window.probability).fold(1e-9, f64::max);
        let width = WIDTH as f64 / windows.len().max(1) as f64;
        for (at, window) in windows.iter().enumerate().filter(|(_, w)| w.probability >= 0.0005) {
            let tall = window.probability / most * (ROW as f64 - 4.0);
            let _ = writeln!(
                text,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" \
                 fill=\"#2b6cb0\"><title>{} p={:.3}</title></rect>",
                LEFT as f64 + at as f64 * width,
                bottom as f64 - tall,
                (width - 0.5).max(0.5),
                window.from.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M"),
                window.probability
            );
        }
    }
    if let Some((_, windows)) = rows.first() {
        let step = windows.len().div_ceil(8).max(1);
        let width = WIDTH as f64 / windows.len().max(1) as f64;
        for (at, window) in windows.iter().enumerate().step_by(step) {
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{}\" fill=\"#555\">{}</text>",
                LEFT as f64 + at as f64 * width,
                height - 4,
                window.from.to_zoned(zone.clone()).strftime("%m-%d %H:%M")
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn names_do_not_break_out_of_the_picture() {
        let window =
            Window { from: Timestamp::UNIX_EPOCH, until: Timestamp::UNIX_EPOCH, probability: 0.5 };
        let name = "</text><script>alert(1)</script>\"\u{1b}";
        let picture = svg("a", "<b>", &TimeZone::UTC, &[(name, &[window])]);
        assert!(!picture.contains("<script>") && !picture.contains("<b>"), "{picture}");
        assert!(!picture.contains('\u{1b}'));
    }

    #[test]
    fn a_strip_is_as_wide_as_a_terminal_at_most() {
        let window = |probability| Window {
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            probability,
        };
        let many: Vec<Window> = (0..300).map(|at| window(f64::from(at) / 300.0)).collect();
        assert!(strip(&many).chars().count() <= STRIP_COLUMNS + 2);
        assert_eq!(strip(&[window(0.0), window(0.5), window(0.25)]), "| █▄|");
        assert_eq!(strip(&[]), "||");
    }
}
