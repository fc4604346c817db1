//! The page that people see. Its files are in this binary, compressed ahead; its policy lets it
//! load nothing from elsewhere and run nothing that stands in the page itself. It never answers
//! for the API: below the API's paths, and to whoever does not ask for HTML, nothing changes.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use console::Asset;

use crate::error::ApiError;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data: blob:; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";
/// What is named by its content never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// First parts of paths that are the API's, whatever else is asked for there.
const OF_THE_API: &[&str] = &[
    "api",
    "assets",
    "collab",
    "dialects",
    "docs",
    "health",
    "mcp",
    "metrics",
    "openapi.json",
    "problems",
    "v1",
];

/// `GET /`
pub(crate) async fn page(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    serve("index.html", &request)
}

/// `GET /assets/{file}`
pub(crate) async fn asset(
    request: HttpRequest,
    file: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    serve(&format!("assets/{file}"), &request)
}

/// Everything else: a place within the page, if a browser goes there, or else nothing.
pub(crate) async fn elsewhere(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let is_look = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_look && is_place(request.path()) && accepts_html(request.headers()) {
        return serve("index.html", &request);
    }
    Err(ApiError::NotFound)
}

/// Whether a path may be one within the page: not the API's, and none of a file.
fn is_place(path: &str) -> bool {
    let mut parts = path.trim_start_matches('/').split('/');
    let first = parts.next().unwrap_or_default();
    let last = parts.next_back().unwrap_or(first);
    !OF_THE_API.contains(&first) && !last.contains('.')
}

fn accepts_html(headers: &HeaderMap) -> bool {
    listed(headers, &header::ACCEPT).any(|it| it.eq_ignore_ascii_case("text/html"))
}

/// The values of a header that lists some, without those that are refused with `q=0`.
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split(',')).filter_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let value = parts.next()?;
        let quality = parts.find_map(|it| it.strip_prefix("q=")?.parse::<f32>().ok());
        quality.is_none_or(|it| it > 0.0).then_some(value)
    })
}

fn serve(path: &str, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    console::find(path).map(|it| answer(it, request.headers())).ok_or(ApiError::NotFound)
}

fn answer(asset: &'static Asset, headers: &HeaderMap) -> HttpResponse {
    let (body, encoding) = encoded(asset, headers);
    let tag = format!("\"{}{}\"", asset.digest, encoding.map_or("", |it| it.suffix));
    let is_known = listed(headers, &header::IF_NONE_MATCH).any(|it| {
        it == "*" || it.trim_start_matches("W/").trim_matches('"') == tag.trim_matches('"')
    });
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .content_type(asset.content_type)
        .insert_header((header::ETAG, tag))
        .insert_header((header::VARY, "accept-encoding"))
        .insert_header((
            header::CACHE_CONTROL,
            if asset.is_immutable { FOR_EVER } else { "no-cache" },
        ));
    if asset.content_type.starts_with("text/html") {
        response
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header(("cross-origin-opener-policy", "same-origin"));
    }
    if is_known {
        return response.finish();
    }
    if let Some(encoding) = encoding {
        let name = HeaderValue::from_static(encoding.name);
        response.insert_header((header::CONTENT_ENCODING, name));
    }
    response.body(body)
}

/// A form in which a file is kept.
#[derive(Debug, Clone, Copy)]
struct Encoding {
    name: &'static str,
    /// What its tag has more than that of the plain file.
    suffix: &'static str,
}

/// The smallest form of a file that a client takes.
fn encoded(asset: &'static Asset, headers: &HeaderMap) -> (&'static [u8], Option<Encoding>) {
    let forms = [
        (asset.brotli, Encoding { name: "br", suffix: "-br" }),
        (asset.gzip, Encoding { name: "gzip", suffix: "-gz" }),
    ];
    for (bytes, encoding) in forms {
        let is_taken = || {
            listed(headers, &header::ACCEPT_ENCODING)
                .any(|it| it.eq_ignore_ascii_case(encoding.name))
        };
        if let Some(bytes) = bytes.filter(|_| is_taken()) {
            return (bytes, Some(encoding));
        }
    }
    (asset.plain, None)
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_places_of_the_page_are_its_own() {
        for place in ["/play", "/jobs/0199", "/anything/else"] {
            assert!(is_place(place), "{place}");
        }
        for other in ["/v1", "/v1/nothing", "/api/x", "/assets/x", "/favicon.ico", "/a/b.js"] {
            assert!(!is_place(other), "{other}");
        }
    }

    /// A page, as if it had been built.
    fn built(plain: &'static [u8], packed: bool) -> &'static Asset {
        Box::leak(Box::new(Asset {
            path: "index.html",
            content_type: "text/html; charset=utf-8",
            is_immutable: false,
            digest: "d",
            plain,
            brotli: packed.then_some(b"br"),
            gzip: packed.then_some(b"gz"),
        }))
    }

    #[track_caller]
    fn check(accepts: &str, encoding: Option<&str>) {
        let request = TestRequest::get().insert_header((header::ACCEPT_ENCODING, accepts));
        let request = request.to_http_request();
        let (_, chosen) = encoded(built(b"plain", true), request.headers());
        assert_eq!(chosen.map(|it| it.name), encoding, "{accepts}");
    }

    #[test]
    fn the_smallest_form_that_a_client_takes_is_sent() {
        check("gzip, deflate, br", Some("br"));
        check("gzip", Some("gzip"));
        check("br;q=0, gzip;q=0.5", Some("gzip"));
        check("", None);
        check("identity", None);
    }

    #[test]
    fn a_page_that_was_not_built_in_is_served_under_the_same_policy() {
        let stub = include_bytes!("../../console/stub.html");
        let told = answer(built(stub, false), &HeaderMap::new());
        let of = |name| told.headers().get(name).and_then(|it| it.to_str().ok());
        assert_eq!(of(header::CONTENT_SECURITY_POLICY), Some(POLICY));
        assert_eq!(of(header::CACHE_CONTROL), Some("no-cache"));
        let text = std::str::from_utf8(stub).unwrap();
        for refused in ["<script", "<style", "style=", " on", "http:", "https:"] {
            let tags = text.split('<').filter_map(|it| it.split('>').next());
            let hit = tags.map(|it| format!("<{it}")).find(|it| it.contains(refused));
            assert_eq!(hit, None, "the policy refuses it");
        }
        // It leads to the API, which is there all the same.
        let links: Vec<&str> = text.split("href=\"").skip(1).collect();
        assert!(links.len() > 2 && links.iter().all(|it| it.starts_with('/')));
        assert!(links.iter().all(|it| !is_place(it.split('"').next().unwrap_or_default())));
    }

    #[actix_web::test]
    async fn a_browser_that_has_the_page_is_not_sent_it_again() {
        let first = page(TestRequest::get().to_http_request()).await.unwrap();
        let tag = first.headers().get(header::ETAG).unwrap().clone();
        assert!(tag.to_str().unwrap().starts_with('"'), "a strong tag");
        let again = TestRequest::get().insert_header((header::IF_NONE_MATCH, tag));
        let again = page(again.to_http_request()).await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }

    #[actix_web::test]
    async fn whoever_does_not_ask_for_a_page_is_told_that_nothing_is_there() {
        let asks = |accept: &str, path: &str| {
            TestRequest::get().uri(path).insert_header((header::ACCEPT, accept.to_owned()))
        };
        let html = "text/html,application/xhtml+xml,*/*;q=0.8";
        assert!(elsewhere(asks(html, "/play").to_http_request()).await.is_ok());
        assert!(elsewhere(asks("*/*", "/play").to_http_request()).await.is_err());
        assert!(elsewhere(asks(html, "/v1/nothing").to_http_request()).await.is_err());
        let posts = TestRequest::post().uri("/play").insert_header((header::ACCEPT, html));
        assert!(elsewhere(posts.to_http_request()).await.is_err());
    }
}
