//! How long a request waits for an end before it is answered: by `?wait=`, which must be right, or by
//! `Prefer: wait=` (RFC 7240), which is followed as far as it may be.

use std::time::Duration;

use actix_web::HttpResponseBuilder;
use actix_web::http::header::{HeaderMap, HeaderName};

use crate::error::ApiError;

/// Longest wait, in seconds.
const SECONDS_MAX: u32 = 60;
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A wait for an end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wait {
    /// How long at most; zero is no wait.
    pub(crate) time: Duration,
    /// The seconds of the preference that it follows, if it does.
    preferred: Option<u32>,
}

impl Wait {
    /// What a request asks for: seconds in its address, with an `s` or without, or else in its header.
    pub(crate) fn of(asked: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(asked) = asked else {
            let preferred = preferred(headers).map(|it| it.min(SECONDS_MAX));
            let time = Duration::from_secs(preferred.unwrap_or_default().into());
            return Ok(Self { time, preferred });
        };
        let number = asked.strip_suffix('s').unwrap_or(asked).parse::<f64>().ok();
        let number = number.filter(|it| (0.0..=f64::from(SECONDS_MAX)).contains(it));
        let detail = || format!("must be 0 to {SECONDS_MAX} seconds, such as `30s`");
        let number = number.ok_or_else(|| ApiError::invalid("/wait", detail()))?;
        Ok(Self { time: Duration::from_secs_f64(number), preferred: None })
    }

    /// Says in an answer which preference it follows.
    pub(crate) fn tell(self, response: &mut HttpResponseBuilder) {
        if let Some(seconds) = self.preferred {
            response.insert_header((PREFERENCE_APPLIED, format!("wait={seconds}")));
        }
    }
}

/// The first wait that is preferred; none if that is no number.
fn preferred(headers: &HeaderMap) -> Option<u32> {
    let values = headers.get_all(PREFER).filter_map(|it| it.to_str().ok());
    let preferences = values.flat_map(|it| it.split(','));
    let mut waits = preferences.filter_map(|it| {
        let (name, value) = it.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    waits.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::HttpResponse;
    use actix_web::test::TestRequest;

    use super::*;

    /// How long is waited, in seconds, and which preference is said to be followed.
    #[track_caller]
    fn check(asked: Option<&str>, prefers: &[&'static str], expected: (f64, Option<&str>)) {
        let mut request = TestRequest::get();
        for value in prefers {
            request = request.append_header((PREFER, *value));
        }
        let wait = Wait::of(asked, request.to_http_request().headers()).unwrap();
        let mut response = HttpResponse::Ok();
        wait.tell(&mut response);
        let response = response.finish();
        let told = response.headers().get(PREFERENCE_APPLIED).map(|it| it.to_str().unwrap());
        assert_eq!((wait.time.as_secs_f64(), told), expected, "{asked:?} {prefers:?}");
    }

    #[test]
    fn an_address_asks_for_seconds_within_bounds() {
        check(None, &[], (0.0, None));
        check(Some("0.5"), &[], (0.5, None));
        check(Some("60s"), &["wait=1"], (60.0, None));
        for wrong in ["61", "-1", "1m", "", "NaN"] {
            assert!(Wait::of(Some(wrong), &HeaderMap::new()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_preference_is_followed_as_far_as_it_may_be() {
        check(None, &["wait=30"], (30.0, Some("wait=30")));
        check(None, &["respond-async, Wait = \"5\"; x=1"], (5.0, Some("wait=5")));
        check(None, &["handling=lenient", "wait=2", "wait=3"], (2.0, Some("wait=2")));
        check(None, &["wait=600"], (60.0, Some("wait=60")));
        for none in ["wait", "wait=soon", "wait=-1", "waiting=3"] {
            check(None, &[none], (0.0, None));
        }
    }
}
