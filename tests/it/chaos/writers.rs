//! A writer for each shard, and what it was told. What was acknowledged is a bit in the cluster and
//! one here, so that it does not matter in which order what arrives late.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Scope;
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult};

use crate::support::fleet::Fleet;
use crate::support::lock::Access;
use crate::support::process::rest;
use crate::support::wait::wait_ok;

/// How long a writer waits for an answer before it asks somebody else.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two writes: each is synced to a disk that others use as well.
const PAUSE: Duration = Duration::from_millis(10);
/// Bits of one key.
const BITS: usize = 4096;

/// What one writer was told.
#[derive(Debug)]
struct Book {
    /// The hash tag of its keys.
    tag: String,
    /// By the number of the write, whether it was acknowledged.
    told: Mutex<Vec<bool>>,
    /// The last acknowledgement, and the longest pause between two.
    pause: Mutex<(Instant, Duration)>,
}

/// The writers of a cluster.
#[derive(Debug)]
pub struct Writers {
    access: Access,
    books: Vec<Arc<Book>>,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    ended: Arc<AtomicBool>,
}

/// Ends the writers when dropped, a panic included.
pub struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many writes each writer had been told of.
pub struct Mark(Vec<usize>);

impl Writers {
    /// A writer for each of these hash tags, at the addresses that are there when it asks.
    pub fn new(tags: Vec<String>, addresses: Arc<Mutex<Vec<SocketAddr>>>, access: Access) -> Self {
        let book = |tag| {
            let pause = Mutex::new((Instant::now(), Duration::ZERO));
            Arc::new(Book { tag, told: Mutex::default(), pause })
        };
        let books = tags.into_iter().map(book).collect();
        Self { access, books, addresses, ended: Arc::default() }
    }

    /// Starts them; they end when what this gives is dropped.
    pub fn start<'a>(&self, scope: &'a Scope<'a, '_>) -> Ended {
        for book in &self.books {
            let (book, addresses) = (Arc::clone(book), Arc::clone(&self.addresses));
            let (ended, access) = (Arc::clone(&self.ended), self.access.clone());
            scope.spawn(move || {
                let mut turn = 0;
                while !ended.load(Ordering::Relaxed) {
                    let all = lock(&addresses).clone();
                    turn += 1;
                    // Until it does not answer, or says that the slot is somebody else's.
                    if let Ok(mut server) = connect(&access, all[turn % all.len()]) {
                        while !ended.load(Ordering::Relaxed) && book.write(&mut server).is_ok() {
                            rest(PAUSE);
                        }
                    }
                    rest(PAUSE);
                }
            });
        }
        Ended(Arc::clone(&self.ended))
    }

    /// What they have been told so far, and forgets the longest pause.
    pub fn mark(&self) -> Mark {
        for book in &self.books {
            lock(&book.pause).1 = Duration::ZERO;
        }
        Mark(self.books.iter().map(|book| lock(&book.told).len()).collect())
    }

    /// Waits until each of them is told something new, and gives the longest pause that any had
    /// since the mark.
    #[track_caller]
    pub fn wait_all_write(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        for book in &self.books {
            wait_ok(limit, &format!("writes of {}", book.tag), || {
                let (last, longest) = *lock(&book.pause);
                if last > start { Ok(()) } else { Err(format!("none since {longest:?}")) }
            });
        }
        self.books.iter().map(|book| lock(&book.pause).1).max().unwrap_or_default()
    }

    /// What was acknowledged before the mark is all there. Gives how much of what was acknowledged
    /// since then is not, which is not looked for any more.
    #[track_caller]
    pub fn assert_kept(&self, mark: &Mark, fleet: &Fleet) -> usize {
        let mut client = fleet.client().expect("a whole cluster");
        let mut lost = 0;
        for (book, mark) in self.books.iter().zip(&mark.0) {
            let told = lock(&book.told).clone();
            let keys: Vec<String> =
                (0..told.len().div_ceil(BITS)).map(|n| book.key(n * BITS)).collect();
            let found: Vec<Option<Vec<u8>>> =
                redis::cmd("MGET").arg(&keys).query(&mut client).expect("they can be read");
            let is_there = |n: usize| {
                let bits = found[n / BITS].as_deref().unwrap_or_default();
                let bit = n % BITS;
                bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
            };
            let gone: Vec<usize> = (0..told.len()).filter(|n| told[*n] && !is_there(*n)).collect();
            let old = gone.iter().filter(|n| *n < mark).count();
            assert_eq!(old, 0, "{}: of {mark} writes these are gone: {gone:?}", book.tag);
            gone.iter().for_each(|n| lock(&book.told)[*n] = false);
            lost += gone.len();
        }
        lost
    }
}

impl Book {
    fn key(&self, number: usize) -> String {
        format!("{{{}}}:{}", self.tag, number / BITS)
    }

    /// One write, with a number that is used once, whether it is acknowledged or not.
    fn write(&self, server: &mut Connection) -> RedisResult<()> {
        let number = {
            let mut told = lock(&self.told);
            told.push(false);
            told.len() - 1
        };
        let key = self.key(number);
        redis::cmd("SETBIT").arg(key).arg(number % BITS).arg(1).query::<()>(server)?;
        lock(&self.told)[number] = true;
        let mut pause = lock(&self.pause);
        let now = Instant::now();
        *pause = (now, pause.1.max(now - pause.0));
        Ok(())
    }
}

fn connect(access: &Access, at: SocketAddr) -> RedisResult<Connection> {
    let server = access.client(at)?.get_connection_with_timeout(PATIENCE)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.set_write_timeout(Some(PATIENCE))?;
    Ok(server)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("nobody panics while holding it")
}
