//! The directory of a Secret's volume, filled and changed as the kubelet does it
//! (`pkg/volume/util/atomic_writer.go`): files of root and the group of the pod, in a directory of
//! their time, behind a link `..data` that goes over to the next directory in one step.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::manifests::rendered::{Files, SecretVolume};

/// What all paths lead through.
const DATA: &str = "..data";

/// Puts a Secret into the directory of its volume, for the first time or instead of what is there.
pub fn put(path: &Path, volume: &SecretVolume, secret: &Files, group: Option<u32>) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock of today");
    let of_now = format!("..{}", time.as_nanos());
    let dir = path.join(&of_now);
    fs::create_dir(&dir).expect("the test's directory is writable");
    let files = mounted(volume, secret);
    // The group may read whatever the mode says.
    let mode = volume.default_mode.unwrap_or(0o644) | group.map_or(0, |_| 0o440);
    for (name, text) in &files {
        let file = dir.join(name);
        fs::write(&file, text).expect("the test's directory is writable");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("it is ours");
        chown(&file, Some(0), group).expect("the tests run as root where there is an engine");
    }
    let before = fs::read_link(path.join(DATA)).ok();
    symlink(&of_now, path.join("..data_tmp")).expect("it is ours");
    fs::rename(path.join("..data_tmp"), path.join(DATA)).expect("it is ours");
    for name in files.keys() {
        match symlink(Path::new(DATA).join(name), path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.expect("it is ours"),
        }
    }
    if let Some(before) = before {
        fs::remove_dir_all(path.join(before)).expect("it is ours");
    }
}

/// The files of a volume, by the names that they have there.
fn mounted<'a>(volume: &'a SecretVolume, secret: &'a Files) -> BTreeMap<&'a str, &'a str> {
    match &volume.items[..] {
        [] => secret.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
        items => {
            let text = |key: &str| secret.get(key).expect("the Secret has it").as_str();
            items.iter().map(|item| (item.path.as_str(), text(&item.key))).collect()
        }
    }
}
