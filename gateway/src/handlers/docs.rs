//! A small page to try the API. Everything it needs is in this binary, and its policy lets it
//! load nothing else.

use actix_web::HttpResponse;
use actix_web::http::header;

const PAGE: &str = include_str!("docs/page.html");
/// The console's colours and sizes, and what this page does with them.
const STYLE: &str =
    concat!(include_str!("../../console/page/style/tokens.css"), include_str!("docs/docs.css"));
const SCRIPT: &str = include_str!("docs/docs.js");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// `GET /docs`
pub(crate) async fn page() -> HttpResponse {
    asset("text/html; charset=utf-8", PAGE)
}

/// `GET /docs.css`
pub(crate) async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", STYLE)
}

/// `GET /docs.js`
pub(crate) async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

fn asset(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_nothing_inline() {
        for text in [PAGE, STYLE, SCRIPT] {
            assert!(!text.contains("://") && !text.contains("@import"));
        }
        for inline in ["<style", "style=", " onclick", " onload", "javascript:"] {
            assert!(!PAGE.contains(inline), "{inline}");
        }
        assert_eq!(PAGE.matches("<script").count(), PAGE.matches("<script src=").count());
    }
}
