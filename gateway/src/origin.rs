//! Whether a page may open a socket here. A browser sends what it has of us with whatever page asks it
//! to, and other than a request, a WebSocket is not held back by the browser itself.

use actix_web::http::header::{self, HeaderMap};

use crate::error::ApiError;

/// Whether whoever sends these headers is no page, is a page of ours, or one that settings name.
pub(crate) fn may_call(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|it| it == "*" || it == origin) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let is_ours = |host: &str| {
        let bare = |it: &str| it.strip_suffix(port).unwrap_or(it).to_ascii_lowercase();
        !host.is_empty() && bare(host) == bare(authority)
    };
    host.is_some_and(is_ours)
}

/// The same as what whoever may not is told.
pub(crate) fn check(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    may_call(headers, allowed).then_some(()).ok_or(ApiError::ForeignOrigin)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[track_caller]
    fn check_page(origin: Option<&'static str>, allowed: &[&str], may: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("fleet.example:8000"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let allowed: Vec<String> = allowed.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(may_call(&headers, &allowed), may, "{origin:?}");
    }

    #[test]
    fn only_our_pages_and_those_that_are_named_may_call() {
        check_page(None, &[], true);
        check_page(Some("http://fleet.example:8000"), &[], true);
        check_page(Some("https://FLEET.example:8000"), &[], true);
        check_page(Some("http://fleet.example"), &[], false);
        check_page(Some("https://evil.example"), &[], false);
        check_page(Some("https://fleet.example:8000.evil.example"), &[], false);
        check_page(Some("https://fleet.example:8000"), &[], true);
        check_page(Some("null"), &[], false);
        check_page(Some("null"), &["*"], true);
        check_page(Some("https://a.example"), &["https://b.example"], false);
        check_page(Some("https://other.example"), &["https://other.example"], true);
        check_page(Some("https://other.example"), &["*"], true);
    }
}
