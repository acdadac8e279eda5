//! The files that a configuration is read from, behind a trait so that reading it stays pure.

use std::io;
use std::path::{Path, PathBuf};

/// What reading a configuration needs of the file system. All paths are absolute.
pub trait Files {
    /// The contents of a file.
    ///
    /// # Errors
    /// As the system reports them.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The directory that `chdir` to `path` leads to, without symbolic links, as `getcwd` names it.
    ///
    /// # Errors
    /// Where `chdir` would fail.
    fn enter(&self, path: &Path) -> io::Result<PathBuf>;

    /// The files that match `pattern` under `base`, in the order of their names.
    fn glob(&self, base: &Path, pattern: &str) -> Vec<PathBuf>;
}

/// The real file system.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match std::fs::read(path) {
            // `fopen` of a directory works and reads nothing, and so does the server.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(Vec::new()),
            read => read,
        }
    }

    fn enter(&self, path: &Path) -> io::Result<PathBuf> {
        let path = path.canonicalize()?;
        match path.is_dir() {
            true => Ok(path),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn glob(&self, base: &Path, pattern: &str) -> Vec<PathBuf> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let Some(pattern) = absolute_pattern(base, pattern) else { return Vec::new() };
        match glob::glob_with(&pattern, options) {
            Ok(paths) => paths.filter_map(Result::ok).collect(),
            Err(_) => Vec::new(),
        }
    }
}

/// The pattern of `glob(3)` in the spelling of the crate, which knows `**` and does not know `[^`.
fn absolute_pattern(base: &Path, pattern: &str) -> Option<String> {
    let mut pattern = pattern.replace("[^", "[!");
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    match pattern.starts_with('/') {
        true => Some(pattern),
        false => Some(format!("{}/{pattern}", glob::Pattern::escape(base.to_str()?))),
    }
}

#[cfg(test)]
pub mod fake {
    //! Files that exist in a map only.

    use std::collections::BTreeMap;

    use super::*;

    /// Path to contents; each parent of a file is a directory.
    #[derive(Debug, Default)]
    pub struct Fake(pub BTreeMap<PathBuf, Vec<u8>>);

    impl Fake {
        /// These files.
        pub fn new(files: &[(&str, &str)]) -> Fake {
            Fake(files.iter().map(|(path, text)| (path.into(), text.as_bytes().into())).collect())
        }
    }

    impl Files for Fake {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn enter(&self, path: &Path) -> io::Result<PathBuf> {
            let known = path == Path::new("/") || self.0.keys().any(|file| file.starts_with(path));
            known.then(|| path.to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn glob(&self, base: &Path, pattern: &str) -> Vec<PathBuf> {
            let absolute = absolute_pattern(base, pattern).expect("UTF-8");
            let pattern = glob::Pattern::new(&absolute).expect("a pattern");
            self.0.keys().filter(|path| pattern.matches_path(path)).cloned().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glob_sorts_and_skips_hidden_files_and_directories_below() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        std::fs::create_dir(dir.path().join("sub")).expect("a directory");
        std::fs::write(dir.path().join("sub/d.conf"), "").expect("a file");
        let found = Disk.glob(dir.path(), "*.conf");
        assert_eq!(found, [dir.path().join("a.conf"), dir.path().join("b.conf")]);
        assert_eq!(Disk.glob(dir.path(), "**.conf"), found);
        assert_eq!(Disk.glob(dir.path(), "[^b].conf"), [dir.path().join("a.conf")]);
        assert_eq!(Disk.glob(dir.path(), "no/such/*"), Vec::<PathBuf>::new());
    }

    #[test]
    fn directory_reads_as_an_empty_file() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Disk.read(dir.path()).expect("readable"), b"");
        assert!(Disk.read(&dir.path().join("none")).is_err());
    }
}
