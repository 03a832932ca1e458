//! Counts of cells to lines of a report, and to ratios.
//!
//! The ratios follow the response rates of survey research (AAPOR, "Standard Definitions", RR1 and
//! RR3): what is not expected leaves the denominator, what is undecided stays in it.

use model::{Cause, Family, Verdict};

/// So many cells in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCount {
    /// The state's word.
    pub state: String,
    /// Why, where the state has a cause.
    pub cause: Option<Cause>,
    /// How many.
    pub cells: u64,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The state's word.
    pub state: String,
    /// Why there is no usable data.
    pub cause: Option<Cause>,
    /// The cause's family.
    pub family: Option<Family>,
    /// The verdict in people's words.
    pub verdict: Option<Verdict>,
    /// How many cells.
    pub cells: u64,
}

/// How complete a source is.
#[derive(Debug, Clone, PartialEq)]
pub struct Completeness {
    /// All lines: present first, then by state and cause, those computed from the grid included.
    pub lines: Vec<Line>,
    /// Cells of the grid that are due.
    pub expected_due: u64,
    /// Cells with their records.
    pub present: u64,
    /// Present of those due that are not expected to be missing; `None` if there are none.
    pub strict: Option<f64>,
    /// Due cells for which there is neither a row nor a cause: always 0 when the books are right
    /// and the engine has had the time to ask.
    pub unasked: u64,
}

/// Joins what is stored with what the grid expects.
///
/// `expected` are all cells of the grid, `expected_due` those that are due. Stored cells may lie
/// outside of the grid (an entity that was taken from the list): they are counted as stored.
pub fn completeness(stored: &[StateCount], expected: u64, expected_due: u64) -> Completeness {
    let mut lines: Vec<Line> = stored
        .iter()
        .filter(|count| count.cells > 0)
        .map(|count| {
            let cause = count.cause;
            // A state file of a former format does not say why a cell waits.
            let waiting = (count.state == "waiting").then_some(Verdict::Undecided);
            Line {
                state: count.state.clone(),
                cause,
                family: cause.map(Cause::family),
                verdict: cause.map(|cause| cause.verdict(is_final(&count.state))).or(waiting),
                cells: count.cells,
            }
        })
        .collect();
    let touched: u64 = lines.iter().map(|line| line.cells).sum();
    let unasked = expected_due.saturating_sub(touched);
    let later = expected.saturating_sub(expected_due.max(touched));
    for (state, cause, cells) in
        [("due", Cause::NotAttempted, unasked), ("not_due", Cause::NotDue, later)]
    {
        if cells > 0 {
            lines.push(Line {
                state: state.to_owned(),
                cause: Some(cause),
                family: Some(cause.family()),
                verdict: Some(cause.verdict(false)),
                cells,
            });
        }
    }
    lines.sort_by_key(|line| (rank(&line.state), line.cause));
    let sum = |keep: &dyn Fn(&Line) -> bool| -> u64 {
        lines.iter().filter(|line| keep(line)).map(|line| line.cells).sum()
    };
    let present = sum(&|line| line.state == "present");
    let excluded = sum(&|line| line.family == Some(Family::ExpectedAbsent));
    let all = sum(&|_| true);
    let denominator = all.saturating_sub(excluded);
    let strict = (denominator > 0).then(|| present as f64 / denominator as f64);
    Completeness { lines, expected_due, present, strict, unasked }
}

fn is_final(state: &str) -> bool {
    matches!(state, "absent" | "given_up")
}

fn rank(state: &str) -> usize {
    const ORDER: [&str; 7] = ["present", "absent", "held", "given_up", "waiting", "due", "not_due"];
    ORDER.iter().position(|word| *word == state).unwrap_or(ORDER.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(state: &str, cause: Option<Cause>, cells: u64) -> StateCount {
        StateCount { state: state.to_owned(), cause, cells }
    }

    #[test]
    fn every_expected_cell_is_on_some_line() {
        let stored = [
            count("present", None, 90),
            count("absent", Some(Cause::SourceGap), 2),
            count("absent", Some(Cause::NoActivity), 3),
            count("waiting", Some(Cause::LateWatch), 1),
        ];
        let report = completeness(&stored, 120, 100);
        assert_eq!(report.lines.iter().map(|line| line.cells).sum::<u64>(), 120);
        assert_eq!((report.present, report.unasked), (90, 4));
        // 120 expected, without 3 quiet ones and 20 that are not due.
        assert_eq!(report.strict, Some(90.0 / 97.0));
        let verdicts: Vec<_> =
            report.lines.iter().map(|line| (line.state.as_str(), line.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("present", None),
                ("absent", Some(Verdict::ExpectedToBeMissing)),
                ("absent", Some(Verdict::TrulyMissing)),
                ("waiting", Some(Verdict::Undecided)),
                ("due", Some(Verdict::Undecided)),
                ("not_due", Some(Verdict::ExpectedToBeMissing)),
            ]
        );
    }

    #[test]
    fn nothing_expected_is_not_complete_but_not_evaluable() {
        assert_eq!(completeness(&[], 0, 0).strict, None);
    }
}
