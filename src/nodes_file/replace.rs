//! The steps of a replacement. Each leaves whole files when the next one never comes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::errno::Errno;

use super::error::FileError;
use super::place::{Original, Place, is_same_file};

/// Writes the new content to the temporary file and syncs it.
pub(super) fn write_temp(
    place: &Place,
    like: &Original,
    parts: &[impl AsRef<[u8]>],
) -> Result<(), FileError> {
    write_synced(&place.temp, like, parts).map_err(failed(place, "write the new file"))
}

/// Makes the present file the backup too: by a second name, or by a copy where the volume has no
/// hard links. The old backup goes only when the new one is on disk.
pub(super) fn keep_as_backup(place: &Place, original: &Original) -> Result<(), FileError> {
    // A run that was killed after this step has left both names on one file: renaming one onto the
    // other would do nothing and leave both.
    if fs::metadata(&place.backup).is_ok_and(|found| is_same_file(&found, &original.metadata)) {
        return Ok(());
    }
    match fs::hard_link(&place.file, &place.backup_temp) {
        Err(error) if has_no_links(&error) => return copy_to_backup(place, original),
        linked => linked.map_err(failed(place, "link the old file to a backup"))?,
    }
    // The server that wrote it may not have synced its last save. Its data only: the new link would
    // cost another commit of the file system's journal.
    let synced = original.file.sync_data();
    synced
        .and_then(|()| fs::rename(&place.backup_temp, &place.backup))
        .map_err(failed(place, "make the old file the backup"))
}

/// Copies the present file to the backup.
pub(super) fn copy_to_backup(place: &Place, original: &Original) -> Result<(), FileError> {
    write_synced(&place.backup_temp, original, &[&original.content])
        .and_then(|()| fs::rename(&place.backup_temp, &place.backup))
        .map_err(failed(place, "copy the old file to a backup"))
}

/// Leaves the damaged file under another name, for whoever wants to know. Best effort: what it held
/// of use is in the backup.
pub(super) fn keep_as_torn(place: &Place) {
    let _ = fs::remove_file(&place.torn);
    let _ = fs::hard_link(&place.file, &place.torn);
}

/// Puts the temporary file in the place of the old one, and syncs the directory, which makes the
/// new backup last too.
pub(super) fn put_in_place(place: &Place) -> Result<(), FileError> {
    fs::rename(&place.temp, &place.file).map_err(failed(place, "rename the new file"))?;
    match File::open(&place.directory).and_then(|directory| directory.sync_all()) {
        // Some network file systems have no such thing.
        Err(error) if is_any(&error, &[Errno::EINVAL, Errno::EOPNOTSUPP]) => Ok(()),
        synced => {
            synced.map_err(|source| FileError::NotDurable { path: place.file.clone(), source })
        }
    }
}

/// Makes an error of a failed step, and tidies up.
fn failed<'a>(place: &'a Place, step: &'static str) -> impl FnOnce(io::Error) -> FileError + 'a {
    move |source| {
        place.remove_leftovers();
        FileError::Replace { path: place.file.clone(), step, source }
    }
}

/// A new file at `path` with the owner and mode of `like`, on disk when this returns.
fn write_synced(path: &Path, like: &Original, parts: &[impl AsRef<[u8]>]) -> io::Result<()> {
    // Nobody else may read it before it has its owner.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let made = file.metadata()?;
    let (uid, gid) = (like.metadata.uid(), like.metadata.gid());
    if (made.uid(), made.gid()) != (uid, gid) && fchown(&file, Some(uid), Some(gid)).is_err() {
        // Not root: the server that we start is the same user, and the group may still be one of
        // ours (the `fsGroup` of a pod).
        let _ = fchown(&file, None, Some(gid));
    }
    file.set_permissions(fs::Permissions::from_mode(like.metadata.mode() & 0o7777))?;
    parts.iter().try_for_each(|part| file.write_all(part.as_ref()))?;
    file.sync_all()
}

/// Whether a hard link is refused by the volume or the kernel, rather than by circumstances.
fn has_no_links(error: &io::Error) -> bool {
    use Errno::{EACCES, EMLINK, ENOSYS, EOPNOTSUPP, EPERM, EXDEV};
    is_any(error, &[EACCES, EMLINK, ENOSYS, EOPNOTSUPP, EPERM, EXDEV])
}

/// Whether the error is one of these.
fn is_any(error: &io::Error, these: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|code| these.contains(&Errno::from_raw(code)))
}
