//! One place that settings name: a base URL, checked at boot, that may stand for several
//! executors when its name resolves to several addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ExecutorInfo;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::routing::Remembered;

/// URLs that settings may name together.
const ENDPOINTS_MAX: usize = 256;
/// Executors that one name may resolve to.
const ADDRESSES_MAX: usize = 64;

/// Why the fleet that settings name is refused. The URL itself is not shown, as it may hold a
/// password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidFleet {
    /// One entry of one variable is wrong.
    #[error("{variable}_EXECUTOR_URL, entry {entry}: {problem}")]
    Url {
        /// The variable, without its suffix.
        variable: String,
        /// Which entry of the list, from 1.
        entry: usize,
        /// What would be right.
        problem: String,
    },
    /// There are too many of them.
    #[error("the `_EXECUTOR_URL` variables may name at most {ENDPOINTS_MAX} URLs together")]
    TooMany,
}

/// Where one executor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// The URL as it is.
    Named(String),
    /// One address that a name resolved to, and the name for the `Host` header.
    Resolved {
        /// The base URL with the address in the name's place.
        url: String,
        /// What `Host` must say.
        host: HeaderValue,
    },
    /// A name that does not resolve yet.
    Unresolved,
}

/// One URL of the settings.
#[derive(Debug)]
pub(crate) struct Endpoint {
    names: Vec<String>,
    url: Url,
    resolves: Option<(String, u16)>,
    host: Option<HeaderValue>,
    last: Mutex<Option<Arc<ExecutorInfo>>>,
    prefers_v6: Mutex<Option<bool>>,
}

/// Parses `(NAME, url,url)` pairs. A URL that two variables name is one endpoint of two names.
pub(crate) fn parse(variables: &[(String, String)]) -> Result<Vec<Endpoint>, InvalidFleet> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (variable, list) in variables {
        let name = variable.to_ascii_lowercase();
        let entries = list.split(',').map(str::trim).filter(|it| !it.is_empty());
        for (index, text) in entries.enumerate() {
            let url = parse_url(text).map_err(|problem| InvalidFleet::Url {
                variable: variable.clone(),
                entry: index + 1,
                problem,
            })?;
            match endpoints.iter_mut().find(|it| it.url == url) {
                Some(known) if known.names.contains(&name) => {}
                Some(known) => known.names.push(name.clone()),
                None => endpoints.push(Endpoint::new(name.clone(), url)),
            }
        }
    }
    if endpoints.len() > ENDPOINTS_MAX { Err(InvalidFleet::TooMany) } else { Ok(endpoints) }
}

fn parse_url(text: &str) -> Result<Url, String> {
    const LIKE: &str = "give a base URL such as http://127.0.0.1:8001";
    let url = Url::parse(text).map_err(|error| format!("{error}; {LIKE}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("it must start with http:// or https://; {LIKE}"));
    }
    if url.host_str().is_none_or(str::is_empty) || url.port_or_known_default() == Some(0) {
        return Err(format!("it names no host or no port; {LIKE}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must hold no user or password; set GATEWAY_EXECUTOR_TOKEN".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("it must have no `?` or `#`; {LIKE}"));
    }
    Ok(url)
}

impl Endpoint {
    fn new(name: String, url: Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let authority = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        // A TLS name stays whole: several of its addresses are mostly one service's front doors.
        let resolves = (url.scheme() == "http" && !is_address)
            .then(|| (host, url.port_or_known_default().unwrap_or(80)));
        Self {
            names: vec![name],
            host: HeaderValue::from_str(&authority).ok(),
            url,
            resolves,
            last: Mutex::new(None),
            prefers_v6: Mutex::new(None),
        }
    }

    /// What settings call it first.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether it is reached over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name and port to resolve, if it is not an address already.
    pub(crate) fn resolves(&self) -> Option<(&str, u16)> {
        self.resolves.as_ref().map(|(host, port)| (host.as_str(), *port))
    }

    /// Every executor's place, given what the name resolved to.
    pub(crate) fn bases(&self, addresses: &[SocketAddr]) -> Vec<Base> {
        let path = self.url.path().trim_end_matches('/');
        let (Some(_), Some(host)) = (&self.resolves, &self.host) else {
            return vec![Base::Named(self.url.as_str().trim_end_matches('/').to_owned())];
        };
        if addresses.is_empty() {
            return vec![Base::Unresolved];
        }
        let resolved = addresses.iter().take(ADDRESSES_MAX).map(|address| Base::Resolved {
            url: format!("http://{address}{path}"),
            host: host.clone(),
        });
        resolved.collect()
    }

    /// Of what a name resolved to, the addresses of one family: a service that has both must not
    /// count twice. The resolver's first one decides until [`Endpoint::prefer`] is called.
    pub(crate) fn one_family(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let prefers_v6 = *self.prefers_v6.lock().unwrap_or_else(PoisonError::into_inner);
        let is_v6 = prefers_v6
            .filter(|is_v6| addresses.iter().any(|it| it.is_ipv6() == *is_v6))
            .or_else(|| addresses.first().map(SocketAddr::is_ipv6));
        let mut family: Vec<SocketAddr> =
            addresses.iter().filter(|it| Some(it.is_ipv6()) == is_v6).copied().collect();
        family.sort_unstable();
        family.dedup();
        family
    }

    /// Makes the family of `address` the one to use.
    pub(crate) fn prefer(&self, address: SocketAddr) {
        *self.prefers_v6.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.is_ipv6());
    }

    /// Keeps what an executor said, for when it is gone.
    pub(crate) fn remember(&self, info: &Arc<ExecutorInfo>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(info));
    }

    /// What is known of it.
    pub(crate) fn remembered(&self) -> Remembered {
        let info = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Remembered { names: self.names.clone(), info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(variable: &str, list: &str) -> Result<Vec<Endpoint>, InvalidFleet> {
        parse(&[(variable.to_owned(), list.to_owned())])
    }

    #[track_caller]
    fn check_refused(list: &str, part: &str) {
        let error = one("ALPHA", list).unwrap_err().to_string();
        assert!(error.starts_with("ALPHA_EXECUTOR_URL, entry ") && error.contains(part), "{error}");
    }

    #[test]
    fn a_wrong_url_names_its_variable() {
        check_refused("alpha.internal:8001", "http");
        check_refused("ftp://host", "http://");
        check_refused("http://a:1,http://user:hunter2@host", "password");
        check_refused("http://host/?a=b", "`?`");
        check_refused("8001", "base URL");
        assert!(!one("ALPHA", "http://u:hunter2@h").unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_url_of_two_variables_is_one_endpoint() {
        let pairs = [("ALPHA", "http://h:1, http://h:2/"), ("BETA", "http://h:1/")];
        let pairs = pairs.map(|(name, list)| (name.to_owned(), list.to_owned()));
        let endpoints = parse(&pairs).unwrap();
        assert_eq!(endpoints.len(), 2);
        assert_eq!(endpoints[0].names, ["alpha", "beta"]);
    }

    #[test]
    fn a_name_with_several_addresses_is_several_executors() {
        let endpoint = &one("ALPHA", "http://alpha.internal:8001/base/").unwrap()[0];
        let addresses = ["10.0.0.1:8001", "10.0.0.2:8001"].map(|it| it.parse().unwrap());
        let bases = endpoint.bases(&addresses);
        let host = HeaderValue::from_static("alpha.internal:8001");
        let url = "http://10.0.0.1:8001/base".to_owned();
        assert_eq!(bases.len(), 2);
        assert_eq!(bases[0], Base::Resolved { url, host });
        assert_eq!(endpoint.bases(&[]), [Base::Unresolved]);
    }

    #[test]
    fn an_address_and_a_tls_name_stay_as_they_are() {
        for url in ["http://127.0.0.1:8001", "http://[::1]:8001", "https://alpha.example"] {
            let endpoint = &one("ALPHA", url).unwrap()[0];
            assert_eq!(endpoint.bases(&[]), [Base::Named(url.to_owned())]);
        }
    }

    #[test]
    fn a_service_of_both_families_does_not_count_twice() {
        let endpoint = &one("ALPHA", "http://localhost:8001").unwrap()[0];
        let v6: SocketAddr = "[::1]:8001".parse().unwrap();
        let v4: SocketAddr = "127.0.0.1:8001".parse().unwrap();
        assert_eq!(endpoint.one_family(&[v6, v4]), [v6]);
        endpoint.prefer(v4);
        assert_eq!(endpoint.one_family(&[v6, v4]), [v4]);
        assert_eq!(endpoint.one_family(&[v6]), [v6]);
    }
}
