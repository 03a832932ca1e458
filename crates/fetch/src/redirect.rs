//! Where a redirect may lead.
//!
//! Pure. A server may point us elsewhere, not give our secrets away, not make us ask without end,
//! and not use us to reach what is not public.

use crate::{address::is_public, redact::redact_text, request::FetchRequest, transport::Reach};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use std::net::IpAddr;
use url::{Host, Url};

/// One request of a chain of redirects.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    pub(crate) url: Url,
    pub(crate) method: Method,
    pub(crate) body: Bytes,
    pub(crate) reach: Reach,
    /// Whether all hops so far had the first one's origin: only there go secrets and validators.
    pub(crate) is_at_home: bool,
    visited: Vec<(Method, Url)>,
}

/// Why a redirect is not followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectError {
    #[error("a redirect without a `Location`")]
    NoLocation,
    #[error("a redirect to `{location}`, which is no address")]
    NotAnAddress { location: String },
    #[error("a redirect to `{location}`: only `http` and `https` are followed")]
    Scheme { location: String },
    #[error("a redirect from https to `{location}` would show our credentials on the way")]
    Downgrade { location: String },
    #[error("a redirect from a public to a private address: `{location}`")]
    Private { location: String },
    #[error("a redirect loop: `{location}` was asked already")]
    Loop { location: String },
    #[error("more than {redirects_max} redirects, the next one to `{location}`")]
    TooMany { redirects_max: u32, location: String },
}

/// Whether a status asks us to go elsewhere.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

impl Hop {
    pub(crate) fn first(request: &FetchRequest) -> Self {
        Self {
            url: request.url.clone(),
            method: request.method.clone(),
            body: request.body.clone(),
            reach: Reach::Any,
            is_at_home: true,
            visited: Vec::new(),
        }
    }

    /// How many redirects led here.
    pub(crate) fn redirects(&self) -> u32 {
        u32::try_from(self.visited.len()).unwrap_or(u32::MAX)
    }

    /// The next hop. `peer` is where this hop was connected to, if that is known.
    pub(crate) fn follow(
        &self,
        status: StatusCode,
        location: Option<&HeaderValue>,
        peer: Option<IpAddr>,
        holds_credentials: bool,
        redirects_max: u32,
    ) -> Result<Self, RedirectError> {
        let text = location.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let text = text.ok_or(RedirectError::NoLocation)?;
        let location: String = redact_text(text).escape_debug().take(200).collect();
        let Ok(url) = self.url.join(text) else {
            return Err(RedirectError::NotAnAddress { location });
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(RedirectError::Scheme { location });
        }
        let is_at_home = self.is_at_home && url.origin() == self.url.origin();
        if holds_credentials && self.url.scheme() == "https" && url.scheme() == "http" {
            return Err(RedirectError::Downgrade { location });
        }
        let reach = self.reach_of_next(peer);
        if reach == Reach::PublicOnly && is_private(&url) {
            return Err(RedirectError::Private { location });
        }
        let (method, body) = self.method_of_next(status);
        let mut visited = self.visited.clone();
        visited.push((self.method.clone(), without_fragment(&self.url)));
        let asked = (method.clone(), without_fragment(&url));
        if visited.contains(&asked) {
            return Err(RedirectError::Loop { location });
        }
        if self.redirects() >= redirects_max {
            return Err(RedirectError::TooMany { redirects_max, location });
        }
        Ok(Self { url, method, body, reach, is_at_home, visited })
    }

    /// Once a public server has answered, only public ones may follow.
    fn reach_of_next(&self, peer: Option<IpAddr>) -> Reach {
        let was_public = match peer {
            Some(address) => is_public(address),
            None => !is_private(&self.url),
        };
        if was_public { Reach::PublicOnly } else { self.reach }
    }

    /// 303 means "look there"; browsers taught the world that 301 and 302 after POST mean it too.
    fn method_of_next(&self, status: StatusCode) -> (Method, Bytes) {
        let becomes_get = match status.as_u16() {
            303 => !matches!(self.method, Method::GET | Method::HEAD),
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            (Method::GET, Bytes::new())
        } else {
            (self.method.clone(), self.body.clone())
        }
    }
}

/// Whether the address alone shows that it is not public.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => !is_public(address.into()),
        Some(Host::Ipv6(address)) => !is_public(address.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => true,
    }
}

fn without_fragment(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn hop(method: Method, url: &str) -> Hop {
        Hop::first(&FetchRequest {
            method,
            url: url.parse().unwrap(),
            headers: Arc::default(),
            validators: None,
            body: Bytes::from_static(b"question"),
            limits: Arc::default(),
            expects_json: true,
        })
    }

    fn follow(from: &Hop, status: u16, location: &str) -> Result<Hop, RedirectError> {
        let location = HeaderValue::from_str(location).unwrap();
        from.follow(StatusCode::from_u16(status).unwrap(), Some(&location), None, false, 5)
    }

    #[test]
    fn relative_locations_are_resolved() {
        let from = hop(Method::GET, "https://a.example/x/y?z=1");
        for (location, expected) in [
            ("w", "https://a.example/x/w"),
            ("/w", "https://a.example/w"),
            ("?z=2", "https://a.example/x/y?z=2"),
            ("//b.example/", "https://b.example/"),
            ("http://b.example", "http://b.example/"),
        ] {
            assert_eq!(follow(&from, 302, location).unwrap().url.as_str(), expected);
        }
    }

    #[test]
    fn the_method_changes_as_everybody_expects() {
        for (method, status, expected) in [
            (Method::POST, 301, Method::GET),
            (Method::POST, 302, Method::GET),
            (Method::POST, 303, Method::GET),
            (Method::POST, 307, Method::POST),
            (Method::POST, 308, Method::POST),
            (Method::PUT, 302, Method::PUT),
            (Method::PUT, 303, Method::GET),
            (Method::HEAD, 303, Method::HEAD),
            (Method::GET, 301, Method::GET),
        ] {
            let next = follow(&hop(method.clone(), "https://a.example/"), status, "/b").unwrap();
            assert_eq!(next.method, expected, "{method} {status}");
            assert_eq!(next.body.is_empty(), method != expected, "{method} {status}");
        }
    }

    #[test]
    fn what_is_not_http_is_not_followed() {
        let from = hop(Method::GET, "https://a.example/");
        for location in ["file:///etc/passwd", "ftp://a.example/", "data:,x", "javascript:1"] {
            let refused = follow(&from, 302, location).unwrap_err();
            assert!(matches!(refused, RedirectError::Scheme { .. }), "{location}: {refused}");
        }
        assert!(matches!(
            follow(&from, 302, "http://[bad").unwrap_err(),
            RedirectError::NotAnAddress { .. }
        ));
        let status = StatusCode::FOUND;
        assert_eq!(
            from.follow(status, None, None, false, 5).unwrap_err(),
            RedirectError::NoLocation
        );
        assert_eq!(follow(&from, 302, " ").unwrap_err(), RedirectError::NoLocation);
    }

    #[test]
    fn a_public_server_cannot_point_at_a_private_address() {
        let public = hop(Method::GET, "http://a.example/");
        for location in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://localhost:8080/",
            "http://x.localhost./",
        ] {
            let refused = follow(&public, 302, location).unwrap_err();
            assert!(matches!(refused, RedirectError::Private { .. }), "{location}: {refused}");
        }
        // A name may still resolve to one: the transport must look.
        assert_eq!(follow(&public, 302, "http://b.example/").unwrap().reach, Reach::PublicOnly);
    }

    #[test]
    fn a_private_server_may_point_anywhere_until_a_public_one_has_answered() {
        let private = hop(Method::GET, "http://127.0.0.1:80/");
        let next = follow(&private, 302, "http://10.0.0.1/").unwrap();
        assert_eq!(next.reach, Reach::Any);
        let public = follow(&next, 302, "http://93.184.216.34/").unwrap();
        assert_eq!(public.reach, Reach::Any);
        assert!(follow(&public, 302, "http://10.0.0.1/x").is_err());
        // A name in a private network is known by where it was connected to.
        let named = hop(Method::GET, "http://intranet.example/");
        let location = HeaderValue::from_static("http://10.0.0.1/");
        let peer = Some("192.168.1.1".parse().unwrap());
        let next = named.follow(StatusCode::FOUND, Some(&location), peer, false, 5).unwrap();
        assert_eq!(next.reach, Reach::Any);
    }

    #[test]
    fn once_away_from_home_is_away_for_good() {
        let home = hop(Method::GET, "https://a.example/");
        assert!(follow(&home, 302, "/x").unwrap().is_at_home);
        assert!(!follow(&home, 302, "https://a.example:8443/x").unwrap().is_at_home);
        let away = follow(&home, 302, "https://b.example/").unwrap();
        assert!(!follow(&away, 302, "https://a.example/back").unwrap().is_at_home);
    }

    #[test]
    fn loops_and_long_chains_end() {
        let from = hop(Method::GET, "https://a.example/1");
        assert!(matches!(follow(&from, 302, "/1#x"), Err(RedirectError::Loop { .. })));
        let second = follow(&from, 302, "/2").unwrap();
        assert!(matches!(follow(&second, 302, "/1"), Err(RedirectError::Loop { .. })));
        let mut hop = from;
        for number in 2..=6 {
            hop = follow(&hop, 302, &format!("/{number}")).unwrap();
        }
        assert_eq!(hop.redirects(), 5);
        let ended = follow(&hop, 302, "/7?token=hush").unwrap_err().to_string();
        assert_eq!(ended, "more than 5 redirects, the next one to `/7?token=***`");
    }

    #[test]
    fn a_form_that_answers_with_its_own_address_is_no_loop() {
        let form = hop(Method::POST, "https://a.example/form");
        assert_eq!(follow(&form, 303, "/form").unwrap().method, Method::GET);
    }

    #[test]
    fn credentials_are_not_taken_from_https_to_http() {
        let from = hop(Method::GET, "https://a.example/");
        let location = HeaderValue::from_static("http://a.example/");
        let refused = from.follow(StatusCode::FOUND, Some(&location), None, true, 5).unwrap_err();
        assert!(matches!(refused, RedirectError::Downgrade { .. }));
        assert!(from.follow(StatusCode::FOUND, Some(&location), None, false, 5).is_ok());
    }
}
