//! `rejoin` whose keeper panics at each line of its log, whatever its level, while the file that
//! `BRITTLE` names is there. Built as an example, so that nothing of this is in the program.

use std::path::PathBuf;
use std::process::ExitCode;

use rejoin::init::Inherited;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

struct Brittle {
    file: PathBuf,
}

impl<S: Subscriber> Layer<S> for Brittle {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let is_keeper = event.metadata().target().starts_with("rejoin::cluster");
        assert!(!is_keeper || !self.file.exists(), "on purpose");
    }
}

fn main() -> ExitCode {
    let inherited = Inherited::capture();
    if let Some(file) = std::env::var_os("BRITTLE") {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false);
        let lines = lines.with_writer(std::io::stderr);
        // Ours is set up later, and changes nothing then.
        tracing_subscriber::registry().with(Brittle { file: file.into() }).with(lines).init();
    }
    ExitCode::from(rejoin::run::run(inherited))
}
