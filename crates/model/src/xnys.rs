//! The New York Stock Exchange (market identifier XNYS): its trading days and closing times.
//!
//! Rules for what recurs, lists for what happened once. Certain from [`CERTAIN_FROM`] to
//! [`CERTAIN_UNTIL`], where both are compared with date lists kept as fixtures. Later years follow
//! the same rules and lack only what nobody can know yet: days of mourning, storms, changed
//! customs. Earlier years are not right: other holidays and one-off closures were in force.
//!
//! Source: NYSE Rule 7.2 (holidays and their observance) and the exchange's yearly announcements
//! of early closes.

use jiff::{
    Timestamp,
    civil::{Date, Time, Weekday, date, time},
    tz::Offset,
};

/// The first day for which [`session`] is known to be right.
pub const CERTAIN_FROM: Date = date(2005, 1, 1);
/// The last day for which [`session`] is known to be right.
pub const CERTAIN_UNTIL: Date = date(2026, 12, 31);

/// Days without trading that no rule foretells; sorted.
const CLOSED_ONCE: &[Date] = &[
    date(2007, 1, 2),   // mourning for Gerald Ford
    date(2012, 10, 29), // hurricane Sandy
    date(2012, 10, 30), // hurricane Sandy
    date(2018, 12, 5),  // mourning for George H. W. Bush
    date(2025, 1, 9),   // mourning for Jimmy Carter
];

/// The year in which Juneteenth became a holiday of the exchange.
const JUNETEENTH_FROM: i16 = 2022;

/// How long the exchange trades on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// Until 16:00 in New York.
    Full,
    /// Until 13:00 in New York.
    Short,
}

impl Session {
    /// When trading ends, by the clocks of New York.
    pub fn closing_time(self) -> Time {
        match self {
            Self::Full => time(16, 0, 0, 0),
            Self::Short => time(13, 0, 0, 0),
        }
    }
}

/// The session of a day; `None` when the exchange is closed all day.
pub fn session(date: Date) -> Option<Session> {
    let weekend = matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
    if weekend || is_holiday(date) || CLOSED_ONCE.binary_search(&date).is_ok() {
        None
    } else if is_short(date) {
        Some(Session::Short)
    } else {
        Some(Session::Full)
    }
}

/// The instant at which the session of a day ends; `None` when there is no session.
///
/// Right since 1987. The law of daylight saving is written down here rather than looked up, so
/// that the calendar needs no files of the machine it runs on.
pub fn closes_at(date: Date) -> Option<Timestamp> {
    let offset = Offset::constant(if is_daylight_saving(date) { -4 } else { -5 });
    offset.to_timestamp(date.to_datetime(session(date)?.closing_time())).ok()
}

/// Whether a weekday is a holiday by the rules in force since 2005.
fn is_holiday(date: Date) -> bool {
    let is_nth =
        |nth: i8, weekday: Weekday| date.weekday() == weekday && (date.day() + 6) / 7 == nth;
    match date.month() {
        // New Year's Day moves from a Sunday to Monday; on a Saturday it is not made up for.
        1 => {
            date.day() == 1
                || (date.day() == 2 && date.weekday() == Weekday::Monday)
                || is_nth(3, Weekday::Monday)
        }
        2 => is_nth(3, Weekday::Monday),
        3 | 4 => is_good_friday(date),
        5 => date.weekday() == Weekday::Monday && date.day() > 24,
        6 => date.year() >= JUNETEENTH_FROM && is_observance(date, 19),
        7 => is_observance(date, 4),
        9 => is_nth(1, Weekday::Monday),
        11 => is_nth(4, Weekday::Thursday),
        12 => is_observance(date, 25),
        _ => false,
    }
}

/// Whether a session ends early: before Independence Day, after Thanksgiving, on Christmas Eve.
///
/// A Friday before these holidays is their observance, and closed.
fn is_short(date: Date) -> bool {
    let before_friday = date.weekday().to_monday_one_offset() < 5;
    match (date.month(), date.day()) {
        // Until 2012 a Wednesday was a full day; from 2005 on there was none.
        (7, 3) | (12, 24) => before_friday,
        (11, 23..=29) => date.weekday() == Weekday::Friday,
        _ => false,
    }
}

/// Whether the holiday on the given day of this month is observed on `date`: a Saturday's on the
/// Friday before, a Sunday's on the Monday after.
fn is_observance(date: Date, day: i8) -> bool {
    match date.weekday() {
        Weekday::Friday => date.day() == day || date.day() + 1 == day,
        Weekday::Monday => date.day() == day || date.day() - 1 == day,
        _ => date.day() == day,
    }
}

/// Whether `date` is two days before Easter Sunday.
fn is_good_friday(date: Date) -> bool {
    date.weekday() == Weekday::Friday
        && date
            .checked_add(jiff::SignedDuration::from_hours(48))
            .is_ok_and(|sunday| (sunday.month(), sunday.day()) == easter(date.year()))
}

/// Month and day of Easter Sunday in a year of the Gregorian calendar.
///
/// Source: "To find Easter", Nature 13 (1876), p. 487; as in Meeus, "Astronomical Algorithms"
/// (1991), chapter 8.
fn easter(year: i16) -> (i8, i8) {
    let year = i32::from(year);
    let golden = year % 19;
    let (century, year_of_century) = (year / 100, year % 100);
    let moon_shift = (century - (century + 8) / 25 + 1) / 3;
    let epact = (19 * golden + century - century / 4 - moon_shift + 15) % 30;
    let weekday =
        (32 + 2 * (century % 4) + 2 * (year_of_century / 4) - epact - year_of_century % 4) % 7;
    let late = (golden + 11 * epact + 22 * weekday) / 451;
    let day = epact + weekday - 7 * late + 114;
    ((day / 31) as i8, (day % 31 + 1) as i8)
}

/// Whether New York's clocks are an hour ahead in the afternoon of `date`.
fn is_daylight_saving(date: Date) -> bool {
    // Energy Policy Act of 2005, in force since 2007; the Uniform Time Act as of 1986 before.
    let ((first_month, first_sunday), (last_month, last_sunday)) =
        if date.year() >= 2007 { ((3, 2), (11, 1)) } else { ((4, 1), (10, -1)) };
    let nth_sunday = |month, nth| {
        date.first_of_year().with().month(month).build()?.nth_weekday_of_month(nth, Weekday::Sunday)
    };
    let begins = nth_sunday(first_month, first_sunday);
    let ends = nth_sunday(last_month, last_sunday);
    begins.is_ok_and(|begins| begins <= date) && ends.is_ok_and(|ends| date < ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    const CLOSED_WEEKDAYS: &str = include_str!("../tests/fixtures/xnys-closed-weekdays.txt");
    const EARLY_CLOSES: &str = include_str!("../tests/fixtures/xnys-early-closes.txt");

    fn fixture(text: &str) -> Vec<Date> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.parse().unwrap()).collect()
    }

    fn certain_weekdays(is_listed: impl Fn(Date) -> bool) -> Vec<Date> {
        CERTAIN_FROM
            .series(jiff::ToSpan::days(1))
            .take_while(|date| *date <= CERTAIN_UNTIL)
            .filter(|date| date.weekday().to_monday_one_offset() <= 5 && is_listed(*date))
            .collect()
    }

    #[test]
    fn closed_weekdays_equal_the_published_list() {
        let closed = certain_weekdays(|date| session(date).is_none());
        assert_eq!(closed.len(), 205);
        assert_eq!(closed, fixture(CLOSED_WEEKDAYS));
    }

    #[test]
    fn early_closes_equal_the_published_list() {
        let short = certain_weekdays(|date| session(date) == Some(Session::Short));
        assert_eq!(short.len(), 47);
        assert_eq!(short, fixture(EARLY_CLOSES));
    }

    #[test]
    fn weekends_have_no_session() {
        assert_eq!(session(date(2026, 11, 21)), None);
        assert_eq!(session(date(2026, 11, 22)), None);
        assert_eq!(closes_at(date(2026, 11, 22)), None);
    }

    #[test]
    fn closing_instants_agree_with_the_time_zone_database() {
        let new_york = TimeZone::get("America/New_York").unwrap();
        for date in certain_weekdays(|date| session(date).is_some()) {
            let closing = date.to_datetime(session(date).unwrap().closing_time());
            let expected = new_york.to_timestamp(closing).unwrap();
            assert_eq!(closes_at(date), Some(expected), "{date}");
        }
    }
}
