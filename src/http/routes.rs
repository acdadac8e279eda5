//! What each path answers. No input or output but the request and the response.

use std::time::Instant;

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};

use crate::board::Board;
use crate::health::Verdict;
use crate::telemetry::metrics::{self, Metrics};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The answer to a request of `method` for the path and query in `uri`.
pub fn respond(method: &Method, uri: &Uri, board: &Board, metrics: &Metrics) -> Response<String> {
    let now = Instant::now();
    let answer: &dyn Fn() -> Response<String> = match uri.path() {
        "/livez" => &|| verdict(board.probes(now).live),
        "/readyz" => &|| verdict(board.probes(now).ready),
        "/startupz" => &|| verdict(board.probes(now).startup),
        "/metrics" => &|| scrape(board, metrics, now),
        "/status" => &|| status(board, now),
        "/status.txt" => &|| table(board, now, uri.query().unwrap_or_default()),
        _ => {
            let known =
                "no such path; there are /livez /readyz /startupz /metrics /status /status.txt\n";
            return response(StatusCode::NOT_FOUND, TEXT, known.to_owned());
        }
    };
    if method != Method::GET && method != Method::HEAD {
        let only = "this path takes GET and HEAD only\n".to_owned();
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, only);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    answer()
}

fn verdict(verdict: Verdict) -> Response<String> {
    let code = if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(code, TEXT, verdict.reason + "\n")
}

fn scrape(board: &Board, metrics: &Metrics, now: Instant) -> Response<String> {
    match metrics.encode(board, now) {
        Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

/// With colours where `query` has `color`.
fn table(board: &Board, now: Instant, query: &str) -> Response<String> {
    let color = query.split('&').any(|word| word == "color");
    response(StatusCode::OK, TEXT, board.status(now).render(color))
}

fn status(board: &Board, now: Instant) -> Response<String> {
    match serde_json::to_string_pretty(&board.status(now)) {
        Ok(text) => response(StatusCode::OK, JSON, text + "\n"),
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn response(code: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
