//! What every request must pass, whatever it asks for.
//!
//! A page in a browser can make requests to loopback. The `Host` header is therefore checked on every request (against
//! DNS rebinding), a foreign `Origin` is refused, bodies need a content type that a browser asks leave for, and there
//! are no cookies and no cross-origin headers.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};

use super::token::Token;

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Host,
    Origin,
    ContentType,
    Token,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Refused::Host => StatusCode::MISDIRECTED_REQUEST,
            Refused::Origin => StatusCode::FORBIDDEN,
            Refused::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refused::Token => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn message(self) -> (&'static str, &'static str) {
        match self {
            Refused::Host => ("the Host header is not this interface's", "ask by a loopback address or 'localhost'"),
            Refused::Origin => ("requests of other web sites are refused", "ask from a program on this machine"),
            Refused::ContentType => {
                ("the content type is not accepted", "send application/json or application/octet-stream")
            }
            Refused::Token => {
                ("the token is missing or wrong", "send 'Authorization: Bearer' with the content of admin.token")
            }
        }
    }
}

/// Checks a request's head. `remote`: the operator has opened the interface to other machines.
pub(super) fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    token: &Token,
    remote: bool,
) -> Result<(), Refused> {
    if uri.authority().is_some() || !single(headers, header::HOST).is_some_and(|host| remote || is_local_host(host)) {
        return Err(Refused::Host);
    }
    if headers.contains_key(header::ORIGIN) && !single(headers, header::ORIGIN).is_some_and(is_local_origin) {
        return Err(Refused::Origin);
    }
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    if method == Method::POST && !single(headers, header::CONTENT_TYPE).is_some_and(is_accepted_type) {
        return Err(Refused::ContentType);
    }
    if needs_token(uri.path()) && !bearer(headers).is_some_and(|presented| token.is(presented)) {
        return Err(Refused::Token);
    }
    Ok(())
}

/// Questions about the ring change nothing, though their bodies make them `POST`s.
fn needs_token(path: &str) -> bool {
    !path.starts_with("/api/v1/ring/")
}

fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    single(headers, header::AUTHORIZATION)?.strip_prefix("Bearer ")
}

fn is_accepted_type(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("application/octet-stream")
}

/// Exactly `localhost` or a loopback address, with a port or without. Names that merely begin like one are not.
fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()) && is_port(port);
        }
        None => host.split_once(':').map_or(host, |(name, port)| if is_number(port) { name } else { "" }),
    };
    name == "localhost" || matches!(name.parse::<IpAddr>(), Ok(IpAddr::V4(address)) if address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_local_origin(origin: &str) -> bool {
    origin.strip_prefix("http://").is_some_and(is_local_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn get(headers: &HeaderMap) -> Result<(), Refused> {
        check(&Method::GET, &Uri::from_static("/api/v1/status"), headers, &Token::of("secret"), false)
    }

    fn post(path: &'static str, headers: &HeaderMap) -> Result<(), Refused> {
        check(&Method::POST, &Uri::from_static(path), headers, &Token::of("secret"), false)
    }

    #[test]
    fn only_loopback_hosts_are_answered() {
        for host in ["127.0.0.1", "127.0.0.1:9090", "127.5.5.5:1", "localhost", "localhost:9090", "[::1]", "[::1]:80"] {
            assert_eq!(get(&head(&[("host", host)])), Ok(()), "{host}");
        }
        let foreign = [
            "evil.com",
            "127.evil.com",
            "localhost.evil.com",
            "[::ffff:127.0.0.1]",
            "",
            "0.0.0.0",
            "127.0.0.1:99999",
            "127.0.0.1:80:80",
            "[::1",
            "[::1]x",
            "2130706433",
            "LOCALHOST.",
        ];
        for host in foreign {
            assert_eq!(get(&head(&[("host", host)])), Err(Refused::Host), "{host}");
        }
        assert_eq!(get(&head(&[])), Err(Refused::Host));
        assert_eq!(get(&head(&[("host", "localhost"), ("host", "localhost")])), Err(Refused::Host));
    }

    #[test]
    fn an_absolute_uri_is_refused() {
        let uri = Uri::from_static("http://evil.com/api/v1/status");
        let checked = check(&Method::GET, &uri, &head(&[("host", "localhost")]), &Token::of("secret"), false);
        assert_eq!(checked, Err(Refused::Host));
    }

    #[test]
    fn foreign_origins_are_refused() {
        for origin in ["null", "http://evil.com", "https://localhost", "http://localhost.evil.com", "file://"] {
            assert_eq!(get(&head(&[("host", "localhost"), ("origin", origin)])), Err(Refused::Origin), "{origin}");
        }
        assert_eq!(get(&head(&[("host", "localhost"), ("origin", "http://127.0.0.1:9090")])), Ok(()));
    }

    #[test]
    fn changes_need_a_content_type_and_the_token() {
        let plain = head(&[("host", "localhost"), ("content-type", "text/plain")]);
        assert_eq!(post("/api/v1/peerlets", &plain), Err(Refused::ContentType));
        let none = head(&[("host", "localhost"), ("content-type", "application/octet-stream")]);
        assert_eq!(post("/api/v1/peerlets", &none), Err(Refused::Token));
        for authorization in ["Bearer wrong", "Bearer ", "secret", "bearer secret", "Basic secret"] {
            let mut headers = none.clone();
            headers.append("authorization", authorization.parse().unwrap());
            assert_eq!(post("/api/v1/peerlets", &headers), Err(Refused::Token), "{authorization}");
        }
        let mut headers = none.clone();
        headers.append("authorization", "Bearer secret".parse().unwrap());
        assert_eq!(post("/api/v1/peerlets", &headers), Ok(()));
        assert_eq!(post("/api/v1/ring/lookup", &none), Ok(()), "a question about the ring changes nothing");
    }

    #[test]
    fn removing_needs_the_token() {
        let uri = Uri::from_static("/api/v1/peerlets/dht");
        let checked = check(&Method::DELETE, &uri, &head(&[("host", "localhost")]), &Token::of("secret"), false);
        assert_eq!(checked, Err(Refused::Token));
    }
}
