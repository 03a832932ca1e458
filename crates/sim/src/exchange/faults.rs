//! How often and in which ways the server misbehaves.

use super::chance::fraction;
use jiff::SignedDuration;

/// After this many faults in a row for one cell comes a right answer.
const FAULTS_IN_A_ROW_MAX: u32 = 2;

/// Shares of answers (0 to 1) that go wrong, and of cells that are special.
///
/// The kinds of wrong answers exclude each other; together they should stay below 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// 500.
    pub server_error: f64,
    /// 503 with `Retry-After`.
    pub unavailable: f64,
    /// A body that breaks off: half of what `Content-Length` promises, then the connection ends.
    pub truncated: f64,
    /// 200 with nothing.
    pub empty_body: f64,
    /// 200 with a page that asks to prove one is no robot.
    pub block_page: f64,
    /// Cells whose data never comes.
    pub never: f64,
    /// Cells whose close is corrected a day to three days after it came.
    pub corrected: f64,
    /// A field that has another name for a while.
    pub rename: Option<Rename>,
}

/// For some sessions the field `c` is called `close_price`, until that is put right: from then on the
/// same days have it under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rename {
    /// The first such session, counted from 0.
    pub first: usize,
    /// How many.
    pub sessions: usize,
    /// When it is put right, after the close of the last of them.
    pub fixed_after: SignedDuration,
}

impl Faults {
    /// A server without fault.
    pub const NONE: Self = Self {
        server_error: 0.0,
        unavailable: 0.0,
        truncated: 0.0,
        empty_body: 0.0,
        block_page: 0.0,
        never: 0.0,
        corrected: 0.0,
        rename: None,
    };
}

impl Default for Faults {
    /// A server on an ordinary bad day: 4 of 100 answers wrong, and two sessions renamed until eight
    /// hours after the second one's close.
    fn default() -> Self {
        Self {
            server_error: 0.01,
            unavailable: 0.01,
            truncated: 0.008,
            empty_body: 0.006,
            block_page: 0.006,
            never: 0.004,
            corrected: 0.003,
            rename: Some(Rename {
                first: 7,
                sessions: 2,
                fixed_after: SignedDuration::from_hours(8),
            }),
        }
    }
}

/// One way in which an answer goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    ServerError,
    Unavailable,
    Truncated,
    EmptyBody,
    BlockPage,
}

impl Faults {
    /// What goes wrong with the request of this number, counted from 0, for a cell.
    pub(super) fn decide(&self, seed: u64, cell: usize, number: u32) -> Option<Fault> {
        if number % (FAULTS_IN_A_ROW_MAX + 1) == FAULTS_IN_A_ROW_MAX {
            return None;
        }
        let mut left = fraction(seed, "fault", [cell as u64, u64::from(number)]);
        for (share, fault) in [
            (self.server_error, Fault::ServerError),
            (self.unavailable, Fault::Unavailable),
            (self.truncated, Fault::Truncated),
            (self.empty_body, Fault::EmptyBody),
            (self.block_page, Fault::BlockPage),
        ] {
            if left < share {
                return Some(fault);
            }
            left -= share;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_a_server_that_always_fails_answers_in_the_end() {
        let broken = Faults { server_error: 1.0, ..Faults::NONE };
        for cell in 0..100 {
            let failed = (0..100).take_while(|n| broken.decide(1, cell, *n).is_some()).count();
            assert_eq!(failed, 2);
        }
    }

    #[test]
    fn faults_come_in_their_shares_and_repeat() {
        let faults = Faults { server_error: 0.1, block_page: 0.2, ..Faults::NONE };
        let decided: Vec<_> = (0..10_000).map(|cell| faults.decide(9, cell, 0)).collect();
        let count = |fault| decided.iter().filter(|found| **found == Some(fault)).count();
        assert!((900..1100).contains(&count(Fault::ServerError)));
        assert!((1850..2150).contains(&count(Fault::BlockPage)));
        assert_eq!(count(Fault::Truncated), 0);
        assert!((0..10_000).all(|cell| faults.decide(9, cell, 0) == decided[cell]));
    }
}
