//! A world of real values with real arrival times, read from files.

use super::{Truth, synthetic::WorldError, world::Seen};
use flate2::bufread::MultiGzDecoder;
use jiff::{Timestamp, civil::Date};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

#[derive(Debug)]
pub(super) struct Published {
    // Sorted by name, as their cells are by day.
    schemes: Vec<Scheme>,
    cells: usize,
}

#[derive(Debug)]
struct Scheme {
    name: String,
    /// The number of its first cell.
    first: usize,
    days: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    day: Date,
    is_expected: bool,
    available_at: Option<Timestamp>,
    /// As published, in JSON's form.
    nav: Option<Box<str>>,
}

type Days = BTreeMap<Date, Row>;

impl Published {
    pub(super) fn read(nav: &Path, arrivals: &Path, expected: &Path) -> Result<Self, WorldError> {
        let mut schemes: BTreeMap<String, Days> = BTreeMap::new();
        each_row(expected, &["source", "key", "period"], |row| {
            day(&mut schemes, &row[1], &row[2])?.is_expected = true;
            Ok(())
        })?;
        each_row(arrivals, &["source", "key", "period", "available_at"], |row| {
            let available_at = row[3].parse().map_err(|_| not_a("an instant", &row[3]))?;
            day(&mut schemes, &row[1], &row[2])?.available_at = Some(available_at);
            Ok(())
        })?;
        each_row(nav, &["scheme", "date", "nav"], |row| {
            // Far more values than arrivals: those of other schemes and days are passed over.
            let Some(days) = schemes.get_mut(&row[0]) else { return Ok(()) };
            let day: Date = row[1].parse().map_err(|_| not_a("a day", &row[1]))?;
            let nav = as_json(&row[2]).ok_or_else(|| not_a("a decimal", &row[2]))?;
            if let Some(known) = days.get_mut(&day) {
                known.nav = Some(nav);
            }
            Ok(())
        })?;
        let mut cells = 0;
        let schemes = schemes.into_iter().map(|(name, days)| {
            let known = days.into_values().filter(|day| day.is_expected || day.seen().is_some());
            let scheme = Scheme { name, first: cells, days: known.collect() };
            cells += scheme.days.len();
            scheme
        });
        let schemes = schemes.collect();
        Ok(Self { schemes, cells })
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = (&str, Date, Date)> {
        self.schemes.iter().filter_map(|scheme| {
            let mut expected = scheme.days.iter().filter(|day| day.is_expected);
            let first = expected.next()?;
            Some((scheme.name.as_str(), first.day, expected.next_back().unwrap_or(first).day))
        })
    }

    /// The record that can be seen; `None`: no such scheme.
    pub(super) fn record(&self, name: &str, day: Date, now: Timestamp) -> Option<Seen> {
        let scheme = self.scheme(name)?;
        let seen = scheme.position(day).and_then(|position| scheme.days[position].seen());
        let record = seen.filter(|(at, _)| *at <= now).map(|(_, nav)| render(day, nav));
        Some(Seen { record, is_renamed: false })
    }

    pub(super) fn truth(&self) -> impl Iterator<Item = Truth> {
        self.schemes.iter().flat_map(|scheme| {
            scheme.days.iter().filter(|day| day.is_expected).map(|day| Truth {
                entity: scheme.name.clone(),
                day: day.day,
                arrived_at: day.seen().map(|(at, _)| at),
                record: day.seen().map(|(_, nav)| render(day.day, nav)).unwrap_or_default(),
                correction: None,
            })
        })
    }

    pub(super) fn cell(&self, name: &str, day: Date) -> Option<usize> {
        let scheme = self.scheme(name)?;
        Some(scheme.first + scheme.position(day)?)
    }

    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    fn scheme(&self, name: &str) -> Option<&Scheme> {
        let position = self.schemes.binary_search_by(|scheme| scheme.name.as_str().cmp(name));
        position.ok().map(|position| &self.schemes[position])
    }
}

impl Scheme {
    fn position(&self, day: Date) -> Option<usize> {
        self.days.binary_search_by(|other| other.day.cmp(&day)).ok()
    }
}

impl Row {
    /// When which value can be seen: both must be known.
    fn seen(&self) -> Option<(Timestamp, &str)> {
        self.available_at.zip(self.nav.as_deref())
    }
}

fn render(day: Date, nav: &str) -> String {
    format!(r#"{{"date":"{day}","nav":{nav}}}"#)
}

fn day<'a>(
    schemes: &'a mut BTreeMap<String, Days>,
    scheme: &str,
    text: &str,
) -> Result<&'a mut Row, String> {
    let day: Date = text.parse().map_err(|_| not_a("a day", text))?;
    // Names go into JSON and URLs as they are.
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(not_a("a scheme", scheme));
    }
    if !schemes.contains_key(scheme) {
        schemes.insert(scheme.to_owned(), Days::new());
    }
    let days = schemes.entry(scheme.to_owned()).or_default();
    Ok(days.entry(day).or_insert(Row { day, is_expected: false, available_at: None, nav: None }))
}

/// A decimal as JSON has it. Some are published as `+0031.4936`: JSON knows neither plus signs nor
/// leading zeros, so these go; every other digit stays.
fn as_json(text: &str) -> Option<Box<str>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let zeros = whole.len() - whole.trim_start_matches('0').len();
    Some(format!("{sign}{}", &digits[zeros.min(whole.len() - 1)..]).into())
}

fn not_a(what: &str, text: &str) -> String {
    format!("`{}` is not {what}", text.chars().take(40).collect::<String>())
}

/// Hands out the rows of a gzip CSV file without quotes, whose header must be the one given.
fn each_row(
    path: &Path,
    header: &[&str],
    mut take: impl FnMut(&[String]) -> Result<(), String>,
) -> Result<(), WorldError> {
    let unreadable = |cause| WorldError::Unreadable { path: path.to_owned(), cause };
    let file = File::open(path).map_err(unreadable)?;
    let inflated = MultiGzDecoder::new(BufReader::new(file));
    let mut lines = BufReader::with_capacity(64 << 10, inflated);
    let mut text = String::new();
    let mut row = vec![String::new(); header.len()];
    for line in 1.. {
        text.clear();
        if lines.read_line(&mut text).map_err(unreadable)? == 0 {
            break;
        }
        let mut cells = text.trim_end_matches(['\r', '\n']).split(',');
        for place in &mut row {
            place.clear();
            place.push_str(cells.next().unwrap_or_default());
        }
        let bad = |problem| WorldError::BadLine { path: path.to_owned(), line, problem };
        if cells.next().is_some() {
            return Err(bad(format!("more than {} columns", header.len())));
        }
        if line > 1 {
            take(&row).map_err(bad)?;
        } else if row != header {
            return Err(bad(format!("the header is not `{}`", header.join(","))));
        }
    }
    Ok(())
}
