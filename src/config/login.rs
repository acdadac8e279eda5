//! How we log in to the own server and to the peers.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::secret::Secret;
use super::settings::{ConfigError, Settings, Variable};

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

impl Login {
    /// Reads `REJOIN_USERNAME`, `REJOIN_PASSWORD` and `REJOIN_PASSWORD_FILE`. The file itself is
    /// not looked at.
    ///
    /// # Errors
    /// Where both a password and a file are given.
    pub fn read(settings: &Settings<'_>) -> Result<Login, ConfigError> {
        let username = settings.get(Variable::Username)?.map(|given| given.value.trim().to_owned());
        let value = settings.get_bytes(Variable::Password).map(|(_, value)| value.into_vec());
        let password = match (value, settings.get_bytes(Variable::PasswordFile)) {
            (Some(_), Some((file, _))) => return Err(ConfigError::TwoPasswords { file }),
            (Some(value), None) => Password::Value(Secret::new(value)),
            (None, Some((_, file))) => Password::File(file.into()),
            (None, None) => Password::None,
        };
        Ok(Login { username, password })
    }

    /// The same with an absolute path of the password file, for once the working directory is left.
    ///
    /// # Errors
    /// The working directory cannot be found out.
    pub fn with_absolute_file(mut self) -> io::Result<Login> {
        if let Password::File(path) = &mut self.password {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }
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
