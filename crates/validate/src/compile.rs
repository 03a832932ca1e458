//! From a spec to rules over columns, once per source version.

use crate::bound::{self, Rounding};
use crate::check::{Rule, Test};
use crate::validator::Validator;
use crate::view::{Kind, bounded};
use arrow::datatypes::Schema;
use model::expect::{Check, ExpectSpec};
use regex::Regex;

/// An expectation that cannot be checked, or could never say anything.
#[derive(Debug, thiserror::Error)]
pub enum ExpectError {
    /// A check looks at a field that is not declared.
    #[error("`{check}` looks at `{field}`, which is no declared field; there are: {known}")]
    UnknownField {
        /// The check.
        check: String,
        /// The field it names.
        field: String,
        /// The declared fields.
        known: String,
    },
    /// A part of the key is neither a field nor `entity` nor `period`.
    #[error(
        "the key has `{name}`, which is no declared field, nor `entity` or `period`; there are: {known}"
    )]
    UnknownKey {
        /// The part.
        name: String,
        /// The declared fields.
        known: String,
    },
    /// A part of the key is there twice.
    #[error("the key has `{name}` twice")]
    KeyTwice {
        /// The part.
        name: String,
    },
    /// A check that the field's type does not have.
    #[error("`{check}` does not apply to a field of type {kind}, only to {allowed}")]
    WrongType {
        /// The check.
        check: String,
        /// The field's type.
        kind: String,
        /// The types it applies to.
        allowed: &'static str,
    },
    /// A bound or value that is not of the field's type.
    #[error("`{text}` in `{check}` is not a value of type {kind}")]
    Value {
        /// The check.
        check: String,
        /// What was found.
        text: String,
        /// The field's type.
        kind: &'static str,
    },
    /// No value can be between the bounds.
    #[error("`{check}` lets no value pass: `min` is above `max`")]
    Reversed {
        /// The check.
        check: String,
    },
    /// A check without bounds or values.
    #[error("`{check}` says nothing: {missing}")]
    Vacuous {
        /// The check.
        check: String,
        /// What is missing.
        missing: &'static str,
    },
    /// A regular expression that is none.
    #[error("the pattern of `{check}` is not a regular expression")]
    Pattern {
        /// The check.
        check: String,
        /// What is wrong with it.
        #[source]
        cause: Box<regex::Error>,
    },
    /// No number of records is right.
    #[error("`records_per_cell` lets no cell pass: at least {min}, at most {max}")]
    Records {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
}

/// A part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyPart {
    Entity,
    Period,
    Column(usize),
}

pub(crate) fn compile(spec: &ExpectSpec, schema: &Schema) -> Result<Validator, ExpectError> {
    if let Some(records) = spec.records_per_cell
        && let Some(max) = records.max
        && max < records.min
    {
        return Err(ExpectError::Records { min: records.min, max });
    }
    let rules = spec.checks.iter().map(|check| rule(check, schema)).collect::<Result<_, _>>()?;
    let mut key = Vec::with_capacity(spec.key.len());
    for name in &spec.key {
        let part = match name.as_str() {
            "entity" => KeyPart::Entity,
            "period" => KeyPart::Period,
            _ => KeyPart::Column(schema.index_of(name).map_err(|_| ExpectError::UnknownKey {
                name: bounded(name),
                known: known(schema),
            })?),
        };
        if key.iter().any(|(other, _)| other == name) {
            return Err(ExpectError::KeyTwice { name: bounded(name) });
        }
        key.push((name.clone(), part));
    }
    key.sort_by(|(left, _), (right, _)| left.cmp(right));
    let column = |part: &KeyPart| match part {
        KeyPart::Column(column) => Some(*column),
        KeyPart::Entity | KeyPart::Period => None,
    };
    let key_columns = key.iter().filter_map(|(_, part)| column(part)).collect();
    Ok(Validator { rules, key, key_columns, records_per_cell: spec.records_per_cell })
}

fn known(schema: &Schema) -> String {
    let names: Vec<&str> =
        schema.fields().iter().take(30).map(|field| field.name().as_str()).collect();
    bounded(&names.join(", "))
}

fn rule(check: &Check, schema: &Schema) -> Result<Rule, ExpectError> {
    let label = check.label();
    let column = schema.index_of(check.field()).map_err(|_| ExpectError::UnknownField {
        check: bounded(&label),
        field: bounded(check.field()),
        known: known(schema),
    })?;
    let data_type = schema.field(column).data_type();
    let kind = Kind::of(data_type).ok_or_else(|| ExpectError::WrongType {
        check: bounded(&label),
        kind: data_type.to_string(),
        allowed: "declared fields",
    })?;
    let test = Typed { label: &label, kind }.test(check)?;
    Ok(Rule { label, column, kind, test })
}

struct Typed<'c> {
    label: &'c str,
    kind: Kind,
}

impl Typed<'_> {
    fn test(&self, check: &Check) -> Result<Test, ExpectError> {
        match check {
            Check::NotNull { .. } => Ok(Test::NotNull),
            Check::Between { min, max, .. } => self.between(min.as_deref(), max.as_deref()),
            Check::OneOf { values, .. } => self.one_of(values),
            Check::Matches { pattern, .. } => self.pattern(pattern),
            Check::EqualsEntity { .. } => match self.kind {
                Kind::Text | Kind::Int => Ok(Test::Entity),
                _ => Err(self.wrong_type("text, int")),
            },
            Check::EqualsPeriod { .. } => match self.kind {
                Kind::Text | Kind::Date | Kind::Timestamp => Ok(Test::Period),
                _ => Err(self.wrong_type("text, date, timestamp")),
            },
        }
    }

    fn between(&self, min: Option<&str>, max: Option<&str>) -> Result<Test, ExpectError> {
        if min.is_none() && max.is_none() {
            return Err(self.vacuous("neither `min` nor `max` is given"));
        }
        let (test, reversed) = match self.kind {
            Kind::Bool => {
                return Err(self.wrong_type("text, int, float, decimal, date, timestamp"));
            }
            Kind::Text => {
                let reversed = min.zip(max).is_some_and(|(min, max)| min > max);
                let (min, max) = (min.map(str::to_owned), max.map(str::to_owned));
                (Test::TextBetween(min, max), reversed)
            }
            Kind::Float => {
                let read = |text| bound::float(text).ok_or_else(|| self.value(text));
                let min = min.map_or(Ok(f64::NEG_INFINITY), read)?;
                let max = max.map_or(Ok(f64::INFINITY), read)?;
                (Test::FloatBetween(min, max), min > max)
            }
            _ => {
                let min = min.map_or(Ok(i128::MIN), |text| self.exact(text, Rounding::Up))?;
                let max = max.map_or(Ok(i128::MAX), |text| self.exact(text, Rounding::Down))?;
                (Test::ExactBetween(min, max), min > max)
            }
        };
        if reversed {
            return Err(ExpectError::Reversed { check: bounded(self.label) });
        }
        Ok(test)
    }

    fn one_of(&self, values: &[String]) -> Result<Test, ExpectError> {
        if values.is_empty() {
            return Err(self.vacuous("no value is given"));
        }
        match self.kind {
            Kind::Text => Ok(Test::TextIn(values.to_vec())),
            Kind::Float => {
                let read = |text: &String| bound::float(text).ok_or_else(|| self.value(text));
                Ok(Test::FloatIn(values.iter().map(read).collect::<Result<_, _>>()?))
            }
            _ => {
                let read = |text: &String| self.exact(text, Rounding::None);
                Ok(Test::ExactIn(values.iter().map(read).collect::<Result<_, _>>()?))
            }
        }
    }

    fn pattern(&self, pattern: &str) -> Result<Test, ExpectError> {
        if self.kind != Kind::Text {
            return Err(self.wrong_type("text"));
        }
        // By itself first: `a)|(b` must not become one when it is wrapped.
        Regex::new(pattern)
            .and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z")))
            .map(Test::Pattern)
            .map_err(|cause| ExpectError::Pattern {
                check: bounded(self.label),
                cause: Box::new(cause),
            })
    }

    /// A value of a type that [`crate::view::View::exact`] gives.
    fn exact(&self, text: &str, rounding: Rounding) -> Result<i128, ExpectError> {
        match self.kind {
            Kind::Int => bound::decimal(text, 0, rounding),
            Kind::Decimal { scale } => bound::decimal(text, scale, rounding),
            Kind::Date => bound::day(text).map(i128::from),
            Kind::Timestamp => bound::micros(text, rounding).map(i128::from),
            Kind::Bool if text == "true" => Some(1),
            Kind::Bool if text == "false" => Some(0),
            Kind::Bool | Kind::Text | Kind::Float => None,
        }
        .ok_or_else(|| self.value(text))
    }

    fn value(&self, text: &str) -> ExpectError {
        let (check, text) = (bounded(self.label), bounded(text));
        ExpectError::Value { check, text, kind: self.kind.name() }
    }

    fn vacuous(&self, missing: &'static str) -> ExpectError {
        ExpectError::Vacuous { check: bounded(self.label), missing }
    }

    fn wrong_type(&self, allowed: &'static str) -> ExpectError {
        let kind = self.kind.name().to_owned();
        ExpectError::WrongType { check: bounded(self.label), kind, allowed }
    }
}
