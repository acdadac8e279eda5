//! The only module that speaks to servers: dial, log in, ask one thing, and say exactly what went
//! wrong. Every wait in it is bounded.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::config::login::{Login, Password};
use crate::config::secret::Secret;
use crate::config::server::dial::{Dial, Ports};
use crate::config::server::{ServerConfig, Tls};
use crate::health::Answer;

use heard::{FirstLine, Heard};

pub mod answer;
mod heard;
pub mod tls;

/// Longest wait for a connection, and then for each reply. A server that is alive but busy is
/// told from a dead one by the next rounds, not by a longer wait.
pub const PATIENCE: Duration = Duration::from_millis(1000);

/// Longest wait for a word in plain text where TLS did not come about.
const PLAIN_PATIENCE: Duration = Duration::from_millis(200);

/// Why there is no reply that we can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came back: reset, timed out.
    Silent(String),
    /// The connection was refused, at once: nobody listens there at present.
    Closed,
    /// The server said no: what its error line means.
    Said(Answer),
    /// Something came back that is not what a Redis server says; what.
    Garbage(String),
    /// We could not even try: a password file or a certificate of our own; what and where.
    Ours(String),
}

impl Failure {
    /// There was no `what` within that time.
    #[inline(never)]
    pub fn late(what: &str, limit: Duration) -> Failure {
        Failure::Silent(format!("no {what} within {limit:?}"))
    }

    /// Whether it is something that the other end said, and so lives.
    pub fn is_answer(&self) -> bool {
        matches!(self, Failure::Said(_) | Failure::Garbage(_))
    }

    /// Whether the connection that it came over is of no more use: broken, or without a login that
    /// a new one might have by now.
    pub fn ends_connection(&self) -> bool {
        match self {
            Failure::Silent(_) | Failure::Closed | Failure::Garbage(_) => true,
            Failure::Said(answer) => {
                matches!(
                    answer,
                    Answer::MaxClients | Answer::HungUp | Answer::Refused(_) | Answer::NoTls(_)
                )
            }
            Failure::Ours(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silent(why) => write!(f, "does not answer: {why}"),
            Failure::Closed => f.write_str("does not answer: connection refused"),
            Failure::Said(answer) => write!(f, "answers {answer}"),
            Failure::Garbage(what) => write!(f, "is no Redis server that we understand: {what}"),
            Failure::Ours(what) => f.write_str(what),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Failure {
        match error.kind() {
            ErrorKind::Io => Failure::Silent(words(&error)),
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                Failure::Garbage(error.to_string())
            }
            _ => {
                let code = error.code().unwrap_or("ERR");
                let line = match error.detail() {
                    Some(detail) => format!("{code} {detail}"),
                    None => code.to_owned(),
                };
                Failure::Said(Answer::from_error(&line))
            }
        }
    }
}

/// Opens connections with one login.
#[derive(Clone, Debug)]
pub struct Dialer {
    login: Login,
    /// The login in words.
    who: Arc<str>,
    tls: Arc<Tls>,
    ports: Ports,
}

impl Dialer {
    /// A dialer that logs in to servers of this configuration as `own` or the configuration says.
    /// Password file and certificates are read anew for each connection.
    pub fn new(own: &Login, server: &ServerConfig) -> Dialer {
        Dialer::with(server.login(own), server)
    }

    /// The same as a replica of this server logs in to its master.
    pub fn of_replica(server: &ServerConfig) -> Dialer {
        Dialer::with(server.replica_login(), server)
    }

    fn with(login: Login, server: &ServerConfig) -> Dialer {
        let who = login.to_string().into();
        Dialer { login, who, tls: Arc::new(server.tls.clone()), ports: server.ports() }
    }

    /// At which port other pods are asked.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Connects to the server of another pod and logs in.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_peer(&self, at: SocketAddr) -> Result<Connection, Failure> {
        let at = self.ports.place(at);
        let to = if self.ports.tls { Dial::Tls(at) } else { Dial::Tcp(at) };
        self.connect(&to).await
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Failure::Silent`] after [`PATIENCE`] at the latest, [`Failure::Closed`] at once;
    /// [`Failure::Said`] where the login is refused.
    pub async fn connect(&self, to: &Dial) -> Result<Connection, Failure> {
        let password = self.password()?;
        match timeout(PATIENCE, self.open(to, password)).await {
            Ok(result) => result,
            Err(_) => match to {
                Dial::Tls(at) if speaks_plain_text(*at).await => {
                    Err(Failure::Said(Answer::NoTls("it speaks plain text there".to_owned())))
                }
                _ => Err(Failure::late("connection", PATIENCE)),
            },
        }
    }

    async fn open(&self, to: &Dial, password: Option<Secret>) -> Result<Connection, Failure> {
        let silent = |error: io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Closed,
            _ => Failure::Silent(words(&error)),
        };
        let stream: Box<dyn Transport> = match to {
            Dial::Tcp(at) => Box::new(TcpStream::connect(at).await.map_err(silent)?),
            Dial::Tls(at) => {
                let connector = tls::connector(&self.tls).map_err(Failure::Ours)?;
                let stream = TcpStream::connect(at).await.map_err(silent)?;
                let name = ServerName::IpAddress(at.ip().into());
                let over_tls = connector.connect(name, stream).await;
                Box::new(over_tls.map_err(|error| no_tls(&error, &self.tls))?)
            }
            Dial::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(silent)?),
        };
        let connection = Connection::over(stream, self).await?;
        let mut auth = ::redis::cmd("AUTH");
        match (&self.login.username, &password) {
            (Some(username), Some(password)) => auth.arg(username).arg(password.expose()),
            (None, Some(password)) => auth.arg(password.expose()),
            // A user with `nopass` is logged in by any password.
            (Some(username), None) if username != "default" => auth.arg(username).arg(""),
            // Whoever connects is the user `default`.
            (_, None) => return Ok(connection),
        };
        connection.send(&auth).await?;
        Ok(connection)
    }

    fn password(&self) -> Result<Option<Secret>, Failure> {
        match &self.login.password {
            Password::None => Ok(None),
            Password::Value(secret) => Ok(Some(secret.clone())),
            Password::File(path) => match std::fs::read(path) {
                Ok(contents) => Ok(Some(Password::from_file(&contents))),
                Err(error) => Err(Failure::Ours(format!(
                    "cannot read the password file {}: {error}; check REJOIN_PASSWORD_FILE",
                    path.display()
                ))),
            },
        }
    }
}

/// What bytes go over: TCP, TLS or a socket file. One type for all, so that what is built on it is
/// there once.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for S {}

/// One connection. Clones share it; commands on clones are pipelined.
#[derive(Clone)]
pub struct Connection {
    inner: MultiplexedConnection,
    first: FirstLine,
    who: Arc<str>,
    tls: Arc<Tls>,
    _driver: Arc<Driver>,
}

/// The task that moves a connection's bytes; it ends with the last clone.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    async fn over(stream: Box<dyn Transport>, of: &Dialer) -> Result<Connection, Failure> {
        let plain = RedisConnectionInfo::default().set_skip_set_lib_name();
        // The bound is our own, in `send`, which says what was waited for.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (stream, first) = Heard::new(stream);
        let (inner, driver) = MultiplexedConnection::new_with_config(&plain, stream, config)
            .await
            .map_err(|error| explained(error, &first, &of.tls))?;
        let (who, tls) = (Arc::clone(&of.who), Arc::clone(&of.tls));
        Ok(Connection { inner, first, who, tls, _driver: Arc::new(Driver(tokio::spawn(driver))) })
    }

    /// Sends one command, its words as given, and waits for the reply.
    ///
    /// # Errors
    /// As [`Failure`] says; see [`Failure::ends_connection`].
    pub async fn ask(&self, words: &[&str]) -> Result<Value, Failure> {
        let mut command = Cmd::new();
        for word in words {
            command.arg(word);
        }
        self.send(&command).await
    }

    /// As [`Connection::ask`], for a command whose reply is text.
    ///
    /// # Errors
    /// Besides those of `ask`, [`Failure::Garbage`] for a reply that is not text.
    pub async fn text(&self, words: &[&str]) -> Result<String, Failure> {
        let reply = self.ask(words).await?;
        ::redis::from_redis_value(reply).map_err(|error| Failure::Garbage(error.to_string()))
    }

    /// As [`Connection::ask`], for a command whose reply is a number.
    ///
    /// # Errors
    /// Besides those of `ask`, [`Failure::Garbage`] for a reply that is no number.
    pub async fn number(&self, words: &[&str]) -> Result<u64, Failure> {
        let reply = self.ask(words).await?;
        ::redis::from_redis_value(reply).map_err(|error| Failure::Garbage(error.to_string()))
    }

    async fn send(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut inner = self.inner.clone();
        match timeout(PATIENCE, inner.send_packed_command(command)).await {
            Ok(Ok(reply)) => reply.extract_error().map_err(|error| self.refused(error.into())),
            Ok(Err(error)) => Err(explained(error, &self.first, &self.tls)),
            Err(_) => Err(Failure::late("reply", PATIENCE)),
        }
    }
}

impl Connection {
    /// A login that is refused, with who it is and where it was read.
    fn refused(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Said(Answer::Refused(line)) if !line.starts_with("DENIED") => {
                Failure::Said(Answer::Refused(format!("{line} ({})", self.who)))
            }
            failure => failure,
        }
    }
}

/// A connection broke: over what the other end says, because of what the server said last, or
/// without any reason that we know.
fn explained(error: RedisError, first: &FirstLine, tls: &Tls) -> Failure {
    // Which of these the client reports, if any, depends on what came first.
    if let Some(alert) = first.alert() {
        return Failure::Said(Answer::NoTls(tls::refused(alert, tls)));
    }
    if let Some(nonsense) = first.nonsense() {
        return Failure::Garbage(format!("it says `{nonsense}`"));
    }
    match (Failure::from(error), first.farewell()) {
        (Failure::Silent(_), Some(answer)) => Failure::Said(answer),
        (failure, _) => failure,
    }
}

/// Whether it is no TLS that is spoken where none came about in time: a server that expects plain
/// text takes the beginning of TLS for half a command, and waits for the rest (`processInlineBuffer`
/// in `src/networking.c`). One that speaks TLS answers this with an alert, if at all.
async fn speaks_plain_text(at: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut first = [0];
        stream.read_exact(&mut first).await?;
        io::Result::Ok(first)
    };
    matches!(timeout(PLAIN_PATIENCE, asked).await, Ok(Ok([b'+' | b'-'])))
}

/// No TLS over a connection that there is. Whoever closes it, or takes part but does not agree, is
/// alive; a server without room for another client closes it before the handshake
/// (`acceptCommonHandler` in `src/networking.c`).
fn no_tls(error: &io::Error, tls: &Tls) -> Failure {
    use io::ErrorKind as Kind;
    if let Some(error) = tls::error(error) {
        return Failure::Said(Answer::NoTls(tls::explain(error, tls)));
    }
    match error.kind() {
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe => {
            Failure::Said(Answer::HungUp)
        }
        _ => Failure::Silent(words(error)),
    }
}

/// The error in words, without the number that the standard library appends.
fn words(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
