//! Which periods a source has, and when each of them closes.
//!
//! A calendar is a rule, not a table: periods are computed for the asked range of days. Nothing
//! here reads a clock or a file.

use crate::{period::Period, xnys};
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};

/// Where the end of the only period of a `once` source lies: always in the past, so always due.
pub const ONCE_CLOSES_AT: Timestamp = Timestamp::UNIX_EPOCH;

/// The longest run of closed days that [`CalendarSpec::last_closed`] looks behind, in days.
const CLOSED_RUN_MAX_DAYS: usize = 31;

/// A period and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodRow {
    /// The period.
    pub period: Period,
    /// When the period is due: its closing and the source's `due_after`. Its data can exist from
    /// then on.
    pub closes_at: Timestamp,
}

/// The rule that tells the periods of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calendar {
    /// One period without a date.
    Once,
    /// Every day.
    Daily,
    /// Monday to Friday.
    Weekdays,
    /// The sessions of the New York Stock Exchange ([`xnys`] says for which years).
    Xnys,
    /// The periods of a file of expected pairs: sorted, each once. See [`Calendar::pairs`].
    Pairs(Vec<Period>),
}

impl Calendar {
    /// The calendar of a file of expected pairs, from its periods in any order.
    pub fn pairs(periods: impl IntoIterator<Item = Period>) -> Self {
        let mut periods: Vec<_> = periods.into_iter().collect();
        periods.sort_unstable();
        periods.dedup();
        Self::Pairs(periods)
    }
}

/// A calendar with its clock: when a period closes, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarSpec {
    /// Which periods there are.
    pub calendar: Calendar,
    /// The zone of `closes_at` and of the end of a day.
    pub timezone: TimeZone,
    /// The civil time at which the (last) day of a period closes. `None`, written `24:00`, is the
    /// next midnight; for XNYS it is the session's own close, in New York whatever the zone.
    pub closes_at: Option<Time>,
    /// Added to each closing, except that of `once`.
    pub due_after: SignedDuration,
}

impl CalendarSpec {
    /// The periods whose first day lies from `from` to `until`, both included, ascending by
    /// `closes_at`. `once` is in every range.
    pub fn periods(&self, from: Date, until: Date) -> Vec<PeriodRow> {
        let mut rows: Vec<_> = match &self.calendar {
            Calendar::Once => vec![self.row(Period::Once)],
            Calendar::Daily | Calendar::Weekdays | Calendar::Xnys => days(from, until)
                .filter(|date| !self.is_closed_day(*date))
                .map(|date| self.row(Period::Day(date)))
                .collect(),
            Calendar::Pairs(periods) => periods
                .iter()
                .filter(|period| period.date().is_none_or(|date| from <= date && date <= until))
                .map(|period| self.row(*period))
                .collect(),
        };
        rows.sort_by_key(|row| (row.closes_at, row.period));
        rows
    }

    /// The first day of the newest period that is due at `now`; `once` has no day.
    pub fn last_closed(&self, now: Timestamp) -> Option<Date> {
        let is_due = |period: &Period| self.due_at(*period) <= now;
        match &self.calendar {
            Calendar::Once => None,
            Calendar::Daily | Calendar::Weekdays | Calendar::Xnys => {
                // One day ahead: New York's day may end on the next day of a zone east of it.
                let today = shift(now, -self.due_after).to_zoned(self.timezone.clone()).date();
                let mut date = today.tomorrow().unwrap_or(today);
                for _ in 0..CLOSED_RUN_MAX_DAYS {
                    if !self.is_closed_day(date) && is_due(&Period::Day(date)) {
                        return Some(date);
                    }
                    date = date.yesterday().ok()?;
                }
                None
            }
            Calendar::Pairs(periods) => {
                let newest = |period: &&Period| (self.due_at(**period), **period);
                periods.iter().filter(|period| is_due(period)).max_by_key(newest)?.date()
            }
        }
    }

    /// Whether no period contains the day: what `calendar_closed` means.
    pub fn is_closed_day(&self, date: Date) -> bool {
        match &self.calendar {
            Calendar::Once | Calendar::Daily => false,
            Calendar::Weekdays => is_weekend(date),
            Calendar::Xnys => xnys::session(date).is_none(),
            Calendar::Pairs(periods) => !periods.iter().any(|period| {
                period.date().is_none_or(|first| first <= date && date <= last_day(*period, first))
            }),
        }
    }

    fn row(&self, period: Period) -> PeriodRow {
        PeriodRow { period, closes_at: self.due_at(period) }
    }

    /// When a period is due, whether or not this calendar has it: its closing and `due_after`.
    pub fn due_at(&self, period: Period) -> Timestamp {
        let closing = match period {
            Period::Once => return ONCE_CLOSES_AT,
            Period::Hour(start) => shift(start, SignedDuration::from_hours(1)),
            Period::Day(first) | Period::Week(first) | Period::Month(first) => {
                self.close_of_day(last_day(period, first))
            }
        };
        shift(closing, self.due_after)
    }

    fn close_of_day(&self, date: Date) -> Timestamp {
        let session_close = match (&self.calendar, self.closes_at) {
            (Calendar::Xnys, None) => xnys::closes_at(date),
            _ => None,
        };
        session_close.unwrap_or_else(|| match (self.closes_at, date.tomorrow()) {
            (Some(time), _) => instant(&self.timezone, date.to_datetime(time)),
            (None, Ok(tomorrow)) => instant(&self.timezone, tomorrow.to_datetime(Time::midnight())),
            (None, Err(_)) => Timestamp::MAX,
        })
    }
}

/// The instant of a civil time, never too early: of a double hour the second, and for a missing
/// hour the end of the gap, the first instant at which the clocks have passed that time.
fn instant(timezone: &TimeZone, civil: DateTime) -> Timestamp {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(civil).unwrap_or(Timestamp::MAX);
    match timezone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        AmbiguousOffset::Fold { before, after } => at(before).max(at(after)),
        AmbiguousOffset::Gap { before, after } => {
            let before_gap = at(before).min(at(after));
            let gap = timezone.following(before_gap).next();
            gap.map_or_else(|| at(before).max(at(after)), |transition| transition.timestamp())
        }
    }
}

/// The last day of a period that begins on `first`.
fn last_day(period: Period, first: Date) -> Date {
    match period {
        Period::Week(_) => {
            first.checked_add(SignedDuration::from_hours(6 * 24)).unwrap_or(Date::MAX)
        }
        Period::Month(_) => first.last_of_month(),
        Period::Once | Period::Day(_) | Period::Hour(_) => first,
    }
}

/// All days from `from` to `until`, both included.
fn days(from: Date, until: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(from), |date| date.tomorrow().ok())
        .take_while(move |date| *date <= until)
}

fn is_weekend(date: Date) -> bool {
    matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Adds, stopping at the ends of what a timestamp can hold.
fn shift(instant: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    instant.checked_add(by).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    /// A daily calendar in a zone, closing at a time such as `16:00` or `24:00`.
    fn daily(zone: &str, closes_at: &str) -> CalendarSpec {
        let closes_at = (closes_at != "24:00").then(|| closes_at.parse().unwrap());
        spec(Calendar::Daily, zone, closes_at)
    }

    fn spec(calendar: Calendar, zone: &str, closes_at: Option<Time>) -> CalendarSpec {
        let timezone = TimeZone::get(zone).unwrap();
        CalendarSpec { calendar, timezone, closes_at, due_after: SignedDuration::ZERO }
    }

    fn due(spec: &CalendarSpec, period: &str) -> String {
        spec.due_at(Period::parse(period).unwrap()).to_string()
    }

    fn dates(rows: &[PeriodRow]) -> Vec<String> {
        rows.iter().map(|row| row.period.to_string()).collect()
    }

    #[test]
    fn a_day_closes_at_its_civil_time_or_at_the_next_midnight() {
        assert_eq!(due(&daily("America/New_York", "16:00"), "2026-11-19"), "2026-11-19T21:00:00Z");
        assert_eq!(due(&daily("America/New_York", "16:00"), "2026-07-01"), "2026-07-01T20:00:00Z");
        assert_eq!(due(&daily("Asia/Kolkata", "24:00"), "2026-11-19"), "2026-11-19T18:30:00Z");
    }

    #[test]
    fn a_closing_in_the_missing_hour_waits_for_the_end_of_the_gap() {
        let spec = daily("America/New_York", "02:30");
        assert_eq!(due(&spec, "2026-03-07"), "2026-03-07T07:30:00Z");
        assert_eq!(due(&spec, "2026-03-08"), "2026-03-08T07:00:00Z");
        assert_eq!(due(&spec, "2026-03-09"), "2026-03-09T06:30:00Z");
    }

    #[test]
    fn a_closing_in_the_double_hour_is_the_second_one() {
        let spec = daily("Europe/Berlin", "02:30");
        assert_eq!(due(&spec, "2026-10-25"), "2026-10-25T01:30:00Z");
    }

    #[test]
    fn a_missing_midnight_ends_the_day_when_the_clocks_jump() {
        // In São Paulo 2018-11-04 began at 01:00; in Samoa 2011-12-30 did not take place.
        assert_eq!(due(&daily("America/Sao_Paulo", "24:00"), "2018-11-03"), "2018-11-04T03:00:00Z");
        let samoa = daily("Pacific/Apia", "24:00");
        assert_eq!(due(&samoa, "2011-12-29"), "2011-12-30T10:00:00Z");
        assert_eq!(due(&samoa, "2011-12-30"), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn an_exchange_closes_with_its_session_unless_told_otherwise() {
        let own = spec(Calendar::Xnys, "Europe/London", None);
        assert_eq!(due(&own, "2026-11-25"), "2026-11-25T21:00:00Z");
        assert_eq!(due(&own, "2026-11-27"), "2026-11-27T18:00:00Z");
        let told = spec(Calendar::Xnys, "America/New_York", Some(Time::constant(17, 0, 0, 0)));
        assert_eq!(due(&told, "2026-11-27"), "2026-11-27T22:00:00Z");
        let rows = own.periods(date(2026, 11, 25), date(2026, 11, 30));
        assert_eq!(dates(&rows), ["2026-11-25", "2026-11-27", "2026-11-30"]);
    }

    #[test]
    fn weekdays_leave_out_weekends_only() {
        let spec = spec(Calendar::Weekdays, "UTC", None);
        let rows = spec.periods(date(2026, 12, 24), date(2026, 12, 28));
        assert_eq!(dates(&rows), ["2026-12-24", "2026-12-25", "2026-12-28"]);
        assert!(spec.is_closed_day(date(2026, 12, 26)));
        assert!(!spec.is_closed_day(date(2026, 12, 25)));
    }

    #[test]
    fn once_is_always_due_and_in_every_range() {
        let spec = CalendarSpec {
            due_after: SignedDuration::from_hours(48),
            ..spec(Calendar::Once, "UTC", None)
        };
        let rows = spec.periods(date(2026, 1, 2), date(2026, 1, 1));
        assert_eq!(rows, [PeriodRow { period: Period::Once, closes_at: ONCE_CLOSES_AT }]);
        assert_eq!(spec.last_closed(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn pairs_close_with_the_last_day_of_each_period() {
        let texts = ["2026-11", "2026-11-19", "2026-W47", "2026-11-19T19:00Z", "2026-11-19"];
        let periods = texts.map(|text| Period::parse(text).unwrap());
        let spec = spec(Calendar::pairs(periods), "UTC", None);
        let rows = spec.periods(date(2026, 11, 1), date(2026, 11, 30));
        let found: Vec<_> =
            rows.iter().map(|row| format!("{} {}", row.period, row.closes_at)).collect();
        assert_eq!(
            found,
            [
                "2026-11-19T19:00Z 2026-11-19T20:00:00Z",
                "2026-11-19 2026-11-20T00:00:00Z",
                "2026-W47 2026-11-23T00:00:00Z",
                "2026-11 2026-12-01T00:00:00Z",
            ]
        );
        assert!(!spec.is_closed_day(date(2026, 11, 30)));
        assert!(spec.is_closed_day(date(2026, 12, 1)));
        let now = "2026-11-20T00:00:00Z".parse().unwrap();
        assert_eq!(spec.last_closed(now), Some(date(2026, 11, 19)));
    }

    #[test]
    fn due_after_moves_every_closing() {
        let spec =
            CalendarSpec { due_after: SignedDuration::from_mins(-90), ..daily("UTC", "16:00") };
        assert_eq!(due(&spec, "2026-11-19"), "2026-11-19T14:30:00Z");
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let spec = daily("America/New_York", "24:00");
        assert_eq!(spec.periods(date(9999, 12, 30), Date::MAX).len(), 2);
        assert_eq!(spec.periods(Date::MIN, date(-9999, 1, 2)).len(), 2);
        assert!(spec.last_closed(Timestamp::MAX).is_some());
        assert_eq!(spec.last_closed(Timestamp::MIN), None);
    }

    fn any_spec() -> impl Strategy<Value = CalendarSpec> {
        let calendar = prop_oneof![
            Just(Calendar::Daily),
            Just(Calendar::Weekdays),
            Just(Calendar::Xnys),
            (1_i8..=28, 1_i8..=28).prop_map(|(one, other)| {
                Calendar::pairs([one, other].map(|day| Period::Day(date(2026, 3, day))))
            }),
        ];
        let zone = prop_oneof![
            Just("UTC"),
            Just("America/New_York"),
            Just("Pacific/Auckland"),
            Just("Australia/Lord_Howe"),
        ];
        let closes_at = proptest::option::of((0_i8..24, 0_i8..60));
        (calendar, zone, closes_at, -30_i64..200).prop_map(|(calendar, zone, closes_at, hours)| {
            let closes_at = closes_at.map(|(hour, minute)| Time::constant(hour, minute, 0, 0));
            let due_after = SignedDuration::from_hours(hours);
            CalendarSpec { due_after, ..spec(calendar, zone, closes_at) }
        })
    }

    proptest! {
        #[test]
        fn the_last_closed_period_is_the_newest_due_one(spec in any_spec(), minute in 0_i64..525_600) {
            let now = Timestamp::from_second(1_767_225_600 + minute * 60).unwrap();
            let rows = spec.periods(date(2025, 11, 1), date(2027, 2, 1));
            prop_assert!(rows.is_sorted_by_key(|row| row.closes_at));
            let newest = rows.iter().rfind(|row| row.closes_at <= now);
            prop_assert_eq!(spec.last_closed(now), newest.and_then(|row| row.period.date()));
        }

        #[test]
        fn a_closing_is_never_before_its_civil_time_is_reached(
            day in 0_i64..3_650,
            (hour, minute) in (0_i8..24, 0_i8..60),
        ) {
            let spec = daily("Australia/Lord_Howe", &format!("{hour:02}:{minute:02}"));
            let day = date(2020, 1, 1).checked_add(SignedDuration::from_hours(24 * day)).unwrap();
            let civil = day.at(hour, minute, 0, 0);
            let reached = spec.due_at(Period::Day(day)).to_zoned(spec.timezone.clone());
            prop_assert!(reached.datetime() >= civil);
            let moment_before = reached.checked_sub(SignedDuration::from_nanos(1)).unwrap();
            prop_assert!(moment_before.datetime() < civil || reached.datetime() == civil);
        }
    }
}
