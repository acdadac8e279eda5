//! Row e: the binary itself.

use std::fs;

use crate::row::{Row, Target, Unit};
use crate::support::pod::rejoin;
use crate::support::server::any_server;

/// Its size, and that it is static and position-independent.
pub fn size() -> Vec<Row> {
    let (ours, rival) = (rejoin(), any_server().bin);
    let bytes = |path| fs::metadata(path).expect("the program is there").len() as f64;
    let program = fs::read(&ours).expect("the program can be read");
    vec![Row {
        what: "size of the static binary".to_owned(),
        ours: vec![bytes(ours)],
        rival: vec![bytes(rival)],
        rival_name: "redis-server, without its libraries".to_owned(),
        unit: Unit::Mebibytes,
        target: Target::AtMost(4.5 * 1024.0 * 1024.0),
        wrong: not_static_pie(&program).map(str::to_owned),
    }]
}

/// What is not as in a static, position-independent ELF file of 64 bits, little-endian (elf(5)):
/// of type `ET_DYN`, and without a program header of type `PT_INTERP`.
fn not_static_pie(file: &[u8]) -> Option<&'static str> {
    const ET_DYN: u64 = 3;
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| {
        file.get(at..at + bytes)
            .map(|bytes| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return Some("no 64-bit ELF file");
    }
    if number(16, 2) != Some(ET_DYN) {
        return Some("not position-independent");
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2))
    else {
        return Some("cut short");
    };
    let kinds = (0..count).map(|n| number((table + n * size) as usize, 4));
    kinds.into_iter().any(|kind| kind == Some(PT_INTERP)).then_some("not static")
}
