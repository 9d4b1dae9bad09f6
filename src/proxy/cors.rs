//! What browsers ask before they let a page call, and what they must be told for the page to read the
//! answer (Fetch, "CORS protocol"). Only pages whose Origin the guard let pass get here.
//!
//! The key is in a header that the page itself sets, so nothing a browser adds by itself counts:
//! `Access-Control-Allow-Credentials` is never said.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

/// The headers clients of MCP send, besides `Mcp-Param-*`, whose names their servers choose.
const ALLOWED: &str = "authorization, x-api-key, content-type, accept, mcp-protocol-version, \
    mcp-session-id, mcp-method, mcp-name, last-event-id, traceparent, tracestate";
const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE");
/// Those of our answers a page may need.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate, MCP-Protocol-Version, Retry-After");
/// How many seconds a browser may remember it: a change of `allowed_origins` should not take a day.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// Most bytes of names of parameters that are repeated to a browser.
const PARAMETERS_MAX: usize = 4096;

/// The answer to a browser that asks what a page of this origin may send; `None` for any other request.
pub(super) fn preflight(head: &Parts) -> Option<Response<Full<Bytes>>> {
    let headers = &head.headers;
    let origin = headers.get(ORIGIN)?;
    let asks =
        head.method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks {
        return None;
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let told = response.headers_mut();
    told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    told.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    told.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed(headers));
    told.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    told.insert(
        VARY,
        HeaderValue::from_static("Origin, Access-Control-Request-Headers"),
    );
    Some(response)
}

/// Lets the page of this origin read an answer.
pub(super) fn share(answer: &mut HeaderMap, origin: HeaderValue) {
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer.insert(VARY, HeaderValue::from_static("Origin"));
}

/// The list, and the parameters the page asks for by name: a browser knows no `mcp-param-*`.
fn allowed(asked: &HeaderMap) -> HeaderValue {
    let asked = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let mut list = ALLOWED.to_owned();
    for name in asked.flat_map(|value| value.as_bytes().split(|&b| b == b',')) {
        if let Some(name) = parameter(name.trim_ascii())
            && list.len() + name.len() < PARAMETERS_MAX
        {
            list.push_str(", ");
            list.push_str(&name);
        }
    }
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static(ALLOWED))
}

fn parameter(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let chosen = name.strip_prefix("mcp-param-")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (!chosen.is_empty() && chosen.bytes().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn ask(list: &[(&str, &str)]) -> Option<Response<Full<Bytes>>> {
        let mut request = Request::options("/x/mcp");
        for (name, value) in list {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        preflight(&head)
    }

    const PAGE: (&str, &str) = ("origin", "http://localhost:6274");
    const METHOD: (&str, &str) = ("access-control-request-method", "POST");

    #[test]
    fn a_browser_is_told_what_a_page_may_send() {
        let wanted =
            "authorization,mcp-param-user_id, Mcp-Param-Region, mcp-param-, mcp-param-a b, x-evil";
        let answer = ask(&[PAGE, METHOD, ("access-control-request-headers", wanted)]).unwrap();
        assert_eq!(answer.status(), 204);
        let header = |name| answer.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(header("access-control-allow-origin"), PAGE.1);
        assert_eq!(
            header("access-control-allow-headers"),
            format!("{ALLOWED}, mcp-param-user_id, mcp-param-region")
        );
        assert_eq!(header("access-control-allow-methods"), "POST, GET, DELETE");
        assert!(header("vary").contains("Origin"));
        let credentials = answer
            .headers()
            .get("access-control-allow-credentials")
            .is_none();
        assert!(credentials, "a browser's own credentials never count");
    }

    #[test]
    fn names_are_not_repeated_without_end() {
        let many = "mcp-param-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,".repeat(500);
        let answer = ask(&[PAGE, METHOD, ("access-control-request-headers", &many)]).unwrap();
        let told = &answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS];
        assert!(told.len() < 4200, "{}", told.len());
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        assert!(ask(&[PAGE]).is_none());
        assert!(ask(&[METHOD]).is_none());
        let post = Request::post("/x/mcp").header(PAGE.0, PAGE.1);
        let post = post.header(METHOD.0, METHOD.1).body(()).unwrap();
        let (head, ()) = post.into_parts();
        assert!(preflight(&head).is_none());
    }
}
