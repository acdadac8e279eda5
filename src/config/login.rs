//! How we log in to the own server and to the peers.

use std::path::PathBuf;

use super::secret::Secret;

/// A login as the user gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user. `None`: the user `default`.
    pub username: Option<String>,
    /// Where the password comes from.
    pub password: Password,
}

/// Where a password comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Password {
    /// None is set: none is sent.
    #[default]
    None,
    /// The password itself.
    Value(Secret),
    /// A file that holds it, read anew for each login since a mounted Secret may be rotated.
    /// [`Password::from_file`] makes a password of its contents.
    File(PathBuf),
}

impl Password {
    /// The password in a file of these contents: all of it but one trailing line end, since
    /// editors and `echo` add one.
    pub fn from_file(contents: &[u8]) -> Secret {
        let line = contents.strip_suffix(b"\n").unwrap_or(contents);
        Secret::new(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_line_end_is_not_part_of_the_password() {
        for (contents, password) in
            [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), (" a \n\n", " a \n"), ("", ""), ("\n", "")]
        {
            assert_eq!(Password::from_file(contents.as_bytes()).expose(), password.as_bytes());
        }
    }
}
