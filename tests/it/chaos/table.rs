//! How long it all took, by what had been done.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets};

use super::fault::Kind;

/// What became of one round.
#[derive(Clone, Debug)]
pub struct Heal {
    /// What was done at once.
    pub faults: Vec<Kind>,
    /// From the end of the last fault until the cluster was whole.
    pub whole: Duration,
    /// The longest pause of any writer.
    pub gap: Duration,
    /// Writes acknowledged during the round that are gone.
    pub lost: usize,
}

/// Prints a line for each kind of fault, and for those with another fault at once.
pub fn print(heals: &[Heal]) {
    let mut rows: BTreeMap<(usize, Kind), Vec<&Heal>> = BTreeMap::new();
    for heal in heals {
        for kind in &heal.faults {
            rows.entry((heal.faults.len(), *kind)).or_default().push(heal);
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "Fault",
        "Rounds",
        "Whole after",
        "at most",
        "No write for",
        "Lost meanwhile",
    ]);
    for ((at_once, kind), mut heals) in rows {
        heals.sort_by_key(|heal| heal.whole);
        let longest = heals.iter().map(|heal| heal.gap).max().unwrap_or_default();
        table.add_row([
            format!("{}{}", kind.name(), if at_once > 1 { ", and another" } else { "" }),
            heals.len().to_string(),
            seconds(heals[heals.len() / 2].whole),
            seconds(heals[heals.len() - 1].whole),
            seconds(longest),
            heals.iter().map(|heal| heal.lost).sum::<usize>().to_string(),
        ]);
    }
    println!("{table}");
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
