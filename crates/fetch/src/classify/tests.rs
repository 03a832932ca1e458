use super::*;
use Outcome::{
    Blocked, EmptyProven, EmptyUnproven, Gone, NotModified, ParseError, Partial, RateLimited,
    SourceError, Unauthorized,
};
use http::HeaderName;
use proptest::prelude::*;

/// One answer, in the words of a test.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    truncated: Option<Truncated>,
    validators: bool,
    credentials: bool,
    head_only: bool,
    seconds: u64,
}

fn answer(status: u16, body: &'static str) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body,
        truncated: None,
        validators: false,
        credentials: false,
        head_only: false,
        seconds: 0,
    }
}

impl Answer {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn judge(&self) -> FetchVerdict {
        self.judge_with(&[])
    }

    fn judge_with(&self, empty_status: &[u16]) -> FetchVerdict {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let page = (!self.body.is_empty()).then(|| Page::new(self.body.as_bytes()));
        let look = crate::page::look(&headers, b"", self.body.as_bytes());
        classify(&Evidence {
            status: StatusCode::from_u16(self.status).unwrap(),
            headers: &headers,
            quote: page.as_ref().map(|page| page.quote(|_| ())).unwrap_or_default(),
            page,
            look,
            body_bytes: self.body.len() as u64,
            head_only: self.head_only,
            truncated: self.truncated,
            truncated_reason: "cut",
            validators_sent: self.validators,
            credentials_sent: self.credentials,
            answered_in: Duration::from_secs(self.seconds),
            empty_status,
            wall_now: "2026-11-19T12:00:00Z".parse().unwrap(),
        })
    }

    fn outcome(&self) -> Option<Outcome> {
        self.judge().outcome
    }
}

const JSON: &str = "{\"error\": \"no\"}";
const BLOCK_PAGE: &str = "<!doctype html><title>Access Denied</title><p>Incident ID: 7";
const PAGE: &str = "<html><title>Welcome</title></html>";

#[test]
fn a_status_alone_gives_these_outcomes() {
    for (status, expected) in [
        (101, SourceError),
        (204, EmptyProven),
        (206, Partial),
        (300, SourceError),
        (304, SourceError),
        (305, SourceError),
        (400, SourceError),
        (401, Unauthorized),
        (402, SourceError),
        (403, Blocked),
        (404, Gone),
        (405, SourceError),
        (407, Blocked),
        (408, SourceError),
        (409, SourceError),
        (410, Gone),
        (422, SourceError),
        (425, SourceError),
        (429, RateLimited),
        (451, Blocked),
        (499, SourceError),
        (500, SourceError),
        (502, SourceError),
        (503, SourceError),
        (504, SourceError),
        (520, SourceError),
        (600, SourceError),
        (999, SourceError),
    ] {
        assert_eq!(answer(status, JSON).outcome(), Some(expected), "{status}");
    }
}

#[test]
fn a_usable_body_is_left_to_extraction() {
    for status in [200, 201, 202, 203, 207] {
        let judged = answer(status, JSON).judge();
        assert_eq!((judged.outcome, judged.detail.as_str()), (None, ""), "{status}");
    }
    assert_eq!(Answer { head_only: true, ..answer(200, "") }.outcome(), None);
}

#[test]
fn nothing_is_never_a_success_without_proof() {
    assert_eq!(answer(200, "").outcome(), Some(EmptyUnproven));
    assert!(!answer(200, "").judge().empty_by_status);
    assert!(answer(204, "").judge().empty_by_status);
    assert_eq!(answer(404, JSON).judge_with(&[404]).outcome, Some(EmptyProven));
    assert!(answer(404, JSON).judge_with(&[404]).empty_by_status);
    // A block page or a cut answer proves nothing.
    assert_eq!(answer(404, BLOCK_PAGE).judge_with(&[404]).outcome, Some(Blocked));
    let cut = Answer { truncated: Some(Truncated::Time), ..answer(404, JSON) };
    assert_eq!(cut.judge_with(&[404]).outcome, Some(Partial));
}

#[test]
fn a_304_needs_our_validators() {
    assert_eq!(Answer { validators: true, ..answer(304, "") }.outcome(), Some(NotModified));
    assert_eq!(answer(304, "").outcome(), Some(SourceError));
}

#[test]
fn a_cut_body_is_partial_and_says_why() {
    for truncated in [Truncated::Length, Truncated::Time, Truncated::Disconnect] {
        let judged = Answer { truncated: Some(truncated), ..answer(200, JSON) }.judge();
        assert_eq!((judged.outcome, judged.detail.as_str()), (Some(Partial), "cut"));
    }
    // What the status says, a cut body does not change.
    let cut = Answer { truncated: Some(Truncated::Length), ..answer(429, JSON) };
    assert_eq!(cut.outcome(), Some(RateLimited));
}

#[test]
fn a_web_page_where_json_is_due_is_blocked_or_not_understood() {
    for page in [
        BLOCK_PAGE,
        "<html><title>Attention Required! | Cloudflare</title>",
        "<html>Our systems have detected unusual traffic",
        "<html>Are you a robot?",
        "\u{feff}\n <!DOCTYPE HTML><body>please solve the CAPTCHA",
        "<html><script src=/cdn-cgi/challenge?cf-chl=1>",
        "<html>Request blocked.",
    ] {
        assert_eq!(answer(200, page).outcome(), Some(Blocked), "{page}");
    }
    let judged = answer(200, PAGE).with("content-type", "application/json").judge();
    assert_eq!(judged.outcome, Some(ParseError));
    assert_eq!(judged.detail, "a web page where JSON is due: 200 OK: Welcome");
    // Cut at the limit for web pages, it is one all the same.
    let cut = Answer { truncated: Some(Truncated::Length), ..answer(200, PAGE) };
    assert_eq!(cut.outcome(), Some(ParseError));
    // A mark inside of data is data.
    assert_eq!(answer(200, "{\"news\": \"captcha, access denied\"}").outcome(), None);
}

#[test]
fn a_403_is_judged_by_what_comes_with_it() {
    let ours = Answer { credentials: true, ..answer(403, JSON) };
    assert_eq!(ours.outcome(), Some(Unauthorized));
    assert_eq!(answer(403, JSON).outcome(), Some(Blocked));
    let page = Answer { credentials: true, ..answer(403, BLOCK_PAGE) };
    assert_eq!(page.outcome(), Some(Blocked));
    // `Access Denied` in an API's answer is about our credentials.
    let denied = "<Error><Message>Access Denied</Message></Error>";
    let denied = Answer { credentials: true, ..answer(403, denied) };
    assert_eq!(denied.outcome(), Some(Unauthorized));
    let limited = ours.clone().with("x-ratelimit-remaining", "0").with("retry-after", "60").judge();
    assert_eq!(limited.outcome, Some(RateLimited));
    assert_eq!(limited.retry_after, Some(Duration::from_mins(1)));
    assert_eq!(ours.clone().with("x-ratelimit-remaining", "5").outcome(), Some(Unauthorized));
    let words =
        Answer { credentials: true, ..answer(403, "{\"message\": \"API Rate Limit hit\"}") };
    assert_eq!(words.outcome(), Some(RateLimited));
    assert_eq!(ours.with("cf-mitigated", "challenge").outcome(), Some(Blocked));
}

#[test]
fn a_503_is_a_limit_only_with_evidence() {
    let limited = answer(503, "").with("retry-after", "5").judge();
    assert_eq!(limited.outcome, Some(RateLimited));
    assert_eq!(limited.retry_after, Some(Duration::from_secs(5)));
    let words = answer(503, "{\"error\": \"Too many requests\"}");
    assert_eq!(words.outcome(), Some(RateLimited));
    assert_eq!(Answer { seconds: 5, ..words }.outcome(), Some(SourceError));
    let maintenance = answer(503, "<html><title>Down for maintenance</title>");
    assert_eq!(maintenance.outcome(), Some(SourceError));
    assert_eq!(answer(503, "<html><script src=cf-chl.js>").outcome(), Some(Blocked));
}

#[test]
fn retry_after_counts_on_refusals_only() {
    for (status, expected) in [(200, None), (500, None), (429, Some(9)), (503, Some(9))] {
        let judged = answer(status, JSON).with("retry-after", "9").judge();
        assert_eq!(judged.retry_after, expected.map(Duration::from_secs), "{status}");
    }
}

#[test]
fn an_encoding_nobody_asked_for_is_the_servers_fault() {
    let judged = answer(200, "\u{1}\u{2}").with("content-encoding", "br").judge();
    assert_eq!(judged.outcome, Some(SourceError));
    assert!(judged.detail.contains("`br`"), "{}", judged.detail);
    assert_eq!(answer(200, JSON).with("content-encoding", "identity").outcome(), None);
}

#[test]
fn an_odd_charset_is_noted_and_left_to_extraction() {
    let judged = answer(200, JSON).with("content-type", "application/json; charset=utf-16").judge();
    assert_eq!(judged.outcome, None);
    assert_eq!(judged.detail, "the declared charset is `utf-16`");
}

#[test]
fn a_detail_quotes_little_of_a_refusal() {
    assert_eq!(
        answer(400, "{\"error\": \"bad\ndate\"}").judge().detail,
        "the request is refused: 400 Bad Request: {\"error\": \"bad date\"}"
    );
    assert_eq!(answer(599, "").judge().detail, "the server failed: 599");
    let long = Box::leak("x".repeat(5000).into_boxed_str());
    assert!(answer(500, long).judge().detail.len() < 150);
}

#[test]
fn errors_without_an_answer_are_of_the_way_or_of_the_server() {
    for (error, expected) in [
        (TransportError::broken(0), Outcome::TransportError),
        (TransportError::NoRootCertificates, Outcome::TransportError),
        (TransportError::Protocol { cause: "not HTTP".into() }, SourceError),
        (TransportError::TooManyHeaders, SourceError),
    ] {
        assert_eq!(classify_error(&error).outcome, Some(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn each_answer_has_one_verdict_and_a_short_detail(
        status in 100u16..1000,
        body in "\\PC{0,200}",
        retry_after in "[ -~]{0,20}",
        credentials: bool,
        validators: bool,
        cut: bool,
        empty_status in prop::collection::vec(100u16..1000, 0..3),
    ) {
        let answer = Answer {
            truncated: cut.then_some(Truncated::Disconnect),
            validators,
            credentials,
            ..answer(status, Box::leak(body.into_boxed_str()))
        };
        let judged =
            answer.with("retry-after", Box::leak(retry_after.into_boxed_str())).judge_with(&empty_status);
        prop_assert!(judged.detail.chars().count() < 220, "{}", judged.detail);
        prop_assert!(!judged.detail.contains(char::is_control));
        // Only a whole 2xx is left to extraction.
        prop_assert!(judged.outcome.is_some() || ((200..300).contains(&status) && !cut));
        prop_assert_eq!(judged.empty_by_status, judged.outcome == Some(EmptyProven));
    }
}
