//! Leases of nodes, as pure steps on one row: what each store does within one transaction.
//!
//! A node's row has two numbers that matter. `until_ms` is the end of all time that was ever granted
//! for the node, by the store's clock, and only an orderly release, by a holder that has stopped,
//! lowers it. `term` counts the holders: it is the fencing term that a holder names with each
//! renewal and release.
//!
//! A node is free when `until_ms` is not after the store's present. A claim grants the window
//! `[now, now + length)`. Since a claim needs `until_ms <= now`, and sets `until_ms` to the end of
//! what it grants, **the windows of a node's holders never overlap**. Clocks do not enter into this:
//! a store's clock that is stepped forward frees nodes early, and their next windows still begin
//! where the last ones end; one that is stepped back keeps nodes held for longer.
//!
//! Source of the fencing term: Gray and Cheriton, "Leases: an efficient fault-tolerant mechanism for
//! distributed file cache consistency", SOSP 1989; the holder's shorter view of its own lease (a
//! margin, and time counted from before the question) is theirs too.

/// A node's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct NodeRow {
    /// How many holders there have been.
    pub term: i64,
    /// The end of all time granted, in milliseconds since 1970.
    pub until_ms: i64,
}

/// What was granted, or what a renewal left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The fencing term.
    pub term: i64,
    /// The store's present, in milliseconds since 1970, read while the row was locked or before.
    pub now_ms: i64,
    /// The window's end.
    pub until_ms: i64,
}

/// Grants a node to a new holder, from now on. `None`: it is held.
pub fn claim(row: &mut NodeRow, now_ms: i64, length_ms: i64) -> Option<Grant> {
    if row.until_ms > now_ms {
        return None;
    }
    row.term += 1;
    row.until_ms = now_ms.saturating_add(length_ms);
    Some(Grant { term: row.term, now_ms, until_ms: row.until_ms })
}

/// Moves the end of a holder's window, never backwards. `None`: the lease was lost.
///
/// A window that is over may be renewed as long as nobody else has the node: what lies between was
/// granted to nobody.
pub fn renew(row: &mut NodeRow, term: i64, now_ms: i64, length_ms: i64) -> Option<Grant> {
    if row.term != term {
        return None;
    }
    row.until_ms = row.until_ms.max(now_ms.saturating_add(length_ms));
    Some(Grant { term, now_ms, until_ms: row.until_ms })
}

/// Takes a node back from a holder that has stopped and used time before `used_until_ms` only.
/// Whether it was the holder's.
pub fn release(row: &mut NodeRow, term: i64, used_until_ms: i64) -> bool {
    let held = row.term == term;
    if held {
        row.until_ms = row.until_ms.min(used_until_ms);
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_node_is_refused_and_a_free_one_granted_from_now_on() {
        let mut row = NodeRow::default();
        let first = claim(&mut row, 100, 50).unwrap();
        assert_eq!(first, Grant { term: 1, now_ms: 100, until_ms: 150 });
        assert_eq!(claim(&mut row, 149, 50), None);
        assert_eq!(claim(&mut row, 150, 50).unwrap().term, 2);
        assert_eq!(renew(&mut row, 1, 150, 50), None);
    }

    #[test]
    fn a_renewal_never_shortens_and_may_come_late() {
        let mut row = NodeRow::default();
        let term = claim(&mut row, 100, 50).unwrap().term;
        assert_eq!(renew(&mut row, term, 20, 50).unwrap().until_ms, 150);
        assert_eq!(renew(&mut row, term, 500, 50).unwrap().until_ms, 550);
    }

    #[test]
    fn a_release_frees_what_was_not_used() {
        let mut row = NodeRow::default();
        let term = claim(&mut row, 100, 50).unwrap().term;
        assert!(!release(&mut row, term + 1, 0));
        assert!(release(&mut row, term, 121));
        assert_eq!(claim(&mut row, 120, 50), None);
        assert_eq!(claim(&mut row, 121, 50).unwrap().term, 2);
        // What is said late, by the former holder, changes nothing.
        assert!(!release(&mut row, term, 0));
        assert_eq!(row.until_ms, 171);
    }
}
