//! What an answer's head states of the server's limits.
//!
//! Read are the drafts of the IETF's `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers: 6
//! and before with three fields, 7 with a dictionary, from 8 on with named policies) and the
//! `X-RateLimit-*` and `X-Rate-Limit-*` fields that were there before any standard, whose reset is
//! a delay or a point in time of many forms. The younger form counts before the older; what it
//! leaves open the older may fill, if both state the same quota.
//!
//! A server may state anything. Only bounded, consistent values come out; the rest is left out
//! and noted as [`StatedLimit::nonsense`]. It deliberately decides nothing: how far a statement is
//! believed is for `pace`.

use crate::retry_after::{is_absurd, number, seconds_of, seconds_until};
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use std::time::{Duration, SystemTime};

/// The longest value that is read.
const VALUE_LIMIT_BYTES: usize = 2048;
/// The most items (and the most fields of one name) that are read.
const ITEMS_MAX: usize = 32;
/// A larger number is a way to say "unlimited".
const QUOTA_MAX: f64 = 1e12;
/// No window and no reset is longer: a leap year.
const DURATION_MAX: Duration = Duration::from_hours(366 * 24);
/// How long ago a reset may be, by clocks that differ, to be taken for now.
const PAST_MAX_SECONDS: f64 = 86_400.0;

/// What an answer's head states of the server's limits. Every part may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StatedLimit {
    /// Requests in a window, above 0.
    pub quota: Option<u64>,
    /// How long a window is: above 0, at most 366 days.
    pub window: Option<Duration>,
    /// Requests that are left of the quota, at most the quota.
    pub remaining: Option<u64>,
    /// How long until more is left, at most 366 days.
    pub reset_after: Option<Duration>,
    /// Whether a field about limits, `Retry-After` among them, was there of which something had to be
    /// left out or bounded.
    pub nonsense: bool,
}

/// Reads what is stated of limits. Points in time are measured against the server's own clock, its
/// `Date`, where it tells it.
pub fn stated_limit(headers: &HeaderMap, wall_now: Timestamp) -> StatedLimit {
    let is_about_limits = |name: &HeaderName| {
        ["ratelimit", "x-rate"].iter().any(|start| name.as_str().starts_with(start))
    };
    let is_absurd = is_absurd(headers, wall_now);
    if !headers.keys().any(is_about_limits) {
        return StatedLimit { nonsense: is_absurd, ..StatedLimit::default() };
    }
    let mut reader = Reader { headers, wall_now, nonsense: false };
    let mut stated = reader.standard();
    for fields in &PLAIN_FIELDS {
        stated = stated.filled_by(reader.plain(fields));
    }
    let remaining = reader.within(stated.remaining, stated.quota);
    let nonsense = reader.nonsense || is_absurd;
    StatedLimit { remaining, nonsense, ..stated }
}

/// The names of fields that each have one number.
struct PlainFields {
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
    reset_after: &'static str,
}

const PLAIN_FIELDS: [PlainFields; 2] = [
    PlainFields {
        limit: "x-ratelimit-limit",
        remaining: "x-ratelimit-remaining",
        reset: "x-ratelimit-reset",
        reset_after: "x-ratelimit-reset-after",
    },
    PlainFields {
        limit: "x-rate-limit-limit",
        remaining: "x-rate-limit-remaining",
        reset: "x-rate-limit-reset",
        reset_after: "x-rate-limit-reset-after",
    },
];

impl StatedLimit {
    fn filled_by(self, older: Self) -> Self {
        if self.quota.is_some() && older.quota.is_some() && self.quota != older.quota {
            return self;
        }
        Self {
            quota: self.quota.or(older.quota),
            window: self.window.or(older.window),
            remaining: self.remaining.or(older.remaining),
            reset_after: self.reset_after.or(older.reset_after),
            nonsense: self.nonsense,
        }
    }
}

/// A part of a value between commas.
struct Item<'a> {
    /// Of a dictionary (`limit=100`).
    key: Option<&'a str>,
    value: &'a str,
    params: Vec<(&'a str, &'a str)>,
}

impl<'a> Item<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = outside_quotes(text, b';');
        let first = parts.next().unwrap_or_default().trim();
        let (key, value) = match first.split_once('=') {
            Some((key, value)) if !first.starts_with(['"', ':']) => {
                (Some(key.trim()), value.trim())
            }
            _ => (None, first),
        };
        let params = parts.map(|part| match part.split_once('=') {
            Some((key, value)) => (key.trim(), value.trim()),
            None => (part.trim(), ""),
        });
        Self { key, value, params: params.take(ITEMS_MAX).collect() }
    }

    fn param(&self, key: &str) -> Option<&'a str> {
        self.params.iter().find(|(found, _)| *found == key).map(|(_, value)| *value)
    }
}

/// Cuts a text at a separator that does not stand in a quoted string.
fn outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character: char| {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        }
        !quoted && character == char::from(separator)
    })
}

/// A quota with its window and, from draft 8 on, its name.
struct Policy<'a> {
    name: Option<&'a str>,
    quota: u64,
    window: Option<Duration>,
    /// Whether it counts something else than requests.
    foreign: bool,
}

impl Policy<'_> {
    /// Requests per second, if it were used up evenly.
    fn rate(&self) -> f64 {
        self.window.map_or(f64::INFINITY, |window| self.quota as f64 / window.as_secs_f64())
    }
}

struct Reader<'a> {
    headers: &'a HeaderMap,
    wall_now: Timestamp,
    nonsense: bool,
}

impl<'a> Reader<'a> {
    /// The IETF's fields.
    fn standard(&mut self) -> StatedLimit {
        let mut policies = self.policies("ratelimit-policy");
        let (keyed, named): (Vec<_>, Vec<_>) =
            self.items("ratelimit").into_iter().partition(|item| item.key.is_some());
        if !keyed.is_empty() {
            self.nonsense |= !named.is_empty();
            return self.dictionary(&keyed, &policies);
        }
        if !named.is_empty() {
            return self.named(&named, &policies);
        }
        let limits = self.items("ratelimit-limit");
        let limit = limits.first().and_then(|limit| self.quota(limit.value));
        policies.extend(self.policies_beside(&limits));
        let remaining = self.only("ratelimit-remaining").and_then(|text| self.count(text));
        let reset_after = self.only("ratelimit-reset").and_then(|text| self.reset(text));
        if limit.is_none() && !limits.is_empty() {
            // Nothing is known of what remains of it.
            return StatedLimit::default();
        }
        self.with_policy(limit, remaining, reset_after, &policies)
    }

    /// Draft 7: `limit=100, remaining=50, reset=30`.
    fn dictionary(&mut self, items: &[Item<'a>], policies: &[Policy<'a>]) -> StatedLimit {
        let mut of = |key: &str| {
            let mut found = items.iter().filter(|item| item.key == Some(key));
            let first = found.next();
            self.nonsense |= found.any(|item| Some(item.value) != first.map(|first| first.value));
            first.map(|item| item.value)
        };
        let (limit, remaining, reset) = (of("limit"), of("remaining"), of("reset"));
        self.nonsense |= limit.is_none() && remaining.is_none() && reset.is_none();
        let quota = limit.and_then(|text| self.quota(text));
        if limit.is_some() && quota.is_none() {
            return StatedLimit::default();
        }
        let remaining = remaining.and_then(|text| self.count(text));
        let reset_after = reset.and_then(|text| self.reset(text));
        self.with_policy(quota, remaining, reset_after, policies)
    }

    /// Drafts 6 and 7: one limit, and policies of which one may be it.
    fn with_policy(
        &mut self,
        quota: Option<u64>,
        remaining: Option<u64>,
        reset_after: Option<Duration>,
        policies: &[Policy<'a>],
    ) -> StatedLimit {
        let policies: Vec<_> = policies.iter().filter(|policy| !policy.foreign).collect();
        let policy = match (quota, &policies[..]) {
            (Some(_), [only]) => Some(*only),
            // The window of a quota that is left after its reset; else the slowest.
            (Some(quota), _) => {
                let same = || policies.iter().copied().filter(|policy| policy.quota == quota);
                let enough =
                    same().filter(|policy| reset_after.is_some() && policy.window >= reset_after);
                let nearest = enough.min_by_key(|policy| policy.window);
                nearest.or_else(|| same().max_by_key(|policy| policy.window))
            }
            // The one that allows the fewest requests in the long run.
            (None, _) => {
                let slowest =
                    |left: &&Policy<'_>, right: &&Policy<'_>| left.rate().total_cmp(&right.rate());
                policies.iter().copied().min_by(slowest)
            }
        };
        let quota = quota.or(policy.map(|policy| policy.quota));
        StatedLimit {
            quota,
            window: policy.and_then(|policy| policy.window),
            remaining: self.within(remaining, quota),
            reset_after,
            nonsense: false,
        }
    }

    /// From draft 8 on: `"name";r=50;t=30`. The item of which the least is left counts.
    fn named(&mut self, items: &[Item<'a>], policies: &[Policy<'a>]) -> StatedLimit {
        let mut found: Option<(f64, StatedLimit)> = None;
        for item in items {
            let policy = match policies {
                [only] => Some(only),
                _ => policies.iter().find(|policy| policy.name == name(item.value)),
            };
            if policy.is_some_and(|policy| policy.foreign) {
                continue;
            }
            let quota = policy.map(|policy| policy.quota);
            let left = name(item.value).and_then(|_| item.param("r"));
            let Some(remaining) = left.and_then(|left| self.count(left)) else {
                self.nonsense = true;
                continue;
            };
            let reset_after = item.param("t").and_then(|text| self.reset(text));
            let remaining = self.within(Some(remaining), quota);
            let share = match (remaining, quota) {
                (Some(0), _) => 0.0,
                (Some(remaining), Some(quota)) => remaining as f64 / quota as f64,
                _ => f64::INFINITY,
            };
            let window = policy.and_then(|policy| policy.window);
            let stated = StatedLimit { quota, window, remaining, reset_after, nonsense: false };
            // Of equal ones the one that lasts longest.
            let nearer = |(least, before): (f64, StatedLimit)| {
                share.total_cmp(&least).then(before.reset_after.cmp(&reset_after)).is_lt()
            };
            if found.is_none_or(nearer) {
                found = Some((share, stated));
            }
        }
        found.map_or_else(|| self.with_policy(None, None, None, policies), |(_, stated)| stated)
    }

    fn policies(&mut self, field: &str) -> Vec<Policy<'a>> {
        let items = self.items(field);
        items.iter().filter_map(|item| self.policy(item)).collect()
    }

    /// The policies among the items of a limit; its other items repeat the first.
    fn policies_beside(&mut self, limits: &[Item<'a>]) -> Vec<Policy<'a>> {
        let (policies, plain): (Vec<_>, Vec<_>) =
            limits.iter().partition(|item| !item.params.is_empty());
        self.nonsense |= plain.iter().any(|item| item.value != limits[0].value);
        policies.into_iter().filter_map(|item| self.policy(item)).collect()
    }

    /// `100;w=60` or `"name";q=100;w=60`.
    fn policy(&mut self, item: &Item<'a>) -> Option<Policy<'a>> {
        let window = item.param("w").or_else(|| item.param("window"));
        let window = window.and_then(|text| self.window(text));
        let (name, quota) = match item.param("q") {
            Some(quota) => (name(item.value), quota),
            None => (None, item.value),
        };
        if item.key.is_some() || (item.param("q").is_some() && name.is_none()) {
            self.nonsense = true;
            return None;
        }
        let unit = item.param("qu").map(|unit| unit.trim_matches('"'));
        let foreign = unit.is_some_and(|unit| unit != "requests");
        Some(Policy { name, quota: self.quota(quota)?, window, foreign })
    }

    /// Fields that each have one number.
    fn plain(&mut self, fields: &PlainFields) -> StatedLimit {
        let mut stated = StatedLimit::default();
        let limits = self.items(fields.limit);
        if let Some(limit) = limits.first() {
            // ASP.NET writes the window there: `1m`.
            stated.window = spelled_window(limit.value);
            if stated.window.is_none() {
                stated.quota = self.quota(limit.value);
                if stated.quota.is_none() {
                    return StatedLimit::default();
                }
            }
            let policies = self.policies_beside(&limits);
            if stated.quota.is_some() {
                stated.window = self.with_policy(stated.quota, None, None, &policies).window;
            }
        }
        let remaining = self.only(fields.remaining).and_then(|text| self.count(text));
        stated.remaining = self.within(remaining, stated.quota);
        let delay = self.only(fields.reset_after).and_then(|text| self.reset(text));
        let reset = self.only(fields.reset).and_then(|text| self.reset(text));
        stated.reset_after = delay.or(reset);
        stated
    }

    /// What remains can be no more than what there was.
    fn within(&mut self, remaining: Option<u64>, quota: Option<u64>) -> Option<u64> {
        let fits = quota.is_none_or(|quota| remaining.is_none_or(|remaining| remaining <= quota));
        self.nonsense |= !fits;
        remaining.filter(|_| fits)
    }

    /// The values of a field that can be read.
    fn values(&mut self, field: &str) -> Vec<&'a str> {
        let headers = self.headers;
        let mut values = Vec::new();
        for value in headers.get_all(field) {
            let text = value.to_str().ok().filter(|text| text.len() <= VALUE_LIMIT_BYTES);
            match text.map(str::trim) {
                Some(text) if values.len() < ITEMS_MAX && !text.is_empty() => values.push(text),
                _ => self.nonsense = true,
            }
        }
        values
    }

    /// The items of all fields of a name.
    fn items(&mut self, field: &str) -> Vec<Item<'a>> {
        let mut items = Vec::new();
        for value in self.values(field) {
            for part in outside_quotes(value, b',') {
                if items.len() == ITEMS_MAX {
                    self.nonsense = true;
                    return items;
                }
                match part.trim() {
                    "" => self.nonsense = true,
                    part => items.push(Item::read(part)),
                }
            }
        }
        items
    }

    /// The value of a field that is there once; of several the first.
    fn only(&mut self, field: &str) -> Option<&'a str> {
        let values = self.values(field);
        self.nonsense |= values.iter().any(|value| *value != values[0]);
        values.first().copied()
    }

    fn note<T>(&mut self, read: Option<T>) -> Option<T> {
        self.nonsense |= read.is_none();
        read
    }

    /// A whole number that is not negative; of one with a fraction what is whole.
    fn count(&mut self, text: &str) -> Option<u64> {
        let found = number(text).filter(|_| !text.starts_with('-'));
        self.note(found.filter(|number| (0.0..=QUOTA_MAX).contains(number)).map(|n| n as u64))
    }

    /// A count above 0: some write 0 for "unlimited", which cannot be told from "nothing".
    fn quota(&mut self, text: &str) -> Option<u64> {
        let quota = self.count(text).filter(|quota| *quota > 0);
        self.note(quota)
    }

    fn window(&mut self, text: &str) -> Option<Duration> {
        let seconds = number(text).filter(|seconds| *seconds > 0.0);
        let window = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        self.note(window.filter(|window| !window.is_zero() && *window <= DURATION_MAX))
    }

    /// A delay in seconds, or a point in time: since 1970 in seconds or milliseconds, an HTTP date,
    /// or RFC 3339.
    fn reset(&mut self, text: &str) -> Option<Duration> {
        let seconds = if let Some(number) = number(text) {
            let since = seconds_of(number, self.headers, self.wall_now);
            // A delay is not negative, a point in time may be over.
            if text.starts_with('-') { None } else { Some(since) }
        } else {
            let date = httpdate::parse_http_date(text).ok();
            let time = date.or_else(|| text.parse::<Timestamp>().ok().map(SystemTime::from));
            time.map(|time| seconds_until(time, self.headers, self.wall_now))
        };
        let seconds = seconds.filter(|seconds| *seconds >= -PAST_MAX_SECONDS);
        let reset_after = seconds.and_then(|s| Duration::try_from_secs_f64(s.max(0.0)).ok());
        self.note(reset_after.filter(|reset_after| *reset_after <= DURATION_MAX))
    }
}

/// The name of a policy: a quoted string or a token.
fn name(text: &str) -> Option<&str> {
    if let Some(inner) = text.strip_prefix('"') {
        return inner.strip_suffix('"');
    }
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
    Some(text).filter(|text| !text.is_empty() && text.chars().all(token))
}

/// A window as `15m`: a whole number of seconds, minutes, hours or days.
fn spelled_window(text: &str) -> Option<Duration> {
    let seconds = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok().filter(|count| *count > 0)?;
    let window = Duration::from_secs(count.checked_mul(seconds)?);
    Some(window).filter(|window| *window <= DURATION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const NOW: &str = "2026-11-19T12:00:00Z";

    /// Reads the head of an answer; one field a line.
    fn read(head: &str) -> StatedLimit {
        let mut headers = HeaderMap::new();
        for line in head.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
        }
        stated_limit(&headers, NOW.parse().unwrap())
    }

    /// Quota, window, remaining and reset in seconds, and `!` if something was left out.
    fn shown(head: &str) -> String {
        let stated = read(head);
        let count = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        let seconds = |time: Option<Duration>| {
            time.map_or("-".to_owned(), |time| time.as_secs_f64().to_string())
        };
        let quota = count(stated.quota);
        let window = seconds(stated.window);
        let remaining = count(stated.remaining);
        let reset_after = seconds(stated.reset_after);
        let mark = if stated.nonsense { " !" } else { "" };
        format!("{quota}/{window} {remaining} {reset_after}{mark}")
    }

    fn all_show(cases: &[(&str, &str)]) {
        for (head, expected) in cases {
            assert_eq!(shown(head), *expected, "{head}");
        }
    }

    #[test]
    fn nothing_is_stated_by_default() {
        assert_eq!(read(""), StatedLimit::default());
        assert_eq!(
            read("Date: Thu, 19 Nov 2026 12:00:00 GMT\nRetry-After: 3"),
            StatedLimit::default()
        );
    }

    #[test]
    fn draft_6_has_three_fields_and_perhaps_policies() {
        all_show(&[
            ("RateLimit-Limit: 100\nRateLimit-Remaining: 50\nRateLimit-Reset: 30", "100/- 50 30"),
            ("RateLimit-Limit: 100, 100;w=60\nRateLimit-Remaining: 0", "100/60 0 -"),
            ("RateLimit-Limit: 10\nRateLimit-Policy: 10;w=1, 50;w=60", "10/1 - -"),
            ("RateLimit-Limit: 10, 10;window=1, 10;window=60", "10/60 - -"),
            ("RateLimit-Limit: 10, 10;w=1, 10;w=60\nRateLimit-Reset: 1", "10/1 - 1"),
            ("RateLimit-Limit: 10, 10;w=1, 10;w=60\nRateLimit-Reset: 2", "10/60 - 2"),
            ("RateLimit-Policy: 10;w=1, 100;w=60;burst=1000;comment=\"a, b; c\"", "100/60 - -"),
            ("RateLimit-Remaining: 7", "-/- 7 -"),
            // not by the draft, but seen
            ("RateLimit-Limit: 100\nRateLimit-Reset: 1795089605", "100/- - 5"),
        ]);
    }

    #[test]
    fn draft_7_has_a_dictionary() {
        all_show(&[
            ("RateLimit: limit=100, remaining=50, reset=30", "100/- 50 30"),
            (
                "RateLimit: limit=100, remaining=50, reset=30\nRateLimit-Policy: 100;w=60",
                "100/60 50 30",
            ),
            (
                "RateLimit: reset=30,remaining=50\nRateLimit: limit=100, later=\"x,y\"",
                "100/- 50 30",
            ),
        ]);
    }

    #[test]
    fn draft_8_names_its_policies() {
        all_show(&[
            ("RateLimit: \"default\";r=50;t=30", "-/- 50 30"),
            (
                "RateLimit: \"10-in-15min\"; r=9; t=900
                 RateLimit-Policy: \"10-in-15min\"; q=10; w=900; pk=:ZmQ3OWE=:",
                "10/900 9 900",
            ),
            ("RateLimit: default;r=9\nRateLimit-Policy: default;q=10;w=60", "10/60 9 -"),
            // one policy is the one, whatever its name
            ("RateLimit: \"a\";r=9\nRateLimit-Policy: \"b\";q=10;w=60", "10/60 9 -"),
            // the item of which the least share is left
            (
                "RateLimit: \"burst\";r=90;t=1, \"day\";r=100;t=5000
                 RateLimit-Policy: \"day\";q=1000;w=86400,\"burst\";q=100;w=1",
                "1000/86400 100 5000",
            ),
            (
                "RateLimit: \"a;,\\\"\";r=5;t=1
                 RateLimit: \"b\";r=0
                 RateLimit-Policy: \"a;,\\\"\";q=10;w=1,\"b\";q=20;w=60",
                "20/60 0 -",
            ),
            // what is counted in bytes is not for us
            (
                "RateLimit: \"bytes\";r=0;t=9, \"calls\";r=5;t=8
                 RateLimit-Policy: \"bytes\";q=10;w=60;qu=\"content-bytes\", \"calls\";q=10;w=30;qu=\"requests\"",
                "10/30 5 8",
            ),
            ("RateLimit-Policy: \"a\";q=10;w=1, \"b\";q=20;w=60", "20/60 - -"),
            ("RateLimit-Policy: \"a\";q=10;w=60;qu=\"content-bytes\"", "-/- - -"),
        ]);
    }

    #[test]
    fn the_fields_before_any_standard_reset_by_delay_or_point_in_time() {
        let github = "X-RateLimit-Limit: 5000\nX-RateLimit-Remaining: 4999\nX-RateLimit-Reset: ";
        for (reset, expected) in [
            ("30", "30"),
            ("0.25", "0.25"),
            ("1795089605", "5"),
            ("1795089605.5", "5.5"),
            ("1795089605500", "5.5"),
            ("1795089590", "0"),
            ("Thu, 19 Nov 2026 12:00:30 GMT", "30"),
            ("2026-11-19T12:00:30.0000000Z", "30"),
            ("1795089605\nDate: Thu, 19 Nov 2026 12:00:02 GMT", "3"),
        ] {
            assert_eq!(shown(&format!("{github}{reset}")), format!("5000/- 4999 {expected}"));
        }
        all_show(&[
            ("X-RateLimit-Reset-After: 1.5\nX-RateLimit-Reset: 1795089700", "-/- - 1.5"),
            ("X-Rate-Limit-Limit: 180\nX-Rate-Limit-Remaining: 3", "180/- 3 -"),
            ("X-Rate-Limit-Limit: 15m\nX-Rate-Limit-Remaining: 3", "-/900 3 -"),
            ("X-RateLimit-Limit: 100, 100;w=60", "100/60 - -"),
            ("X-RateLimit-Limit: 100;w=60", "100/60 - -"),
            ("X-RateLimit-Remaining: 99.0", "-/- 99 -"),
        ]);
    }

    #[test]
    fn the_younger_form_counts_and_the_older_fills() {
        all_show(&[
            (
                "RateLimit-Policy: 100;w=60\nX-RateLimit-Limit: 100\nX-RateLimit-Remaining: 4",
                "100/60 4 -",
            ),
            (
                "RateLimit-Policy: 100;w=60\nX-RateLimit-Limit: 90\nX-RateLimit-Remaining: 4",
                "100/60 - -",
            ),
            ("RateLimit: \"a\";r=5\nX-RateLimit-Remaining: 4\nX-RateLimit-Reset: 9", "-/- 5 9"),
            ("RateLimit-Limit: 5\nX-RateLimit-Remaining: 6", "5/- - - !"),
        ]);
    }

    #[test]
    fn nonsense_is_left_out_and_noted() {
        let long = format!("RateLimit-Limit: {}", "1".repeat(10 * 1024));
        let many = format!("RateLimit-Policy: 7;w=1{}", ",8;w=1".repeat(300));
        let too_many = "X-RateLimit-Limit: 5\n".repeat(1000);
        all_show(&[
            (&long, "-/- - - !"),
            (&many, "7/1 - - !"),
            (&too_many, "5/- - - !"),
            ("RateLimit-Limit: -5\nRateLimit-Remaining: 3", "-/- - - !"),
            ("RateLimit-Limit: 0\nRateLimit-Remaining: 0\nRateLimit-Reset: 9", "-/- - - !"),
            ("RateLimit-Limit: 100\nRateLimit-Remaining: 101", "100/- - - !"),
            ("RateLimit-Limit: 100\nRateLimit-Remaining: NaN\nRateLimit-Reset: inf", "100/- - - !"),
            ("RateLimit-Limit: 1e3", "-/- - - !"),
            ("RateLimit-Limit: 99999999999999999999999999", "-/- - - !"),
            ("RateLimit-Limit: 5\nRateLimit-Limit: 6", "5/- - - !"),
            ("RateLimit-Limit:", "-/- - - !"),
            ("RateLimit-Limit: ,,,", "-/- - - !"),
            ("RateLimit-Limit: 10;w=0, 10;w=-1", "10/- - - !"),
            ("RateLimit-Reset: -1", "-/- - - !"),
            ("RateLimit-Reset: 31622401", "-/- - - !"),
            ("RateLimit-Remaining: 5\nRateLimit-Remaining: 5\nRateLimit-Remaining: 5", "-/- 5 -"),
            ("RateLimit-Remaining: 5\nRateLimit-Remaining: 4", "-/- 5 - !"),
            ("RateLimit: soon", "-/- - - !"),
            ("RateLimit: limit=100, limit=10", "100/- - - !"),
            ("RateLimit: limit=ten, remaining=5", "-/- - - !"),
            ("RateLimit: other=1", "-/- - - !"),
            ("RateLimit: \"a;r=5;t=1", "-/- - - !"),
            ("RateLimit: \"a\";t=1\nRateLimit-Policy: \"a\";q=5;w=9", "5/9 - - !"),
            ("RateLimit: \"a\";r=6\nRateLimit-Policy: \"a\";q=5;w=9", "5/9 - - !"),
            ("RateLimit-Policy: \"a\";q=-1;w=9", "-/- - - !"),
            ("RateLimit-Policy: \"a\";q=1;w=99999999999", "1/- - - !"),
            ("X-RateLimit-Limit: ünlimited", "-/- - - !"),
            ("X-RateLimit-Limit: 10, 100", "10/- - - !"),
            ("X-RateLimit-Limit: 9999999999d", "-/- - - !"),
            ("X-RateLimit-Reset: Thu, 01 Jan 1970 00:00:00 GMT", "-/- - - !"),
            ("X-RateLimit-Reset: Fri, 31 Dec 9999 23:59:59 GMT", "-/- - - !"),
            ("X-RateLimit-Reset: 1000000001", "-/- - - !"),
            ("X-RateLimit-Reset: 99999999999999999999", "-/- - - !"),
            ("X-RateLimit-Reset: 1795089605\nDate: Thu, 01 Jan 1970 00:00:00 GMT", "-/- - - !"),
        ]);
    }

    fn any_name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "ratelimit",
            "ratelimit-policy",
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-ratelimit-reset-after",
            "x-rate-limit-limit",
            "x-rate-limit-reset",
            "date",
        ])
    }

    fn any_value() -> impl Strategy<Value = Vec<u8>> {
        let formed =
            "(\"?[a-z]{0,2}\"?;?(limit|remaining|reset|r|t|q|w)?=?-?[0-9]{0,22}[.,;smhd]?){0,6}";
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            formed.prop_map(String::into_bytes),
            "-?[0-9]{1,40}(\\.[0-9]{0,5})?".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn no_head_panics_or_leaves_the_bounds(
            fields in prop::collection::vec((any_name(), any_value()), 0..12),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(*name, value);
                }
            }
            let stated = stated_limit(&headers, NOW.parse().unwrap());
            let bounded = |time: Option<Duration>| time.is_none_or(|time| time <= DURATION_MAX);
            prop_assert!(bounded(stated.window) && bounded(stated.reset_after), "{stated:?}");
            prop_assert!(stated.window != Some(Duration::ZERO), "{stated:?}");
            prop_assert!(stated.quota.is_none_or(|quota| (1..=QUOTA_MAX as u64).contains(&quota)));
            let fits = stated.quota.is_none_or(|quota| stated.remaining.is_none_or(|r| r <= quota));
            prop_assert!(fits, "{stated:?}");
        }
    }
}
