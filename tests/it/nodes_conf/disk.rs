//! `nodes.conf` on disk: what is corrected, kept, put back and refused.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rejoin::nodes_conf::{Doubt, parse, with_own_ip};
use rejoin::nodes_file::{
    Backup, Damage, FileError, Lock, LockError, Outcome, correct, lose_address,
};

use super::tracer::server_arguments;
use super::{fixture, fixtures, names};

const IP: &str = "10.9.8.7";

/// A data directory with a `nodes.conf`.
struct Data {
    directory: tempfile::TempDir,
}

impl Data {
    fn with(file: &[u8]) -> Self {
        let data = Self { directory: tempfile::tempdir().expect("a directory") };
        data.write("nodes.conf", file);
        data
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).expect("write");
    }

    #[track_caller]
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Corrects `nodes.conf` under a lock of its own.
    fn correct(&self) -> Result<Outcome, FileError> {
        correct_at(&self.path("nodes.conf"))
    }
}

fn ip() -> IpAddr {
    IP.parse().expect("an address")
}

fn correct_at(path: &Path) -> Result<Outcome, FileError> {
    let lock = Lock::acquire(path).expect("the lock is free");
    correct(path, ip(), &lock)
}

fn corrected(file: &[u8]) -> Vec<u8> {
    with_own_ip(file, ip()).expect("a whole file").into_owned()
}

fn formed() -> Vec<u8> {
    fixture("redis-6.2-formed-master.conf")
}

fn failed_over() -> Vec<u8> {
    fixture("redis-6.2-failed-over.conf")
}

#[test]
fn changed_address_is_rewritten_and_old_file_kept() {
    let data = Data::with(&formed());
    let outcome = data.correct().expect("corrected");
    let Outcome::Rewritten { from, to, shards: 0, others: 0, backup: Backup::Kept } = &outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!((from.as_str(), *to), ("127.0.0.1", ip()));
    assert_eq!(outcome.to_string(), "own address changed from \"127.0.0.1\" to 10.9.8.7");
    assert_eq!(data.read("nodes.conf"), corrected(&formed()));
    assert_eq!(data.read("nodes.conf.bak"), formed());
}

#[test]
fn address_of_another_node_is_taken_out_and_nothing_else_is_changed() {
    let mut lost = 0;
    for name in names(".conf") {
        let file = fixture(&name);
        let before = parse(&file).expect("whole");
        for node in before.nodes.iter().filter(|node| !node.flags.myself) {
            let data = Data::with(&file);
            let path = data.path("nodes.conf");
            let lock = Lock::acquire(&path).expect("the lock is free");
            lose_address(&path, node.id, &lock).expect("replaced");
            let mut expected = before.clone();
            let line = expected.nodes.iter_mut().find(|it| it.id == node.id).expect("it is there");
            line.address.ip = "255.255.255.255".to_owned();
            let after = data.read("nodes.conf");
            assert_eq!(parse(&after).expect("whole"), expected, "{name}");
            assert_eq!(after.len() + node.address.ip.len(), file.len() + 15, "{name}");
            assert_eq!(data.read("nodes.conf.bak"), file, "{name}");
            // Once more changes nothing, and does not lose the backup.
            lose_address(&path, node.id, &lock).expect("nothing to do");
            assert_eq!(data.read("nodes.conf"), after, "{name}");
            assert_eq!(data.read("nodes.conf.bak"), file, "{name}");
            lost += 1;
        }
    }
    assert!(lost > 0, "no node in any file");
}

#[test]
fn own_address_is_taken_from_the_node_that_had_it_once() {
    let formed = String::from_utf8(formed()).expect("text");
    let conf = parse(formed.as_bytes()).expect("whole");
    let (own, other) = (conf.myself(), conf.nodes.iter().find(|node| !node.flags.myself));
    let (from, port) =
        (format!("127.0.0.1:{}@", other.expect("another").address.port), own.address.port);
    let bus_port = own.address.bus_port;
    let there = |ip: &str| {
        let (head, tail) = formed.split_once(&from).expect("its line");
        let (_, tail) = tail.split_once(' ').expect("its flags");
        format!("{head}{ip}:{port}@{bus_port} {tail}")
    };
    let data = Data::with(there(IP).as_bytes());
    let outcome = data.correct().expect("corrected");
    assert!(matches!(outcome, Outcome::Rewritten { others: 1, .. }), "{outcome:?}");
    assert!(outcome.to_string().ends_with("which is taken out: 1"), "{outcome}");
    assert_eq!(data.read("nodes.conf"), corrected(there("255.255.255.255").as_bytes()));
    assert_eq!(data.read("nodes.conf.bak"), there(IP).as_bytes());
    let outcome = data.correct().expect("right");
    assert!(matches!(outcome, Outcome::AlreadyRight { .. }), "{outcome:?}");
    // The own address has not changed, and a reader has it of another node since.
    let usurped = there(IP).replace(&format!("127.0.0.1:{port}@"), &format!("{IP}:{port}@"));
    data.write("nodes.conf", usurped.as_bytes());
    let outcome = data.correct().expect("corrected");
    assert!(
        outcome.to_string().starts_with("own address is right already; other nodes"),
        "{outcome}"
    );
    assert_eq!(data.read("nodes.conf"), corrected(there("255.255.255.255").as_bytes()));
}

#[test]
fn address_of_a_node_that_is_not_there_changes_nothing() {
    let data = Data::with(&formed());
    let path = data.path("nodes.conf");
    let lock = Lock::acquire(&path).expect("the lock is free");
    let nobody = "f".repeat(40).parse().expect("an id");
    lose_address(&path, nobody, &lock).expect("nothing to do");
    assert_eq!(data.read("nodes.conf"), formed());
    assert!(!data.has("nodes.conf.bak"));
}

#[test]
fn right_file_is_left_alone() {
    let data = Data::with(&corrected(&formed()));
    let before = fs::metadata(data.path("nodes.conf")).expect("metadata");
    let outcome = data.correct().expect("corrected");
    assert!(matches!(outcome, Outcome::AlreadyRight { backup: Backup::Kept }), "{outcome:?}");
    let after = fs::metadata(data.path("nodes.conf")).expect("metadata");
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn backup_of_right_file_is_a_copy_renewed_only_when_it_says_something_else() {
    let file = corrected(&failed_over());
    let data = Data::with(&file);
    data.write("nodes.conf.bak", &formed());
    data.correct().expect("corrected");
    assert_eq!(data.read("nodes.conf.bak"), file);
    let inode = |name: &str| fs::metadata(data.path(name)).expect("metadata").ino();
    let copy = inode("nodes.conf.bak");
    assert_ne!(copy, inode("nodes.conf"), "a server before 7.2 would tear both");

    let later = String::from_utf8(file).expect("text").replace(" 1795361", " 1795362");
    data.write("nodes.conf", later.as_bytes());
    data.correct().expect("corrected");
    assert_eq!(inode("nodes.conf.bak"), copy, "only times had changed");

    let newer = later.replace("currentEpoch ", "currentEpoch 1");
    data.write("nodes.conf", newer.as_bytes());
    data.correct().expect("corrected");
    assert_eq!(data.read("nodes.conf.bak"), newer.as_bytes());
}

#[test]
fn backup_that_is_the_file_itself_becomes_a_copy() {
    let data = Data::with(&corrected(&formed()));
    fs::hard_link(data.path("nodes.conf"), data.path("nodes.conf.bak")).expect("link");
    data.correct().expect("corrected");
    assert_eq!(fs::metadata(data.path("nodes.conf")).expect("metadata").nlink(), 1);
    assert_eq!(data.read("nodes.conf.bak"), data.read("nodes.conf"));
}

#[test]
fn torn_file_is_put_back_from_whole_backup_and_kept_as_torn() {
    for length in [1, 150, 300, 700] {
        let torn = failed_over()[..length].to_vec();
        let data = Data::with(&torn);
        data.write("nodes.conf.bak", &formed());
        let outcome = data.correct().expect("corrected");
        assert!(matches!(outcome, Outcome::Restored { .. }), "{outcome:?}");
        assert!(outcome.to_string().contains("nodes.conf.bak was put back"), "{outcome}");
        assert_eq!(data.read("nodes.conf"), corrected(&formed()));
        assert_eq!(data.read("nodes.conf.bak"), formed());
        assert_eq!(data.read("nodes.conf.torn"), torn);
    }
}

#[test]
fn missing_file_is_put_back_from_whole_backup() {
    let data = Data::with(b"");
    fs::remove_file(data.path("nodes.conf")).expect("remove");
    data.write("nodes.conf.bak", &formed());
    let outcome = data.correct().expect("corrected");
    assert!(matches!(outcome, Outcome::Restored { why: Damage::Missing, .. }), "{outcome:?}");
    assert_eq!(data.read("nodes.conf"), corrected(&formed()));
    assert_eq!(data.read("nodes.conf.bak"), formed());
    assert!(!data.has("nodes.conf.torn"));
}

#[test]
fn empty_file_is_put_back_from_whole_backup() {
    for (file, damage) in [(&b""[..], Damage::ZeroLength), (b"\0\0\n\0\n\n", Damage::Padding)] {
        let data = Data::with(file);
        data.write("nodes.conf.bak", &formed());
        match data.correct().expect("corrected") {
            Outcome::Restored { why, .. } => assert_eq!(why, damage),
            other => panic!("{other:?}"),
        }
        assert_eq!(data.read("nodes.conf"), corrected(&formed()));
    }
}

#[test]
fn file_without_its_end_is_put_back_only_where_the_backup_is_of_the_same_node() {
    let file = formed();
    let cut = file.len() - "vars currentEpoch 6 lastVoteEpoch 0\n".len();
    let data = Data::with(&file[..cut]);
    data.write("nodes.conf.bak", &file);
    let outcome = data.correct().expect("corrected");
    let Outcome::Restored { why: Damage::Doubtful(Doubt::NoVars), .. } = outcome else {
        panic!("{outcome:?}");
    };

    let other = fixture("redis-7.0-formed-master.conf");
    let data = Data::with(&file[..cut]);
    data.write("nodes.conf.bak", &other);
    let outcome = data.correct().expect("corrected");
    let Outcome::Rewritten { backup: Backup::Doubtful(Doubt::NoVars), .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(data.read("nodes.conf"), corrected(&file[..cut]));
    assert_eq!(data.read("nodes.conf.bak"), other, "a doubtful file is no backup");
}

#[test]
fn missing_and_zero_length_files_without_backup_are_a_first_boot() {
    let data = Data::with(b"");
    assert!(matches!(data.correct(), Ok(Outcome::ZeroLength)));
    assert_eq!(data.read("nodes.conf"), b"");
    fs::remove_file(data.path("nodes.conf")).expect("remove");
    assert!(matches!(data.correct(), Ok(Outcome::Absent)));
    assert!(!data.has("nodes.conf") && !data.has("nodes.conf.bak"));
}

/// The file is refused with exit code 78, and nothing in the directory changes.
#[track_caller]
fn refused(file: &[u8], backup: Option<&[u8]>) -> String {
    let data = Data::with(file);
    if let Some(backup) = backup {
        data.write("nodes.conf.bak", backup);
    }
    let error = data.correct().expect_err("refused");
    assert_eq!(error.exit_code(), 78, "{error}");
    assert_eq!(data.read("nodes.conf"), file);
    assert_eq!(backup, data.has("nodes.conf.bak").then(|| data.read("nodes.conf.bak")).as_deref());
    let source = std::error::Error::source(&error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn damaged_file_without_whole_backup_is_refused_and_kept() {
    let file = formed();
    let error = refused(&file[..300], None);
    assert!(error.contains("line 3, column 49: the line has 2 fields"), "{error}");
    refused(&file[..300], Some(&file[..200]));
    refused(&file[..300], Some(b""));
    refused(b"\n\n\n", None);
    refused(&[0; 4096], None);
}

#[test]
fn missing_and_second_myself_are_refused() {
    let file = String::from_utf8(formed()).expect("text");
    let error = refused(file.replace("myself,", "").as_bytes(), None);
    assert!(error.contains("no line has the flag myself"), "{error}");
    let error = refused(file.replace("slave", "myself,slave").as_bytes(), None);
    assert!(error.contains("a second line has the flag myself"), "{error}");
}

#[test]
fn complete_file_with_an_unknown_word_is_refused_even_where_a_backup_is_whole() {
    let file = String::from_utf8(formed()).expect("text");
    let error = refused(file.replace("slave", "witness").as_bytes(), Some(file.as_bytes()));
    assert!(error.contains("\"witness\" is not a flag"), "{error}");
}

#[test]
fn symbolic_link_stays_and_its_target_is_replaced() {
    let data = Data::with(b"unused");
    fs::remove_file(data.path("nodes.conf")).expect("remove");
    fs::create_dir(data.path("volume")).expect("mkdir");
    data.write("volume/real.conf", &formed());
    symlink("volume/real.conf", data.path("nodes.conf")).expect("link");
    data.correct().expect("corrected");
    assert!(fs::symlink_metadata(data.path("nodes.conf")).expect("metadata").is_symlink());
    assert_eq!(data.read("volume/real.conf"), corrected(&formed()));
    assert_eq!(data.read("volume/real.conf.bak"), formed());
    assert!(data.has("volume/real.conf.rejoin-lock"));
}

#[test]
fn dangling_symbolic_link_is_a_first_boot() {
    let data = Data::with(b"");
    fs::remove_file(data.path("nodes.conf")).expect("remove");
    symlink("not-yet.conf", data.path("nodes.conf")).expect("link");
    assert!(matches!(data.correct(), Ok(Outcome::Absent)));
}

#[test]
fn loop_of_symbolic_links_is_an_error() {
    let data = Data::with(b"");
    fs::remove_file(data.path("nodes.conf")).expect("remove");
    symlink("nodes.conf", data.path("nodes.conf")).expect("link");
    let error = Lock::acquire(&data.path("nodes.conf")).expect_err("a loop");
    assert_eq!(error.exit_code(), 74);
}

#[test]
fn mode_and_owner_are_kept() {
    let data = Data::with(&formed());
    let path = data.path("nodes.conf");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&path, Some(999), Some(998)).expect("chown");
    }
    let owner = |name: &str| {
        let found = fs::metadata(data.path(name)).expect("metadata");
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    let before = owner("nodes.conf");
    data.correct().expect("corrected");
    assert_eq!((owner("nodes.conf"), owner("nodes.conf.bak")), (before, before));
    data.write("nodes.conf", &corrected(&failed_over()));
    data.correct().expect("corrected");
    assert_eq!((owner("nodes.conf"), owner("nodes.conf.bak")), (before, before));
}

#[test]
fn directory_or_pipe_in_the_place_of_the_file_is_an_error() {
    let data = Data::with(b"");
    fs::remove_file(data.path("nodes.conf")).expect("remove");
    fs::create_dir(data.path("nodes.conf")).expect("mkdir");
    assert_eq!(data.correct().expect_err("a directory").exit_code(), 74);
    fs::remove_dir(data.path("nodes.conf")).expect("rmdir");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&data.path("nodes.conf"), mode).expect("mkfifo");
    assert_eq!(data.correct().expect_err("a pipe").exit_code(), 74);
}

#[test]
fn leftovers_of_a_killed_run_are_removed() {
    let data = Data::with(&corrected(&formed()));
    data.write("nodes.conf.rejoin-tmp", b"half of a fi");
    data.write("nodes.conf.rejoin-bak-tmp", b"");
    data.correct().expect("corrected");
    assert!(!data.has("nodes.conf.rejoin-tmp") && !data.has("nodes.conf.rejoin-bak-tmp"));
}

#[test]
fn lock_is_held_once_and_freed_by_its_end() {
    let data = Data::with(b"");
    let path = data.path("nodes.conf");
    let lock = Lock::acquire(&path).expect("free");
    let error = Lock::acquire(&path).expect_err("held");
    assert!(matches!(error, LockError::Held { .. }), "{error}");
    assert_eq!(error.exit_code(), 78);
    drop(lock);
    Lock::acquire(&path).expect("free again");
}

#[test]
fn lock_in_missing_directory_is_an_error_with_code_74() {
    let error = Lock::acquire(&fixtures().join("nowhere/nodes.conf")).expect_err("no directory");
    assert_eq!(error.exit_code(), 74);
    assert!(error.to_string().contains("check that its directory exists"), "{error}");
}

#[test]
fn lock_that_may_only_be_read_is_taken() {
    let data = Data::with(b"");
    let lock = data.path("nodes.conf.rejoin-lock");
    data.write("nodes.conf.rejoin-lock", b"");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o444)).expect("chmod");
    Lock::acquire(&data.path("nodes.conf")).expect("reading is enough");
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Output {
    #[allow(clippy::disallowed_methods, reason = "a test has no init that could spawn")]
    command.output().expect("the command runs")
}

#[test]
fn children_do_not_inherit_the_lock_unless_told() {
    let data = Data::with(b"");
    let lock = Lock::acquire(&data.path("nodes.conf")).expect("free");
    let descriptors = || {
        let output = run(Command::new("ls").args(["-l", "/proc/self/fd"]));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!descriptors().contains("rejoin-lock"));
    lock.keep_over_exec().expect("fcntl");
    assert!(descriptors().contains("rejoin-lock"));
}

#[test]
fn failing_write_leaves_old_file() {
    let data = Data::with(&formed());
    // No file may grow, as on a volume without free space.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\" 2>&1 | cat";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_rejoin"), "fix"]);
    command.args(server_arguments(data.directory.path())).env("POD_IP", IP);
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("failed to write the new file"), "{said}");
    assert_eq!(data.read("nodes.conf"), formed());
    assert!(!data.has("nodes.conf.bak") && !data.has("nodes.conf.rejoin-tmp"));
}
