//! `rejoin` whose keeper panics at each line of its log, whatever its level, while the file that
//! `BRITTLE` names is there; or another part of it, whose modules `BRITTLE_TARGET` names. Built as an
//! example, so that nothing of this is in the program.

use std::path::PathBuf;
use std::process::ExitCode;

use rejoin::init::Inherited;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

struct Brittle {
    file: PathBuf,
    target: String,
}

impl<S: Subscriber> Layer<S> for Brittle {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let is_meant = event.metadata().target().starts_with(&self.target);
        assert!(!is_meant || !self.file.exists(), "on purpose");
    }
}

fn main() -> ExitCode {
    let inherited = Inherited::capture();
    if let Some(file) = std::env::var_os("BRITTLE") {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
        let lines = lines.with_writer(std::io::stderr);
        let target =
            std::env::var("BRITTLE_TARGET").unwrap_or_else(|_| "rejoin::cluster".to_owned());
        let brittle = Brittle { file: file.into(), target };
        // Ours is set up later, and changes nothing then.
        tracing_subscriber::registry().with(brittle).with(lines).init();
    }
    ExitCode::from(rejoin::run::run(inherited))
}
