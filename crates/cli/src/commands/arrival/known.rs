//! Known arrivals from files: what came when, what was expected, and between which hours to look.

use anyhow::{Context, anyhow, bail};
use flate2::bufread::MultiGzDecoder;
use jiff::{Timestamp, civil::Date};
use plan::arrival::{Minutes, features::CalendarDay, replay::Case};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// The pairs of three files, and what was odd in them.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) cases: Vec<Case>,
    pub(crate) entities: usize,
    /// What was passed over or read in a way that somebody may not expect, in sentences.
    pub(crate) notes: Vec<String>,
}

/// When an entity is looked at, minutes after 00:00 UTC of the period.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opens: Minutes,
    deadline: Minutes,
}

/// Reads the three files; each may be gzipped.
///
/// `train_fraction` of each entity's expected periods is its first half.
pub(crate) fn read(
    arrivals: &Path,
    expected: &Path,
    keys: &Path,
    train_fraction: f64,
) -> anyhow::Result<Known> {
    let (names, frames) = read_keys(keys)?;
    let mut notes = Vec::new();
    let number = |name: &str| names.get(name).copied();

    let mut came: BTreeMap<(u32, Date), Timestamp> = BTreeMap::new();
    let (mut twice, mut strangers) = (0_u64, 0_u64);
    each_row(arrivals, &["key", "period", "available_at"], |row| {
        let period = day(&row[1])?;
        let at: Timestamp = row[2].parse().map_err(|_| {
            anyhow!("`{}` is not a time such as `2026-11-19T21:00:00Z`", short(&row[2]))
        })?;
        let Some(entity) = number(&row[0]) else {
            strangers += 1;
            return Ok(());
        };
        came.entry((entity, period))
            .and_modify(|first| {
                twice += 1;
                *first = at.min(*first);
            })
            .or_insert(at);
        Ok(())
    })?;
    note(&mut notes, twice, "arrivals are named more than once: the earliest counts");
    note(
        &mut notes,
        strangers,
        "arrivals are of keys that the file of keys does not have: passed over",
    );

    let mut periods: BTreeMap<u32, Vec<Date>> = BTreeMap::new();
    let mut without_frame = BTreeMap::new();
    each_row(expected, &["key", "period"], |row| {
        let period = day(&row[1])?;
        match number(&row[0]) {
            Some(entity) => periods.entry(entity).or_default().push(period),
            None => *without_frame.entry(short(&row[0])).or_insert(0_u64) += 1,
        }
        Ok(())
    })?;
    if let Some((key, _)) = without_frame.first_key_value() {
        bail!(
            "{}: {} of the expected keys are not there, such as `{key}`: each needs `origin_h` and `deadline_h`",
            keys.display(),
            without_frame.len()
        );
    }

    let mut cases = Vec::new();
    let (mut repeated, mut early, mut late) = (0_u64, 0_u64, 0_u64);
    for (entity, mut days) in periods {
        let named = days.len();
        days.sort_unstable();
        days.dedup();
        repeated += (named - days.len()) as u64;
        let Frame { opens, deadline } = frames[entity as usize];
        let first_half = (days.len() as f64 * train_fraction) as usize;
        for (at, date) in days.into_iter().enumerate() {
            let number = days_since_1970(date);
            let minutes = came
                .remove(&(entity, date))
                .map(|came| came.as_millisecond() as f64 / 60_000.0 - f64::from(number) * 1440.0);
            early += u64::from(minutes.is_some_and(|came| came < opens));
            late += u64::from(minutes.is_some_and(|came| came > deadline));
            cases.push(Case {
                entity,
                day: number,
                calendar: CalendarDay::of(date),
                opens,
                deadline,
                came: minutes.filter(|came| *came <= deadline),
                is_second: at >= first_half,
            });
        }
    }
    note(&mut notes, repeated, "expected pairs are named more than once: each counts once");
    note(&mut notes, early, "arrivals are before their key's origin: the first look finds them");
    note(&mut notes, late, "arrivals are after their key's deadline: they count as never come");
    note(&mut notes, came.len() as u64, "arrivals were not expected: passed over");
    if cases.is_empty() {
        bail!("{}: no expected pair: there is nothing to play", expected.display());
    }
    if cases.iter().all(|case| case.came.is_none()) {
        notes.push("nothing ever came: all looks are in vain".to_owned());
    }
    Ok(Known { cases, entities: names.len(), notes })
}

fn days_since_1970(date: Date) -> i32 {
    let since = date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1)));
    since.map_or(0, |span| span.get_days())
}

fn note(notes: &mut Vec<String>, count: u64, what: &str) {
    if count > 0 {
        notes.push(format!("{count} {what}"));
    }
}

fn read_keys(path: &Path) -> anyhow::Result<(BTreeMap<String, u32>, Vec<Frame>)> {
    let mut names = BTreeMap::new();
    let mut frames = Vec::new();
    each_row(path, &["key", "origin_h", "deadline_h"], |row| {
        let hours = |text: &str, name: &str| match text.parse::<f64>() {
            Ok(hours) if hours.is_finite() && hours.abs() <= 24.0 * 45.0 => Ok(hours * 60.0),
            _ => bail!("{name}: `{}` is not a number of hours up to 45 days", short(text)),
        };
        let opens = hours(&row[1], "origin_h")?;
        let deadline = hours(&row[2], "deadline_h")?;
        if deadline <= opens {
            bail!("deadline_h must be after origin_h");
        }
        if names.insert(row[0].clone(), frames.len() as u32).is_some() {
            bail!("the key `{}` is named twice", short(&row[0]));
        }
        frames.push(Frame { opens, deadline });
        Ok(())
    })?;
    Ok((names, frames))
}

fn day(text: &str) -> anyhow::Result<Date> {
    text.parse().map_err(|_| anyhow!("`{}` is not a day such as `2026-11-19`", short(text)))
}

fn short(text: &str) -> String {
    crate::output::safe(&text.chars().take(40).collect::<String>())
}

/// Hands out the named columns of a CSV file, gzipped or not.
fn each_row(
    path: &Path,
    columns: &[&str],
    mut take: impl FnMut(&[String]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("{name}: opening it"))?;
    let mut file = BufReader::new(file);
    let is_gzip =
        file.fill_buf().with_context(|| format!("{name}: reading it"))?.starts_with(&[0x1f, 0x8b]);
    let text: Box<dyn Read> =
        if is_gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut rows = csv::Reader::from_reader(text);
    let header = rows.headers().with_context(|| format!("{name}: reading its header"))?.clone();
    let places: Vec<usize> = columns
        .iter()
        .map(|column| {
            header.iter().position(|name| name.trim() == *column).ok_or_else(|| {
                let has: Vec<String> = header.iter().take(8).map(short).collect();
                anyhow!("{name}:1: no column `{column}`; it has {}", has.join(", "))
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let mut taken = vec![String::new(); columns.len()];
    let mut row = csv::StringRecord::new();
    loop {
        match rows.read_record(&mut row) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => return Err(error).with_context(|| format!("{name}: reading its rows")),
        }
        for (to, place) in taken.iter_mut().zip(&places) {
            to.clear();
            to.push_str(row.get(*place).unwrap_or_default().trim());
        }
        let line = row.position().map_or(0, csv::Position::line);
        take(&taken).with_context(|| format!("{name}:{line}"))?;
    }
}
