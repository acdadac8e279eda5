//! What the server finds on disk when it starts.

use std::path::PathBuf;

use super::ServerConfig;

impl ServerConfig {
    /// The files of which any one makes the server start with data; where none is there, it
    /// starts empty. Absolute. With `appendonly` the snapshot is not among them, since it is then
    /// not loaded (`loadDataFromDisk` in `server.c`; seen on 7.0.15).
    pub fn data_files(&self) -> Vec<PathBuf> {
        let persistence = &self.persistence;
        if !persistence.appendonly {
            let snapshot = Some(&persistence.dbfilename).filter(|name| !name.is_empty());
            return snapshot.map(|name| self.dir.join(name)).into_iter().collect();
        }
        let name = &persistence.appendfilename;
        let manifest = self.dir.join(&persistence.appenddirname).join(format!("{name}.manifest"));
        // The second is the whole file before 7.0, which later servers take over.
        vec![manifest, self.dir.join(name)]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn snapshot_counts_only_without_append_only_file() {
        let mut config = ServerConfig::defaults(Path::new("/data"));
        assert_eq!(config.data_files(), [Path::new("/data/dump.rdb")]);
        config.persistence.appendonly = true;
        let aof = ["/data/appendonlydir/appendonly.aof.manifest", "/data/appendonly.aof"];
        assert_eq!(config.data_files(), aof.map(PathBuf::from));
        config.persistence.appendonly = false;
        config.persistence.dbfilename.clear();
        assert_eq!(config.data_files(), [""; 0].map(PathBuf::from));
    }
}
