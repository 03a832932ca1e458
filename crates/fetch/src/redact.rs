//! What may be written down: addresses and headers without their secrets.

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE, LOCATION, SET_COOKIE},
};
use std::borrow::Cow;
use url::Url;

const MASK: &str = "***";

/// An address for logs and the ledger: user info and the values of secret-looking query keys are
/// masked, all else stays as it is, the fragment aside.
pub fn redact(url: &Url) -> String {
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_plain { url.as_str().to_owned() } else { redact_text(url.as_str()) }
}

/// [`redact`] for text that may be a relative reference or no address at all.
pub(crate) fn redact_text(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut safe = mask_user_info(path);
    if let Some(query) = query {
        safe.push('?');
        for (at, pair) in query.split('&').enumerate() {
            if at > 0 {
                safe.push('&');
            }
            match pair.split_once('=') {
                Some((key, value)) if !value.is_empty() && is_secret_key(key) => {
                    safe.extend([key, "=", MASK]);
                }
                _ => safe.push_str(pair),
            }
        }
    }
    safe
}

fn mask_user_info(text: &str) -> String {
    let Some(start) = text.find("//").map(|at| at + 2) else { return text.to_owned() };
    let end = text[start..].find('/').map_or(text.len(), |length| start + length);
    match text[start..end].rfind('@') {
        Some(at) => format!("{}{MASK}{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

/// Whether a query key says that its value is a secret.
pub(crate) fn is_secret_key(key: &str) -> bool {
    // `api%5Fkey` is `api_key`.
    let decoded = url::form_urlencoded::parse(key.as_bytes()).next();
    decoded.is_some_and(|(key, _)| speaks_of_a_secret(&key.to_ascii_lowercase()))
}

fn speaks_of_a_secret(lower_case: &str) -> bool {
    const PARTS: [&str; 9] = [
        "token",
        "secret",
        "password",
        "passwd",
        "signature",
        "credential",
        "apikey",
        "accesskey",
        "sessionid",
    ];
    const WORDS: [&str; 8] = ["key", "auth", "sig", "pwd", "pass", "jwt", "bearer", "sid"];
    lower_case.split(|c: char| !c.is_alphanumeric()).any(|word| WORDS.contains(&word))
        || PARTS.iter().any(|part| lower_case.contains(part))
}

/// What almost every exchange carries, and no name in it speaks of a secret: a search through all
/// words that do would cost more than the rest of the request's headers.
const COMMON_HEADERS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "server",
    "transfer-encoding",
    "user-agent",
    "vary",
];

/// Whether a header of this name carries a secret, by name alone.
pub fn is_secret_header(name: &HeaderName) -> bool {
    let text = name.as_str();
    if COMMON_HEADERS.contains(&text) {
        return false;
    }
    [AUTHORIZATION, COOKIE, SET_COOKIE].contains(name)
        || matches!(text, "set-cookie2" | "authentication-info")
        || text.starts_with("proxy-auth")
        || speaks_of_a_secret(text)
}

/// Headers that may be written down, with values as text: without cookies, credentials and what
/// is marked sensitive; addresses in them are redacted.
pub fn safe_headers(headers: &HeaderMap) -> Vec<(&str, Cow<'_, str>)> {
    let mut safe = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        if value.is_sensitive() || is_secret_header(name) {
            continue;
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_address =
            name == LOCATION || matches!(name.as_str(), "content-location" | "refresh");
        let text = if is_address { redact_text(&text).into() } else { text };
        safe.push((name.as_str(), text));
    }
    safe
}

/// The secrets of a request, to be kept out of what is written about its answer.
pub(crate) fn mask_secrets(text: &mut String, url: &Url, headers: &HeaderMap) {
    // Shorter ones are words that would be masked everywhere.
    const SECRET_BYTES_MIN: usize = 5;
    let mut secrets: Vec<String> = Vec::new();
    for (name, value) in headers {
        if value.is_sensitive() || is_secret_header(name) {
            let value = String::from_utf8_lossy(value.as_bytes());
            secrets.extend(value.split([' ', ';', ',', '=']).map(str::to_owned));
        }
    }
    let pairs = url.query_pairs().filter(|(key, _)| is_secret_key(key));
    secrets.extend(pairs.map(|(_, value)| value.into_owned()));
    secrets.extend(url.password().map(str::to_owned));
    secrets.retain(|secret| {
        secret.len() >= SECRET_BYTES_MIN && secret != "Bearer" && secret != "Basic"
    });
    // Longest first: one may be a part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        if text.contains(&secret) {
            *text = text.replace(&secret, MASK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn secrets_in_an_address_are_masked_and_all_else_is_kept() {
        for (text, expected) in [
            ("https://a.example/x?date=2026-11-19", "https://a.example/x?date=2026-11-19"),
            ("https://me:pw@a.example/x", "https://***@a.example/x"),
            ("https://a.example/@me/x", "https://a.example/@me/x"),
            (
                "https://a.example/?api_key=k1&page=2&access_token=t",
                "https://a.example/?api_key=***&page=2&access_token=***",
            ),
            (
                "https://s3.example/o?X-Amz-Signature=ab&X-Amz-Date=2",
                "https://s3.example/o?X-Amz-Signature=***&X-Amz-Date=2",
            ),
            (
                "https://a.example/?apiKey=1&KEY=2&key=",
                "https://a.example/?apiKey=***&KEY=***&key=",
            ),
            ("https://a.example/?api%5Fkey=1", "https://a.example/?api%5Fkey=***"),
            ("https://a.example/?keyword=x&monkey=y", "https://a.example/?keyword=x&monkey=y"),
            ("https://a.example/x#access_token=1", "https://a.example/x"),
        ] {
            assert_eq!(redact(&text.parse().unwrap()), expected);
        }
    }

    #[test]
    fn safe_headers_keep_what_explains_and_drop_what_opens() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("www-authenticate", "Bearer realm=\"api\""),
            ("set-cookie", "session=1"),
            ("cookie", "session=1"),
            ("authorization", "Bearer 1"),
            ("proxy-authorization", "Basic 1"),
            ("proxy-authenticate", "Basic"),
            ("x-api-key", "1"),
            ("x-auth-token", "1"),
            ("location", "/next?token=1&page=2"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut marked = HeaderValue::from_static("hush");
        marked.set_sensitive(true);
        headers.insert("x-odd", marked);
        let safe = safe_headers(&headers);
        let text: Vec<_> = safe.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            text,
            [
                "content-type: application/json",
                "www-authenticate: Bearer realm=\"api\"",
                "location: /next?token=***&page=2",
            ]
        );
    }

    #[test]
    fn the_short_cut_for_common_headers_changes_no_answer() {
        for name in COMMON_HEADERS {
            assert!(!speaks_of_a_secret(name) && !name.starts_with("proxy-auth"), "{name}");
        }
    }

    #[test]
    fn what_a_server_echoes_of_our_secrets_is_masked() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Bearer s3cr3t-value".parse().unwrap());
        let url = "https://a.example/?api_key=qwertz123".parse().unwrap();
        let mut text = "Bearer token s3cr3t-value or key qwertz123 is not valid".to_owned();
        mask_secrets(&mut text, &url, &headers);
        assert_eq!(text, "Bearer token *** or key *** is not valid");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_token_is_left(text in "\\PC{0,60}", secret in "[A-Z]{12}") {
            redact_text(&text);
            let masked = redact_text(&format!("https://u:{secret}@h/{text}?a={text}&token={secret}"));
            let hidden = !masked.contains(&secret) || text.contains(['#', '?', '&', '/', '@']);
            prop_assert!(hidden, "{}", masked);
        }
    }
}
