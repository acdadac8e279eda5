//! How we log in to the own server and to the peers.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::secret::Secret;
use super::settings::{ConfigError, Settings, Variable};

/// A login as the user gave it. Displayed, it says who logs in and where both were read, and no
/// secret: `user a of REJOIN_USERNAME, password of requirepass in /conf/redis.conf:3`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user. `None`: the user `default`.
    pub username: Option<String>,
    /// Where the password comes from.
    pub password: Password,
    /// What names the user: a variable, a flag, or an option with its file and line.
    pub user_by: String,
    /// What names the password, or the file that it is in; without a password what would, if that is
    /// not one of our own variables.
    pub password_by: String,
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
        let mut login = Login::default();
        if let Some(given) = settings.get(Variable::Username)? {
            login.username = Some(given.value.trim().to_owned());
            login.user_by = given.by;
        }
        let value = settings.get_bytes(Variable::Password);
        match (value, settings.get_bytes(Variable::PasswordFile)) {
            (Some(_), Some((file, _))) => return Err(ConfigError::TwoPasswords { file }),
            (Some((by, value)), None) => {
                login.password = Password::Value(Secret::new(value.into_vec()));
                login.password_by = by;
            }
            (None, Some((by, file))) => {
                login.password = Password::File(file.into());
                login.password_by = by;
            }
            (None, None) => {}
        }
        Ok(login)
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

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.username {
            Some(user) => write!(f, "user {user} of {}", self.user_by)?,
            None => f.write_str("user default")?,
        }
        match &self.password {
            Password::None if self.password_by.is_empty() => {
                f.write_str(", no password: set REJOIN_PASSWORD_FILE")
            }
            Password::None => write!(f, ", no password: set {}", self.password_by),
            Password::Value(_) => write!(f, ", password of {}", self.password_by),
            Password::File(path) => {
                write!(f, ", password of {} in {}", self.password_by, path.display())
            }
        }
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
