//! How rows become bytes: postcard, with our own forms where the nouns' own do not suit it.
//!
//! A cell's state is an internally tagged enum, which postcard cannot read; times and periods are
//! text, which is slow. Formats for people (JSON) still get the nouns' own forms.

use crate::rows::{Batch, CellRow, Cells};
use jiff::{SignedDuration, Timestamp, civil::Date};
use model::{AttemptId, Cause, CellState, LateFrom, Outcome, Period};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, postcard::Error> {
    // Most values are a cell's evidence.
    postcard::to_extend(value, Vec::with_capacity(192))
}

/// When a row of a batch is later than usual: its place among the rows, and nanoseconds.
type Late = (usize, i64, i64);

/// A batch, and behind it what formats before 4 did not have, put into `buffer`.
pub(crate) fn encode_batch(batch: &Batch, mut buffer: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    buffer.clear();
    // More than most cells take.
    buffer.reserve(1024 + batch.commits.len() + 320 * batch.cells.len());
    let late: Vec<Late> = (0..)
        .zip(batch.cells.iter())
        .filter_map(|(at, (_, row))| {
            let late = row.late_from?;
            Some((at, nanoseconds(late.watch), nanoseconds(late.overdue)))
        })
        .collect();
    let encoded = postcard::to_extend(batch, buffer)?;
    postcard::to_extend(&late, encoded)
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, postcard::Error> {
    postcard::from_bytes(bytes)
}

/// A batch; also one that a program before format 4 announced and did not settle.
pub(crate) fn decode_batch(bytes: &[u8]) -> Result<Batch, postcard::Error> {
    #[derive(Deserialize)]
    struct Former {
        number: i64,
        #[serde(with = "time")]
        announced_at: Timestamp,
        #[serde(with = "time_option")]
        observed_at_max: Option<Timestamp>,
        commits: Vec<u8>,
        cells: Cells,
        attempts: Vec<AttemptId>,
    }
    match postcard::take_from_bytes::<Batch>(bytes) {
        Err(postcard::Error::DeserializeUnexpectedEnd) => {}
        Err(error) => return Err(error),
        Ok((mut batch, rest)) => {
            let late: Vec<Late> = if rest.is_empty() { Vec::new() } else { decode(rest)? };
            for (at, watch, overdue) in late {
                let (_, row) =
                    batch.cells.get_mut(at).ok_or(postcard::Error::DeserializeBadEncoding)?;
                let (watch, overdue) = (from_nanoseconds(watch), from_nanoseconds(overdue));
                row.late_from = Some(LateFrom { watch, overdue });
            }
            return Ok(batch);
        }
    }
    let former: Former = decode(bytes)?;
    Ok(Batch {
        number: former.number,
        announced_at: former.announced_at,
        observed_at_max: former.observed_at_max,
        commits: former.commits,
        cells: former.cells,
        attempts: former.attempts,
        looks: Vec::new(),
        looks_over: Vec::new(),
        refunds: Vec::new(),
    })
}

/// Nanoseconds since 1970. Beyond the years 1678 to 2261, the ends of the range.
pub(crate) fn nanoseconds(at: Timestamp) -> i64 {
    let exact = at.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// The time of [`nanoseconds`]; the ends of the range stand for the ends of time.
pub(crate) fn from_nanoseconds(nanoseconds: i64) -> Timestamp {
    match nanoseconds {
        i64::MIN => Timestamp::MIN,
        i64::MAX => Timestamp::MAX,
        exact => Timestamp::from_nanosecond(i128::from(exact)).unwrap_or(Timestamp::MAX),
    }
}

/// A time as every engine keeps it.
pub(crate) fn kept(at: Timestamp) -> Timestamp {
    from_nanoseconds(nanoseconds(at))
}

/// Makes a row what every engine keeps of it: times within the range kept, and the fields that a
/// waiting state repeats equal to it; lateness is that of a waiting one.
pub(crate) fn normalize(row: &mut CellRow) {
    if let CellState::Waiting { next_look_at, last_outcome } = &mut row.state {
        *next_look_at = kept(*next_look_at);
        row.next_look_at = Some(*next_look_at);
        row.outcome = Some(*last_outcome);
    } else {
        row.late_from = None;
    }
    row.late_from =
        row.late_from.map(|late| LateFrom { watch: kept(late.watch), overdue: kept(late.overdue) });
    row.observed_at = row.observed_at.map(kept);
    row.next_look_at = row.next_look_at.map(kept);
    row.updated_at = kept(row.updated_at);
}

const ONCE_CODE: i64 = i32::MIN as i64;
const HOURS_PER_DAY: i64 = 24;

/// A period as a number that sorts as periods do: hours since 1970 of its first instant, then its
/// kind.
pub(crate) fn period_code(period: &Period) -> i64 {
    let day = |date: &Date| date.duration_since(Date::constant(1970, 1, 1)).as_hours();
    match period {
        Period::Once => ONCE_CODE,
        Period::Month(date) => day(date) * 8 + 1,
        Period::Week(date) => day(date) * 8 + 2,
        Period::Day(date) => day(date) * 8 + 3,
        Period::Hour(start) => start.as_second().div_euclid(3600) * 8 + 4,
    }
}

/// The period of a [`period_code`].
pub(crate) fn period_of_code(code: i64) -> Option<Period> {
    if code == ONCE_CODE {
        return Some(Period::Once);
    }
    let hours = code.div_euclid(8);
    let date = || {
        if hours.rem_euclid(HOURS_PER_DAY) != 0 {
            return None;
        }
        let since = SignedDuration::from_secs(hours.checked_mul(3600)?);
        Date::constant(1970, 1, 1).checked_add(since).ok()
    };
    match code.rem_euclid(8) {
        1 => date().map(Period::Month),
        2 => date().map(Period::Week),
        3 => date().map(Period::Day),
        4 => Timestamp::from_second(hours.checked_mul(3600)?).ok().map(Period::Hour),
        _ => None,
    }
}

pub(crate) mod time {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            at.serialize(s)
        } else {
            (at.as_second(), at.subsec_nanosecond()).serialize(s)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        if d.is_human_readable() {
            return Timestamp::deserialize(d);
        }
        let (second, nanosecond) = <(i64, i32)>::deserialize(d)?;
        Timestamp::new(second, nanosecond).map_err(D::Error::custom)
    }
}

pub(crate) mod time_option {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp, time};

    #[derive(Serialize, Deserialize)]
    struct Time(#[serde(with = "time")] Timestamp);

    #[expect(clippy::ref_option, reason = "the form that `serde(with)` asks for")]
    pub(crate) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(Time).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<Time>::deserialize(d)?.map(|Time(at)| at))
    }
}

pub(crate) mod period {
    use super::{Deserialize, Deserializer, Period, Serialize, Serializer};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(period: &Period, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            period.serialize(s)
        } else {
            super::period_code(period).serialize(s)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Period, D::Error> {
        if d.is_human_readable() {
            return Period::deserialize(d);
        }
        let code = i64::deserialize(d)?;
        super::period_of_code(code)
            .ok_or_else(|| D::Error::custom(format!("`{code}` is not the code of a period")))
    }
}

/// [`CellState`] without the tag that postcard cannot read.
#[derive(Serialize, Deserialize)]
enum PlainState {
    NotDue,
    Due,
    Waiting {
        #[serde(with = "time")]
        next_look_at: Timestamp,
        last_outcome: Outcome,
    },
    Present,
    Absent {
        cause: Cause,
    },
    Held,
    GivenUp {
        cause: Cause,
    },
}

pub(crate) mod cell_state {
    use super::{CellState, Deserialize, Deserializer, PlainState, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(state: &CellState, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return state.serialize(s);
        }
        match *state {
            CellState::NotDue => PlainState::NotDue,
            CellState::Due => PlainState::Due,
            CellState::Waiting { next_look_at, last_outcome } => {
                PlainState::Waiting { next_look_at, last_outcome }
            }
            CellState::Present => PlainState::Present,
            CellState::Absent { cause } => PlainState::Absent { cause },
            CellState::Held => PlainState::Held,
            CellState::GivenUp { cause } => PlainState::GivenUp { cause },
        }
        .serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<CellState, D::Error> {
        if d.is_human_readable() {
            return CellState::deserialize(d);
        }
        Ok(match PlainState::deserialize(d)? {
            PlainState::NotDue => CellState::NotDue,
            PlainState::Due => CellState::Due,
            PlainState::Waiting { next_look_at, last_outcome } => {
                CellState::Waiting { next_look_at, last_outcome }
            }
            PlainState::Present => CellState::Present,
            PlainState::Absent { cause } => CellState::Absent { cause },
            PlainState::Held => CellState::Held,
            PlainState::GivenUp { cause } => CellState::GivenUp { cause },
        })
    }
}

/// The cells of a reservation.
pub(crate) fn encode_reserved(
    cells: &[(model::Entity, Period)],
) -> Result<Vec<u8>, postcard::Error> {
    let plain: Vec<(&str, i64)> =
        cells.iter().map(|(entity, period)| (entity.as_str(), period_code(period))).collect();
    encode(&plain)
}

/// The cells of [`encode_reserved`].
pub(crate) fn decode_reserved(
    bytes: &[u8],
) -> Result<Vec<(model::Entity, Period)>, postcard::Error> {
    let plain: Vec<(model::Entity, i64)> = decode(bytes)?;
    plain
        .into_iter()
        .map(|(entity, code)| {
            let period = period_of_code(code)
                .ok_or_else(|| <postcard::Error as serde::de::Error>::custom("not a period"))?;
            Ok((entity, period))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_periods_reads_back_and_sorts_as_they_do() {
        let mut periods: Vec<Period> = [
            "once",
            "0001-01-01",
            "1969-12-31",
            "1970-01-01",
            "1970-01",
            "1970-01-01T00:00Z",
            "1969-W01",
            "2026-11-19",
            "2026-W47",
            "2026-11",
            "2026-11-19T19:00Z",
            "1969-12-31T23:00Z",
            "9999-12-30",
        ]
        .map(|text| Period::parse(text).unwrap())
        .into();
        periods.sort();
        let codes: Vec<i64> = periods.iter().map(period_code).collect();
        assert!(codes.is_sorted_by(|left, right| left < right), "{codes:?} of {periods:?}");
        let read: Vec<Period> = codes.iter().map(|code| period_of_code(*code).unwrap()).collect();
        assert_eq!(read, periods);
    }

    #[test]
    fn what_is_not_the_code_of_a_period_is_refused() {
        for code in [0, 8 + 3, 5, 7, i64::MAX, i64::MAX - 4, i64::MIN, i64::MIN + 4] {
            assert_eq!(period_of_code(code), None, "{code}");
        }
    }

    #[test]
    fn times_beyond_the_range_become_the_ends_of_time() {
        for at in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            assert_eq!(from_nanoseconds(nanoseconds(at)), at);
        }
        let far: Timestamp = "2300-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(from_nanoseconds(nanoseconds(far)), Timestamp::MAX);
        let exact: Timestamp = "2026-11-19T21:00:00.123456789Z".parse().unwrap();
        assert_eq!(from_nanoseconds(nanoseconds(exact)), exact);
    }
}
