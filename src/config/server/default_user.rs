//! Whether a server reads all of its append-only file. It does so as the user `default`, and `EXEC` asks
//! for that one's rights then, too: what was written in a transaction or by a script is dropped where it
//! lacks one, which only the server's log says (`execCommand` in `src/multi.c`; redis/redis#14541,
//! valkey-io/valkey#3983; seen on Redis 7.0 and 8.0 and Valkey 8.1, and not on Valkey 9.1). Pure.

use super::ServerConfig;

impl ServerConfig {
    /// Whether such a server would drop something when it starts; `acl` is what the file of `aclfile`
    /// says. That the user is off makes no difference: it is about its rights.
    pub fn drops_transactions(&self, acl: Option<&str>) -> bool {
        let of_default = |line: &str| {
            let mut words = line.split_whitespace();
            let is_it = words.next() == Some("user") && words.next() == Some("default");
            is_it.then(|| !may_do_all(words))
        };
        let in_file = acl.and_then(|acl| acl.lines().find_map(of_default));
        self.persistence.appendonly && in_file.unwrap_or(self.default_is_restricted)
    }
}

/// Whether these rules of an ACL leave every command and every key. Without any, a user has none.
pub(super) fn may_do_all<S: AsRef<str>>(rules: impl Iterator<Item = S>) -> bool {
    let (mut commands, mut keys) = (false, false);
    for rule in rules {
        match rule.as_ref().to_ascii_lowercase().as_str() {
            "+@all" | "allcommands" => commands = true,
            "~*" | "allkeys" => keys = true,
            "resetkeys" => keys = false,
            "reset" => (commands, keys) = (false, false),
            "nocommands" => commands = false,
            less if less.starts_with('-') => commands = false,
            _ => {}
        }
    }
    commands && keys
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn rules_that_leave_everything_are_told_from_others() {
        for all in ["off ~* &* +@all", "on >secret allkeys ALLCOMMANDS", "-@all +@all ~a ~*"] {
            assert!(may_do_all(all.split(' ')), "{all}");
        }
        for less in ["", "off", "on ~app:* +@all", "on ~* +@all -@dangerous", "~* +@all reset"] {
            assert!(!may_do_all(less.split(' ')), "{less}");
        }
    }

    #[test]
    fn default_user_without_rights_loses_transactions() {
        let mut config = ServerConfig::defaults(Path::new("/data"));
        config.default_is_restricted = true;
        assert!(!config.drops_transactions(None), "no append-only file is read");
        config.persistence.appendonly = true;
        assert!(config.drops_transactions(None));
        // That file is read after the configuration.
        assert!(!config.drops_transactions(Some("user a on\nuser default off ~* +@all\n")));
        config.default_is_restricted = false;
        assert!(!config.drops_transactions(Some("user defaults off\nuser b on")));
        assert!(config.drops_transactions(Some("user a on\nuser default off")));
    }
}
