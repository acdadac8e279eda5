//! The container engine, by its own command. What is made here carries the id of this process, and
//! is removed with its guard; what a process left that was killed, `scripts/images --sweep` removes.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use super::left_out::left_out;
use super::process::run;

/// The label of all that the tests make, with the id of the process that made it.
const LABEL: &str = "rejoin-test";

/// Runs `docker` with these arguments.
///
/// # Errors
/// What it says when it fails.
pub fn docker<S: AsRef<str>>(args: &[S]) -> Result<String, String> {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let output = run(Command::new("docker").args(&args));
    let out = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() {
        return Ok(out);
    }
    let err = String::from_utf8_lossy(&output.stderr);
    Err(format!("docker {}: {}: {out} {err}", args.join(" "), output.status))
}

/// The versions of the server that there are images of, oldest Redis first. Empty, and said so:
/// there is no engine here, or `scripts/images` has not been run.
pub fn versions() -> Vec<String> {
    let listed = match docker(&["images", "--format", "{{.Tag}}", "rejoin-test"]) {
        Ok(listed) => listed,
        Err(error) => {
            left_out("container tests: no container engine");
            eprintln!("{error}");
            return Vec::new();
        }
    };
    sweep();
    let mut versions: Vec<String> =
        listed.lines().filter(|tag| tag.contains('-')).map(str::to_owned).collect();
    versions.sort();
    if versions.is_empty() {
        left_out("container tests: no images (scripts/images makes them)");
    }
    versions
}

/// Removes what processes left behind that have ended, once in each process.
fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join("images");
        let _ = run(Command::new(script).arg("--sweep"));
    });
}

/// The label as an argument.
fn label() -> String {
    format!("--label={LABEL}={}", std::process::id())
}

/// A private network without a way out, of 254 addresses. Dropping it removes it.
#[derive(Debug)]
pub struct Network {
    /// Its name.
    pub name: String,
    third: u8,
    v6: bool,
}

impl Network {
    /// A network of IPv4.
    pub fn new() -> Self {
        Self::of(false)
    }

    /// A network whose containers have an address of IPv6 too.
    pub fn with_v6() -> Self {
        Self::of(true)
    }

    fn of(v6: bool) -> Self {
        let mut last = String::new();
        // Addresses that are set aside for tests of networks (RFC 2544), so that nobody has them.
        for third in 0..=255 {
            let name = format!("rejoin-test-{}-{third}", std::process::id());
            let subnet = format!("--subnet=198.18.{third}.0/24");
            let label = label();
            let mut args = vec!["network", "create", "--internal", &label, &subnet];
            let subnet_v6 = format!("--subnet=fd00:198:18:{third:x}::/64");
            if v6 {
                args.extend(["--ipv6", &subnet_v6]);
            }
            args.push(&name);
            match docker(&args) {
                Ok(_) => return Self { name, third, v6 },
                Err(error) => last = error,
            }
        }
        panic!("no network is free: {last}");
    }

    /// The address with this last byte, 2 to 254; the engine has the first.
    pub fn ip(&self, last: usize) -> std::net::IpAddr {
        let last = u8::try_from(last).expect("a network has 254 addresses");
        if self.v6 {
            let third = u16::from(self.third);
            return [0xfd00, 0x198, 0x18, third, 0, 0, 0, u16::from(last)].into();
        }
        Ipv4Addr::new(198, 18, self.third, last).into()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = docker(&["network", "rm", &self.name]) {
            eprintln!("{error}");
        }
    }
}

/// A container. Dropping it removes it; if that happens because a test fails, its log is printed.
#[derive(Debug)]
pub struct Container {
    /// Its id.
    pub id: String,
    what: String,
}

impl Container {
    /// Starts a container with these arguments of `docker run`, in the background.
    ///
    /// # Errors
    /// What the engine says.
    pub fn start<S: AsRef<str>>(what: &str, args: &[S]) -> Result<Self, String> {
        // Created first, so that one that does not start is removed too.
        let label = label();
        let mut all = vec!["create", &label];
        all.extend(args.iter().map(AsRef::as_ref));
        let container = Self { id: docker(&all)?, what: what.to_owned() };
        docker(&["start", &container.id])?;
        Ok(container)
    }

    /// Runs a container to its end, and gives what it wrote.
    ///
    /// # Errors
    /// That it failed, and what it wrote.
    pub fn run<S: AsRef<str>>(what: &str, args: &[S]) -> Result<String, String> {
        let container = Self::start(what, args)?;
        match container.wait()? {
            0 => Ok(container.log()),
            code => Err(format!("{what} ended with {code}: {}", container.log())),
        }
    }

    /// All that it wrote to stdout and stderr, over all its starts.
    pub fn log(&self) -> String {
        let output = run(Command::new("docker").args(["logs", &self.id]));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    }

    /// Waits for its end, and gives the exit code.
    ///
    /// # Errors
    /// What the engine says.
    pub fn wait(&self) -> Result<i32, String> {
        docker(&["wait", &self.id])?.parse().map_err(|error| format!("{error}"))
    }

    /// A field of what the engine knows of it, as in `.State.Running`.
    ///
    /// # Panics
    /// When the engine does not know it.
    #[track_caller]
    pub fn inspect(&self, field: &str) -> String {
        docker(&["inspect", "--format", &format!("{{{{{field}}}}}"), &self.id]).expect(field)
    }

    /// The id that its first process has outside.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.inspect(".State.Pid").parse().expect("a number")
    }

    /// Runs a command in it, and gives what it writes.
    ///
    /// # Errors
    /// That it failed, and what it wrote.
    pub fn exec(&self, command: &[&str]) -> Result<String, String> {
        docker(&[&["exec", &self.id], command].concat())
    }

    /// Does one thing to it, such as `stop`, with options before its id.
    ///
    /// # Panics
    /// When the engine refuses.
    #[track_caller]
    pub fn act(&self, words: &[&str]) {
        docker(&[words, &[&self.id]].concat()).expect("the engine does it");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(60);
            eprintln!("--- log of {} (last 60 lines) ---", self.what);
            log.lines().skip(skipped).for_each(|line| eprintln!("{line}"));
        }
        if let Err(error) = docker(&["rm", "--force", "--volumes", &self.id]) {
            eprintln!("{error}");
        }
    }
}
