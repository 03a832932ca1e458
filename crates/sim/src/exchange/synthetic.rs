//! A world from a seed: habits of tickers, good and bad days, listings and delistings.

use super::{
    Correction, ExchangeSettings, Faults, Truth,
    chance::{between, draw, fraction},
    world::Seen,
};
use jiff::{SignedDuration, Timestamp, civil::Date};
use model::xnys;
use std::{fmt, io, ops::Range, path::PathBuf};

const ENTITIES_MAX: usize = 100_000;
const SESSIONS_MAX: usize = 5_000;
/// A session is at most this many days after the one before it.
const CLOSED_RUN_MAX_DAYS: usize = 31;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

/// Why there is no such world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A number out of its bounds.
    #[error("`{name}` must be from 1 to {max}, found {found}")]
    OutOfBounds {
        /// Of which setting.
        name: &'static str,
        /// The most it may be.
        max: usize,
        /// What it is.
        found: usize,
    },
    /// The calendar ends before the sessions do.
    #[error("the calendar of the exchange has no {days} sessions from {from} on")]
    NoSessions {
        /// The first day asked for.
        from: Date,
        /// The sessions asked for.
        days: usize,
    },
    /// A file of a world of files cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A line of it is not as expected.
    #[error("`{}`, line {line}: {problem}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Debug)]
pub(super) struct Synthetic {
    seed: u64,
    faults: Faults,
    sessions: Vec<Session>,
    // Sorted by symbol.
    tickers: Vec<Ticker>,
}

#[derive(Debug)]
struct Session {
    day: Date,
    closes_at: Timestamp,
    /// What all tickers are late by, in seconds.
    late: i64,
}

#[derive(Debug)]
struct Ticker {
    symbol: String,
    /// Sets this ticker's chances apart; its place by symbol is not known when they are drawn.
    number: u64,
    /// The sessions in which it is listed.
    listed: Range<usize>,
    /// After the close, in seconds.
    habit: i64,
    /// In millionths, one a session, from the one before the first on.
    closes: Vec<i64>,
}

impl Synthetic {
    pub(super) fn generate(settings: &ExchangeSettings) -> Result<Self, WorldError> {
        let ExchangeSettings { seed, entities, from, days, ref faults, .. } = *settings;
        for (name, found, max) in
            [("entities", entities, ENTITIES_MAX), ("days", days, SESSIONS_MAX)]
        {
            if !(1..=max).contains(&found) {
                return Err(WorldError::OutOfBounds { name, max, found });
            }
        }
        let sessions = sessions(seed, from, days).ok_or(WorldError::NoSessions { from, days })?;
        let mut tickers: Vec<_> = (0..entities).map(|n| Ticker::draw(seed, n, days)).collect();
        tickers.sort_by(|one, other| one.symbol.cmp(&other.symbol));
        Ok(Self { seed, faults: faults.clone(), sessions, tickers })
    }

    pub(super) fn listings(&self) -> impl Iterator<Item = (&str, Date, Option<Date>)> {
        self.tickers.iter().map(|ticker| {
            let until = self.sessions.get(ticker.listed.end);
            let until = until.and(self.sessions.get(ticker.listed.end.saturating_sub(1)));
            let from = self.sessions[ticker.listed.start].day;
            (ticker.symbol.as_str(), from, until.map(|session| session.day))
        })
    }

    /// The record that can be seen; `None`: no such ticker.
    pub(super) fn record(&self, symbol: &str, day: Date, now: Timestamp) -> Option<Seen> {
        let ticker = &self.tickers[self.position(symbol)?];
        let Some(session) = self.session(ticker, day) else { return Some(Seen::default()) };
        let Some(arrived_at) = self.arrived_at(ticker, session).filter(|at| *at <= now) else {
            return Some(Seen::default());
        };
        let corrected_at = self.corrected_at(ticker, session, arrived_at);
        let is_corrected = corrected_at.is_some_and(|at| at <= now);
        let is_renamed = self.is_renamed(session, now);
        let close_name = if is_renamed { "close_price" } else { "c" };
        let record = Some(self.render(ticker, session, is_corrected, close_name));
        Some(Seen { record, is_renamed })
    }

    pub(super) fn truth(&self) -> impl Iterator<Item = Truth> {
        self.tickers.iter().flat_map(move |ticker| {
            ticker.listed.clone().map(move |session| {
                let arrived_at = self.arrived_at(ticker, session);
                let record = arrived_at.map(|_| self.render(ticker, session, false, "c"));
                let corrected_at = arrived_at.and_then(|at| self.corrected_at(ticker, session, at));
                Truth {
                    entity: ticker.symbol.clone(),
                    day: self.sessions[session].day,
                    arrived_at,
                    record: record.unwrap_or_default(),
                    correction: corrected_at.map(|at| Correction {
                        at,
                        record: self.render(ticker, session, true, "c"),
                    }),
                }
            })
        })
    }

    pub(super) fn cell(&self, symbol: &str, day: Date) -> Option<usize> {
        let position = self.position(symbol)?;
        let session = self.session(&self.tickers[position], day)?;
        Some(position * self.sessions.len() + session)
    }

    pub(super) fn cells(&self) -> usize {
        self.tickers.len() * self.sessions.len()
    }

    fn position(&self, symbol: &str) -> Option<usize> {
        self.tickers.binary_search_by(|ticker| ticker.symbol.as_str().cmp(symbol)).ok()
    }

    fn session(&self, ticker: &Ticker, day: Date) -> Option<usize> {
        let session = self.sessions.binary_search_by(|session| session.day.cmp(&day)).ok()?;
        ticker.listed.contains(&session).then_some(session)
    }

    /// The close, the ticker's habit, the day's trouble, some noise; a few come much later, some
    /// never.
    fn arrived_at(&self, ticker: &Ticker, session: usize) -> Option<Timestamp> {
        let Session { closes_at, late, .. } = self.sessions[session];
        let place = [ticker.number, session as u64];
        if fraction(self.seed, "never", place) < self.faults.never {
            return None;
        }
        let noise = between(self.seed, "noise", place, 0, ticker.habit / 4 + MINUTE);
        let tail = match fraction(self.seed, "tail", place) {
            ..0.015 => between(self.seed, "tail length", place, 3 * HOUR, 26 * HOUR),
            _ => 0,
        };
        Some(closes_at + SignedDuration::from_secs(ticker.habit + late + noise + tail))
    }

    fn corrected_at(
        &self,
        ticker: &Ticker,
        session: usize,
        arrived_at: Timestamp,
    ) -> Option<Timestamp> {
        let place = [ticker.number, session as u64];
        let after = between(self.seed, "correction", place, 20 * HOUR, 70 * HOUR);
        (fraction(self.seed, "corrected", place) < self.faults.corrected)
            .then(|| arrived_at + SignedDuration::from_secs(after))
    }

    fn is_renamed(&self, session: usize, now: Timestamp) -> bool {
        let Some(rename) = self.faults.rename else { return false };
        let renamed = rename.first..rename.first.saturating_add(rename.sessions);
        if !renamed.contains(&session) {
            return false;
        }
        let last = renamed.end.min(self.sessions.len()) - 1;
        let fixed_at = self.sessions[last].closes_at.checked_add(rename.fixed_after);
        fixed_at.map_or(true, |fixed_at| now < fixed_at)
    }

    fn render(
        &self,
        ticker: &Ticker,
        session: usize,
        is_corrected: bool,
        close_name: &str,
    ) -> String {
        let place = [ticker.number, session as u64];
        let since = session - ticker.listed.start;
        let (before, mut close) = (ticker.closes[since], ticker.closes[since + 1]);
        if is_corrected {
            close += between(self.seed, "corrected by", place, 1, 40_000);
        }
        let open = before + before / 1_000_000 * between(self.seed, "open", place, -9_000, 9_000);
        let above = between(self.seed, "high", place, 0, 12_000);
        let below = between(self.seed, "low", place, 0, 12_000);
        let high = open.max(close) + close / 1_000_000 * above;
        let low = open.min(close) - open / 1_000_000 * below;
        let volume = between(self.seed, "volume", place, 1_000, 90_000_000);
        format!(
            r#"{{"t":"{}","o":{},"h":{},"l":{},"{close_name}":{},"v":{volume}}}"#,
            self.sessions[session].day,
            Micros(open),
            Micros(high),
            Micros(low),
            Micros(close)
        )
    }
}

fn sessions(seed: u64, from: Date, count: usize) -> Option<Vec<Session>> {
    let mut sessions: Vec<Session> = Vec::with_capacity(count);
    let mut day = from;
    let mut closed = 0;
    while sessions.len() < count {
        if let Some(closes_at) = xnys::closes_at(day) {
            let place = [sessions.len() as u64, 0];
            // One session in twelve is late as a whole.
            let late = match draw(seed, "late session", place) % 12 {
                0 => between(seed, "late by", place, HOUR, 5 * HOUR),
                _ => between(seed, "late by", place, 0, 15 * MINUTE),
            };
            sessions.push(Session { day, closes_at, late });
            closed = 0;
        } else {
            closed += 1;
            if closed > CLOSED_RUN_MAX_DAYS {
                return None;
            }
        }
        day = day.tomorrow().ok()?;
    }
    Some(sessions)
}

impl Ticker {
    fn draw(seed: u64, number: usize, sessions: usize) -> Self {
        let place = [number as u64, 0];
        let within = |purpose| {
            between(seed, purpose, place, 1, (sessions as i64 - 1).max(1)) as usize % sessions
        };
        let listed = match fraction(seed, "listing", place) {
            ..0.05 => within("listed from")..sessions,
            0.05..0.10 => 0..within("listed until").max(1),
            _ => 0..sessions,
        };
        let mut close = between(seed, "first close", place, 3_000_000, 400_000_000);
        let mut closes = vec![close];
        for session in listed.clone() {
            let change = between(seed, "change", [number as u64, session as u64], -30_000, 30_000);
            close = (close + close * change / 1_000_000).max(10_000);
            closes.push(close);
        }
        let habit = match fraction(seed, "habit", place) {
            ..0.7 => between(seed, "habit length", place, 5 * MINUTE, 45 * MINUTE),
            0.7..0.95 => between(seed, "habit length", place, 45 * MINUTE, 3 * HOUR),
            _ => between(seed, "habit length", place, 3 * HOUR, 5 * HOUR),
        };
        Self { symbol: symbol(number), number: number as u64, listed, habit, closes }
    }
}

/// Three letters, and more from the 17,577th on; each number another one.
fn symbol(number: usize) -> String {
    const TRIPLES: usize = 26 * 26 * 26;
    let letter = |n: usize| char::from(b'A' + (n % 26) as u8);
    // 7,919 is prime to 26, so this goes through all triples before one comes again.
    let triple = (number * 7_919 + 4_242) % TRIPLES;
    let mut symbol: String = [triple / 676, triple / 26, triple].map(letter).iter().collect();
    let mut round = number / TRIPLES;
    while round > 0 {
        symbol.push(letter(round - 1));
        round = (round - 1) / 26;
    }
    symbol
}

/// Millionths as a decimal with six places.
struct Micros(i64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_numbers_share_a_symbol() {
        let symbols: BTreeSet<_> = (0..ENTITIES_MAX).map(symbol).collect();
        assert_eq!(symbols.len(), ENTITIES_MAX);
    }

    #[test]
    fn millionths_print_as_decimals() {
        let texts = [12_345_678, 5, -1_000_001].map(|micros| Micros(micros).to_string());
        assert_eq!(texts, ["12.345678", "0.000005", "-1.000001"]);
    }
}
