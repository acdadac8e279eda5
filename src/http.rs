//! The HTTP server of the probes, all of it read-only.
//!
//! | Route | Answer to `GET` and `HEAD` |
//! |---|---|
//! | `/livez` | 200 or 503, and the line that says why |
//! | `/readyz` | the same |
//! | `/startupz` | the same |
//! | `/metrics` | metrics for Prometheus, see [`metrics`](crate::telemetry::metrics) |
//! | `/status` | [`Status`](crate::status::Status) as JSON |
//! | `/status.txt` | the same as a table for a person; `?color` |
//!
//! Another path: 404. Another method: 405. One request per connection.
//!
//! A probe is answered promptly whatever other clients do: the number of connections, their
//! header, its time and their whole life are bounded, and a newcomer pushes out a connection of
//! whoever holds the most of them, see [`guests`] and [`lobby`].

use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::warn;

use crate::board::Board;
use crate::http::guests::Guests;
use crate::http::lobby::{Lobby, Queue};
use crate::telemetry::metrics::Metrics;

pub mod bind;
pub mod guests;
pub mod lobby;
pub mod routes;

/// Open connections at most.
pub const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for its request, and for reading the answer.
const LIFE: Duration = Duration::from_secs(4);

/// How long it may take for the header, which is all of a request that is read.
const HEADER_TIME: Duration = Duration::from_secs(2);

/// Longest header, in bytes; also the read buffer, and the least that hyper takes for it.
const HEADER_MAX: usize = 8192;

/// Most fields of a header. The kubelet sends five, Prometheus six.
const FIELDS_MAX: usize = 32;

/// How long nothing is accepted while the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener`, which does not block, until `shutdown` is ready; open connections are then
/// closed. To serve the same address again after a failure, hand in a `try_clone` of the listener.
///
/// # Errors
/// The listener cannot be handed to the runtime.
pub async fn serve(
    listener: TcpListener,
    board: Board,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    // The same queue twice: to wait at, and to empty.
    let queue = listener.try_clone()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::select! {
        () = accept(&listener, &queue, &board, &metrics) => {}
        () = shutdown => {}
    }
    Ok(())
}

/// Accepts for ever. Dropping this closes every connection.
async fn accept(
    listener: &tokio::net::TcpListener,
    queue: &TcpListener,
    board: &Board,
    metrics: &Metrics,
) {
    let (mut guests, mut lobby) = (Guests::new(CONNECTIONS_MAX), Lobby::new(CONNECTIONS_MAX));
    let mut warned = false;
    loop {
        let first = listener.accept().await;
        let accepted = first
            .and_then(|(stream, peer)| Ok((stream.into_std()?, peer)))
            .and_then(|(stream, peer)| lobby.accept(stream, peer.ip(), queue));
        if let Err(error) = &accepted
            && !lobby::is_the_clients(error)
        {
            if !warned {
                warn!(%error, "cannot accept connections to the probes at times");
            }
            warned = true;
            guests.forget_ended();
            // The descriptor of somebody else's connection makes room, where there is one.
            if !guests.dismiss_one() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        for (peer, stream) in lobby.asking() {
            guests.forget_ended();
            guests.admit(peer, answer(stream, board.clone(), metrics.clone()));
            // Is answered here, before another one could push it out.
            tokio::task::yield_now().await;
        }
        if !matches!(accepted, Ok(Queue::HasMore)) {
            guests.forget_ended();
            for (peer, stream) in lobby.others() {
                guests.admit(peer, answer(stream, board.clone(), metrics.clone()));
            }
        }
        // What had to go is closed.
        tokio::task::yield_now().await;
    }
}

/// Answers the one request of a connection, in bounded time.
async fn answer(stream: TcpStream, board: Board, metrics: Metrics) {
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let service = service_fn(|request| {
        let response = routes::respond(request.method(), request.uri(), &board, &metrics);
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEADER_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What went wrong is the client's to know: it would only fill the log of the pod.
    let _ = tokio::time::timeout(LIFE, connection).await;
}
