//! `nodes.conf`: files captured from real servers, whole, cut short and mangled; the file on disk
//! under kills and failures at every system call; and a real server on a corrected file.

mod captured;
mod disk;
mod faults;
mod properties;
mod server;
mod tracer;

use std::path::{Path, PathBuf};

/// The bytes of a captured file or reply.
#[track_caller]
fn fixture(name: &str) -> Vec<u8> {
    let path = fixtures().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where they are.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nodes_conf")
}

/// The names of all fixtures that end in `suffix`, in order.
fn names(suffix: &str) -> Vec<String> {
    let found = std::fs::read_dir(fixtures()).expect("the fixtures are there");
    let names =
        found.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut names: Vec<_> = names.filter(|name| name.ends_with(suffix)).collect();
    names.sort();
    assert!(!names.is_empty(), "no fixture ends in {suffix}");
    names
}
