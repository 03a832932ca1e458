//! Prices and budgets, exact to a millionth of the project's unit of account.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Mul, Sub},
};

/// An amount in millionths. Sums saturate rather than wrap.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Money {
    /// Millionths of the unit of account.
    pub micros: i64,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self { micros: 0 };

    /// From a number of the unit of account; `None` unless finite, not negative and below 10^12.
    pub fn from_units(units: f64) -> Option<Self> {
        (units.is_finite() && (0.0..1e12).contains(&units))
            .then(|| Self { micros: (units * 1e6).round() as i64 })
    }

    /// As a number of the unit of account, for display and ratios.
    pub fn as_units(self) -> f64 {
        self.micros as f64 / 1e6
    }
}

/// The most that may be spent; `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// On the cells of one period of a source.
    pub per_period: Option<Money>,
    /// In a UTC day.
    pub per_day: Option<Money>,
    /// In a UTC month.
    pub per_month: Option<Money>,
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { micros: self.micros.saturating_add(other.micros) }
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { micros: self.micros.saturating_sub(other.micros) }
    }
}

impl Mul<i64> for Money {
    type Output = Self;
    fn mul(self, count: i64) -> Self {
        Self { micros: self.micros.saturating_mul(count) }
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.as_units());
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.pad(text)
    }
}
