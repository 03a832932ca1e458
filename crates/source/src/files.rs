//! Files beside a source: bounded reading, and rows of CSV with the place of each value.

use crate::diagnostic::{Diagnostic, Report, Severity, Span};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The most bytes of a TOML file.
pub(crate) const TOML_LIMIT_BYTES: u64 = 4 << 20;
/// The most bytes of a CSV file, after decompression.
const CSV_LIMIT_BYTES: u64 = 512 << 20;

/// A diagnostic of a file that has no usable text.
pub(crate) fn unusable(file: &Path, message: String, help: Option<&str>) -> Diagnostic {
    Diagnostic {
        file: file.to_owned(),
        line: 1,
        column: 1,
        message,
        help: help.map(str::to_owned),
        text: String::new(),
        text_column: 1,
        length: 1,
        severity: Severity::Error,
    }
}

/// Whether a text looks like the name of a CSV file.
pub(crate) fn is_csv(text: &str) -> bool {
    let name = Path::new(text.trim_end_matches(".gz"));
    name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe or a device would block or never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    File::open(path)
}

/// Reads a text file of the project, or says why not.
pub(crate) fn read_toml(dir: &Path, file: &Path) -> Result<String, Diagnostic> {
    let opened = open(&dir.join(file));
    let bytes = opened.and_then(|opened| read_bounded(opened, TOML_LIMIT_BYTES));
    into_text(bytes, file, TOML_LIMIT_BYTES)
}

/// Reads a CSV file, compressed if its name ends with `.gz`.
pub(crate) fn read_csv(dir: &Path, file: &Path) -> Result<String, Diagnostic> {
    let compressed = file.extension().is_some_and(|extension| extension == "gz");
    let bytes = open(&dir.join(file)).and_then(|opened| {
        if compressed {
            read_bounded(flate2::read::MultiGzDecoder::new(opened), CSV_LIMIT_BYTES)
        } else {
            read_bounded(opened, CSV_LIMIT_BYTES)
        }
    });
    into_text(bytes, file, CSV_LIMIT_BYTES)
}

/// Up to `limit + 1` bytes, so that the caller sees whether there was more.
fn read_bounded(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn into_text(bytes: io::Result<Vec<u8>>, file: &Path, limit: u64) -> Result<String, Diagnostic> {
    let bytes =
        bytes.map_err(|error| unusable(file, format!("the file cannot be read: {error}"), None))?;
    if bytes.len() as u64 > limit {
        let message = format!("the file has more than {} MiB", limit >> 20);
        return Err(unusable(file, message, Some("long lists go into files of their own")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let help = match bytes.get(..2) {
            Some(b"\xff\xfe" | b"\xfe\xff") => "this is UTF-16: save the file as UTF-8",
            _ => "save the file as UTF-8",
        };
        // The text up to the bad byte, and its line as far as it can be read.
        let line_end = bytes[valid..].iter().position(|byte| *byte == b'\n');
        let end = line_end.map_or(bytes.len(), |length| valid + length).min(valid + 1000);
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut report = Report::new(file, &text);
        let place = Span { start: valid, end: valid + 1 };
        report.error_help(place, "the file is not UTF-8 text", help);
        report.finish().remove(0)
    })
}

/// A column of a CSV file that is read.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name, and other names for it.
    pub(crate) names: &'static [&'static str],
    pub(crate) required: bool,
}

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Span,
}

/// Calls `each` with the values of the columns for each row; wrong rows are reported. `file` is what
/// the report is of.
pub(crate) fn rows(
    report: &mut Report,
    columns: &[Column],
    mut each: impl FnMut(&[Option<Cell<'_>>], &mut Report),
) {
    let whole = report.text().to_owned();
    let text = whole.trim_start_matches('\u{feff}');
    let skipped = whole.len() - text.len();
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut places: Option<(usize, Vec<Option<usize>>)> = None;
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                let at = skipped + error.position().map_or(0, |place| place.byte() as usize);
                report.error(Span { start: at, end: at }, format!("not CSV: {error}"));
                break;
            }
        }
        let start = record.position().map_or(0, |place| place.byte() as usize);
        // The reader counts empty lines before a record as part of it.
        let start =
            start + (text[start..].len() - text[start..].trim_start_matches(['\r', '\n']).len());
        let start = start + skipped;
        let Some((width, wanted)) = &places else {
            match header(&record, columns, start, &whole, report) {
                Some(found) => places = Some((record.len(), found)),
                None => return,
            }
            continue;
        };
        if record.iter().all(|value| value.trim().is_empty()) && record.len() <= 1 {
            continue;
        }
        if record.len() != *width {
            let end = start + line_length(&whole[start..]);
            let message = format!("{width} values are expected, found {}", record.len());
            report.error(Span { start, end }, message);
            continue;
        }
        let cells: Vec<Option<Cell<'_>>> = wanted
            .iter()
            .map(|index| {
                let index = (*index)?;
                let text = record.get(index)?.trim();
                let at = start + value_start(&whole[start..], index);
                Some(Cell { text, span: Span { start: at, end: at + text.len() } })
            })
            .collect();
        each(&cells, report);
    }
    if places.is_none() {
        let message = format!("the file is empty; its first line must name {}", names(columns));
        report.error(Span::default(), message);
    }
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.names[0]).collect();
    format!("the columns {}", crate::tree::quote_all(&names))
}

fn header(
    record: &csv::StringRecord,
    columns: &[Column],
    start: usize,
    whole: &str,
    report: &mut Report,
) -> Option<Vec<Option<usize>>> {
    let found: Vec<String> = record.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    let line = Span { start, end: start + line_length(&whole[start..]) };
    let mut sound = true;
    let mut wanted = Vec::new();
    for column in columns {
        let index = found.iter().position(|name| column.names.contains(&name.as_str()));
        if index.is_none() && column.required {
            let message = format!("the column `{}` is missing", column.names[0]);
            report.error_help(line, message, format!("the first line names {}", names(columns)));
            sound = false;
        }
        wanted.push(index);
    }
    for (index, name) in found.iter().enumerate() {
        let known: Vec<&str> = columns.iter().flat_map(|column| column.names).copied().collect();
        let missing: Vec<&str> = columns
            .iter()
            .zip(&wanted)
            .filter(|(_, place)| place.is_none())
            .map(|(column, _)| column.names[0])
            .collect();
        let at = start + value_start(&whole[start..], index);
        let place = Span { start: at, end: at + name.len() };
        if known.contains(&name.as_str()) {
            continue;
        }
        if let Some(close) = crate::tree::did_you_mean(name, &missing) {
            let help = format!("did you mean `{close}`?");
            report.warning(place, format!("the column `{name}` is not read"), help);
        }
    }
    sound.then_some(wanted)
}

fn line_length(text: &str) -> usize {
    text.find(['\r', '\n']).unwrap_or(text.len())
}

/// Where the value with this index begins in the raw text of a record.
fn value_start(raw: &str, index: usize) -> usize {
    let mut quoted = false;
    let mut left = index;
    if left == 0 {
        return 0;
    }
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                left -= 1;
                if left == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    raw.len()
}
