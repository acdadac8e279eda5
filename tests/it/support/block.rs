//! Loopback addresses that nobody else uses.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use nix::fcntl::{Flock, FlockArg};

/// A block of 254 addresses, `127.A.B.1` to `127.A.B.254`, ours until dropped. The lock that
/// says so is held by the process, so a killed test leaves nothing to clean up.
#[derive(Debug)]
pub struct Block {
    third: u8,
    second: u8,
    _lock: Flock<File>,
}

impl Block {
    /// Takes a block that is free, on which nothing listens.
    ///
    /// # Panics
    /// When every block is taken.
    pub fn take() -> Self {
        let user = nix::unistd::getuid();
        let dir = std::env::temp_dir().join(format!("rejoin-blocks-{user}"));
        fs::create_dir_all(&dir).expect("the directory for temporary files is writable");
        for second in 64..=127 {
            for third in 0..=255 {
                let path = dir.join(format!("{second}.{third}"));
                let file = File::options().write(true).create(true).truncate(false).open(path);
                let file = file.expect("the directory of the locks is writable");
                let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
                    continue;
                };
                let block = Self { third, second, _lock };
                if block.is_quiet() {
                    return block;
                }
            }
        }
        panic!("every block of loopback addresses is taken");
    }

    /// The address with this last byte, 1 to 254.
    pub fn ip(&self, last: usize) -> IpAddr {
        let last = u8::try_from(last).expect("a block has 254 addresses");
        assert!((1..=254).contains(&last), "a block has the addresses 1 to 254");
        Ipv4Addr::new(127, self.second, self.third, last).into()
    }

    /// Whether none of the ports that pods use is taken on the first addresses.
    fn is_quiet(&self) -> bool {
        (1..=6).all(|n| {
            [7000, 17000].iter().all(|port| TcpListener::bind((self.ip(n), *port)).is_ok())
        })
    }
}
