//! The second axis of the grid: a trading day, an hour, a week, a month, or `once`.

use jiff::{
    Timestamp,
    civil::{Date, ISOWeekDate, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt};

/// One period of a source's calendar.
///
/// Its text is what tables, URLs and the command line show: `2026-11-19`, `2026-W47`, `2026-11`,
/// `2026-11-19T19:00Z`, `once`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Period {
    /// The only period of a source without a calendar.
    Once,
    /// A day.
    Day(Date),
    /// An hour, by its first instant in UTC.
    Hour(Timestamp),
    /// An ISO week, by its Monday.
    Week(Date),
    /// A month, by its first day.
    Month(Date),
}

/// A text that is not a period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a period: write a day as `2026-11-19`, a week as `2026-W47`, a month as \
     `2026-11`, an hour as `2026-11-19T19:00Z`, or `once`"
)]
pub struct PeriodError {
    /// What was found.
    pub text: String,
}

impl Period {
    /// Reads a period from its text.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        Self::try_parse(text).ok_or_else(|| PeriodError { text: text.chars().take(80).collect() })
    }

    fn try_parse(text: &str) -> Option<Self> {
        if text == "once" {
            return Some(Self::Once);
        }
        if !text.is_ascii() {
            return None;
        }
        if let Some((year, week)) = text.split_once("-W") {
            if year.len() != 4 || week.len() != 2 {
                return None;
            }
            let week = ISOWeekDate::new(year.parse().ok()?, week.parse().ok()?, Weekday::Monday);
            return Some(Self::Week(week.ok()?.date()));
        }
        match text.len() {
            7 => format!("{text}-01").parse().ok().map(Self::Month),
            10 => text.parse().ok().map(Self::Day),
            17 => {
                let hour = text.strip_suffix(":00Z")?;
                format!("{hour}:00:00Z").parse().ok().map(Self::Hour)
            }
            _ => None,
        }
    }

    /// The first civil day of the period; `once` has none.
    pub fn date(&self) -> Option<Date> {
        match self {
            Self::Once => None,
            Self::Day(date) | Self::Week(date) | Self::Month(date) => Some(*date),
            Self::Hour(start) => Some(start.to_zoned(TimeZone::UTC).date()),
        }
    }

    fn order(&self) -> (i64, u8) {
        let seconds = |date: &Date| {
            date.to_zoned(TimeZone::UTC).map_or(i64::MIN, |z| z.timestamp().as_second())
        };
        match self {
            Self::Once => (i64::MIN, 0),
            Self::Month(date) => (seconds(date), 1),
            Self::Week(date) => (seconds(date), 2),
            Self::Day(date) => (seconds(date), 3),
            Self::Hour(start) => (start.as_second(), 4),
        }
    }
}

impl Ord for Period {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Day(left), Self::Day(right)) => left.cmp(right),
            _ => self.order().cmp(&other.order()),
        }
    }
}

impl PartialOrd for Period {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once => f.write_str("once"),
            Self::Day(date) => write!(f, "{date}"),
            Self::Hour(start) => write!(f, "{}", start.strftime("%Y-%m-%dT%H:00Z")),
            Self::Week(date) => {
                let week = date.iso_week_date();
                write!(f, "{:04}-W{:02}", week.year(), week.week())
            }
            Self::Month(date) => write!(f, "{:04}-{:02}", date.year(), date.month()),
        }
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;
    fn try_from(text: String) -> Result<Self, PeriodError> {
        Self::parse(&text)
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_reads_its_own_text() {
        for text in ["once", "2026-11-19", "2026-W47", "2026-11", "2026-11-19T19:00Z", "2026-W53"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_period_is_refused() {
        for text in
            ["", "today", "2026-13", "2026-02-30", "2026-W60", "2026-11-19T19:30Z", "２026-11-19"]
        {
            assert!(Period::parse(text).is_err(), "{text}");
        }
    }
}
