//! Each attempt is sent once, ends once at most, and is what its server saw.

use super::{Checked, Violation, broken};
use model::AttemptId;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
///
/// An engine's requests arrive at the servers in the order in which it sent them, so the n-th
/// attempt of a life is the n-th arrival since that life began.
#[derive(Debug, Default)]
pub struct Attempts {
    arrivals: BTreeMap<AttemptId, usize>,
    open: BTreeSet<AttemptId>,
    next_arrival: usize,
    booked: BTreeSet<AttemptId>,
}

impl Attempts {
    /// A new engine begins, after so many arrivals at the servers.
    pub fn begin(&mut self, arrivals: usize) {
        self.open.clear();
        self.next_arrival = arrivals;
    }

    /// An attempt is sent.
    ///
    /// # Errors
    /// It was sent before.
    pub fn sent(&mut self, attempt: AttemptId) -> Checked {
        if self.arrivals.insert(attempt, self.next_arrival).is_some() {
            return broken("attempts are unique", format!("attempt {attempt} was sent twice"));
        }
        self.open.insert(attempt);
        self.next_arrival += 1;
        Ok(())
    }

    /// An attempt has ended; its place in the servers' log.
    ///
    /// # Errors
    /// It was not under way.
    pub fn ended(&mut self, attempt: AttemptId) -> Result<usize, Violation> {
        if !self.open.remove(&attempt) {
            broken("attempts end once", format!("attempt {attempt} ended and was not under way"))?;
        }
        Ok(self.arrivals[&attempt])
    }

    /// An attempt is in the ledger.
    ///
    /// # Errors
    /// It was there before.
    pub fn booked(&mut self, attempt: AttemptId) -> Checked {
        if self.booked.insert(attempt) {
            return Ok(());
        }
        broken("attempts are unique", format!("attempt {attempt} is in the ledger twice"))
    }

    /// Everything that was sent must be in the ledger at the end.
    ///
    /// # Errors
    /// Some attempt is not.
    pub fn finish(&self) -> Checked {
        match self.arrivals.keys().find(|attempt| !self.booked.contains(attempt)) {
            Some(attempt) => broken(
                "every attempt is in the ledger",
                format!("attempt {attempt} was sent and is not in the ledger"),
            ),
            None => Ok(()),
        }
    }

    /// The place in the servers' log of an attempt that was sent.
    pub fn arrival(&self, attempt: AttemptId) -> Option<usize> {
        self.arrivals.get(&attempt).copied()
    }

    /// How many were sent.
    pub fn count(&self) -> usize {
        self.arrivals.len()
    }
}
