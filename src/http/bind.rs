//! Binding the address of the probes, before the server is started.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections wait to be accepted. Enough for a burst, since without room the kernel
/// drops the first packet of a probe, which is sent again only after a second; and so few that
/// under a steady flood, which fills any queue, a probe does not wait long in it.
const BACKLOG: i32 = 1024;

/// Most that the kernel keeps for one client in each direction, in bytes (it doubles the number).
const BUFFER: usize = 64 * 1024;

/// How long a client may leave what was sent to it unread or unacknowledged, also after the
/// connection was closed on our side: then the kernel drops it, and what it kept for it.
const UNREAD_MAX: Duration = Duration::from_secs(5);

/// The address of the probes cannot be bound. Ends `rejoin` with
/// [`exit::CONFIG`](crate::exit::CONFIG).
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

/// Binds the first of `addresses` that this host knows the kind of; the config's address of the
/// probes lists them: `[::]` first, which takes IPv4 as well, then `0.0.0.0` for a host without
/// IPv6. An address in use is an error at once. The listener does not block.
///
/// # Errors
/// [`BindError`], for the last address that was tried.
pub fn bind(addresses: &[SocketAddr]) -> Result<TcpListener, BindError> {
    let mut failed = None;
    for address in addresses {
        match listen(*address) {
            Ok(listener) => return Ok(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindError::Taken(*address));
            }
            Err(source) => {
                let goes_on = is_no_such_family(&source);
                failed = Some(BindError::Other { address: *address, source });
                if !goes_on {
                    break;
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| BindError::Other {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        source: io::ErrorKind::InvalidInput.into(),
    }))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // The address outlives the container: connections of the one before may still linger there.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Whatever `net.ipv6.bindv6only` says. Only `[::]` takes IPv4 by this.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Connections have these from the listener (tcp(7), socket(7)).
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_tcp_user_timeout(Some(UNREAD_MAX))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether this host lacks the whole address family: built or booted without IPv6.
fn is_no_such_family(error: &io::Error) -> bool {
    use nix::errno::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::*;

    const ANY_V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    const ANY_V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    /// An address of documentation, which no host has (RFC 5737).
    const NOT_HERE: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 0);

    #[test]
    fn any_address_takes_ipv4_clients() {
        let listener = bind(&[ANY_V6, ANY_V4]).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn address_in_use_is_an_error_that_names_it() {
        let first = bind(&[ANY_V6, ANY_V4]).unwrap();
        let taken = first.local_addr().unwrap();
        let error = bind(&[taken, ANY_V4]).unwrap_err();
        assert!(matches!(error, BindError::Taken(address) if address == taken), "{error:?}");
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }

    #[test]
    fn ipv4_port_in_use_is_taken_for_the_dual_address_too() {
        let first = bind(&[ANY_V4]).unwrap();
        let port = first.local_addr().unwrap().port();
        let addresses =
            [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
        let error = bind(&addresses).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{error:?}");
    }

    #[test]
    fn next_address_is_tried_where_the_first_cannot_exist() {
        assert!(bind(&[NOT_HERE, ANY_V4]).unwrap().local_addr().unwrap().ip().is_unspecified());
        let error = bind(&[NOT_HERE]).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:0"), "{error}");
    }

    #[test]
    fn no_address_at_all_is_an_error() {
        bind(&[]).unwrap_err();
    }
}
