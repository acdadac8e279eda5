//! `make bench`: every figure that the project promises, each beside its rival in the same run,
//! since machines differ. Nothing fails for being slow; the table says what is reached.
//!
//! `make bench ROWS="a c"` measures some of the rows only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table};

mod binary;
mod containers;
mod forming;
mod healing;
mod leaving;
mod picture;
mod quiet;
mod row;
mod running;
mod secured;
mod starting;
#[path = "../../tests/it/support/mod.rs"]
mod support;

use row::Row;

/// Measures one row, or a few that belong together.
type Measure = fn() -> Vec<Row>;

/// The rows by their names, what they measure, and how.
const ROWS: [(&str, &str, Measure); 16] = [
    ("a", "forming a cluster of 6", forming::six),
    ("b", "forming a cluster of 30", forming::thirty),
    ("c", "one probe", running::probe),
    ("d", "at rest", running::at_rest),
    ("e", "the binary", binary::size),
    ("f", "before the server starts", starting::before_the_server),
    ("g", "fix of 1000 nodes", starting::fix),
    ("h", "six pods on new addresses", healing::six),
    ("i", "thirty pods on new addresses", healing::thirty),
    ("j", "a lost volume", healing::lost_volume),
    ("k", "thirty pods at rest", quiet::thirty),
    ("l", "a rolling restart of six pods", leaving::rolling),
    ("m", "the same with much data and load", leaving::rolling_with_data),
    ("n", "all six pods stop", leaving::all_stop),
    ("o", "the start of a container", containers::start),
    ("p", "at rest over TLS", secured::at_rest),
];

fn main() -> ExitCode {
    let mut args = std::env::args();
    if args.next().is_some_and(|own| own.ends_with(&format!("/{}", starting::PLAYED))) {
        return starting::play_server().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    // Cargo adds options of its own.
    let wanted: Vec<String> = args.filter(|arg| !arg.starts_with('-')).collect();
    if let Some(odd) = wanted.iter().find(|name| !ROWS.iter().any(|row| row.0 == name.as_str())) {
        eprintln!("bench: no row {odd}; the rows are:");
        ROWS.iter().for_each(|(name, what, _)| eprintln!("  {name}  {what}"));
        return ExitCode::FAILURE;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    eprintln!("bench: {} on {cores} cores", support::server::any_server().name);
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(120);
    table.set_header(["", "What", "Ours", "Rival", "Ratio", "Target", "Verdict"]);
    let mut whole = true;
    for (name, what, measure) in ROWS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("{name}: {what}");
        // One row that cannot be measured leaves the others.
        match catch_unwind(AssertUnwindSafe(measure)) {
            Ok(rows) => {
                for row in rows {
                    let cells = row.cells();
                    table.add_row(std::iter::once(name).chain(cells.iter().map(String::as_str)));
                }
            }
            Err(_) => {
                whole = false;
                table.add_row([name, what, "", "", "", "", "not measured, see above"]);
            }
        }
    }
    println!("{table}");
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
