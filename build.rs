//! Links the program smaller where the linker and the C library can do it.

use std::process::Command;

/// The first glibc whose static start-up code applies packed relative relocations (`DT_RELR`); an
/// older one would leave them undone, and the program would crash at its start.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    // Rust links this target with its own linker, which knows both options.
    if target("ARCH") != "x86_64" || target("ENV") != "gnu" {
        return;
    }
    // One copy of functions that are the same to the letter.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    if glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of the C library that is linked in: that of this machine.
fn glibc() -> Option<(u32, u32)> {
    #[allow(clippy::disallowed_methods, reason = "a build script has no init")]
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
