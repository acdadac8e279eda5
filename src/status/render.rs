//! [`Status`] as a table for a person.

use std::fmt::Write as _;
use std::io::Write as _;

use tabwriter::TabWriter;

use super::{Node, NodeRole, Status};
use crate::health::Verdict;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Slots of cluster mode (Redis `cluster.h`, `CLUSTER_SLOTS`).
const SLOTS: u32 = 16384;

/// What each row begins with: the own node, one in trouble, any other.
const MARKS: [char; 3] = ['*', '!', '-'];

/// Shortest id that is shown, in digits.
const ID_MIN: usize = 8;

/// Longest list of slot ranges that is shown.
const SLOTS_MAX: usize = 40;

impl Status {
    /// A table of the nodes, masters followed by their replicas; below it what is held back and
    /// why, what was done last, and the probes. Ends with a line feed.
    ///
    /// `color` adds ANSI colours.
    pub fn render(&self, color: bool) -> String {
        let mut page = Page { text: String::new(), color };
        self.head(&mut page);
        if !self.nodes.is_empty() {
            self.table(&mut page);
        }
        page.line("", "");
        match self.held.as_slice() {
            [] => page.line("", "held back: nothing"),
            held => {
                page.line(YELLOW, "held back:");
                for held in held {
                    let line = format!("  {} ({}): {}", held.about, held.kind, held.reason);
                    page.line(YELLOW, &line);
                }
            }
        }
        if !self.acting.is_empty() {
            page.line("", "done last:");
            for step in &self.acting {
                page.line("", &format!("  {:>7.1} s ago  {}", step.age_s, step.what));
            }
        }
        if let Some(handover) = &self.handover {
            page.line(YELLOW, &format!("leaving: {}", handover.said));
        }
        page.line("", "");
        for Verdict { ok, reason } in [&self.probes.live, &self.probes.ready, &self.probes.startup]
        {
            page.line(if *ok { GREEN } else { RED }, reason);
        }
        page.text
    }

    fn head(&self, page: &mut Page) {
        let server = self.server_version.as_deref().unwrap_or("version not known yet");
        let (pod, age) = (&self.pod, self.observed_age_s);
        let first = format!("{pod}: {}, server {server}, looked {age:.1} s ago", self.phase);
        page.line(BOLD, &first);
        if self.agent_restarts > 0 {
            let count = self.agent_restarts;
            page.line(RED, &format!("rejoin's own second thread was restarted: {count} times"));
        }
        let cluster = &self.cluster;
        if !cluster.enabled {
            page.line("", "cluster: mode is off, or not known yet");
            return;
        }
        let state = cluster.state.as_deref().unwrap_or("not known yet");
        let (slots, epoch) = (cluster.slots_assigned, cluster.current_epoch);
        let mut line = format!("cluster: {state}, {slots} of {SLOTS} slots, epoch {epoch}");
        if let (Some(shards), Some(replicas)) = (cluster.expected_shards, cluster.expected_replicas)
        {
            let _ = write!(line, "; to be {shards} masters with replicas: {replicas} each");
        }
        let good = state == "ok" && slots == SLOTS;
        page.line(if good { GREEN } else { RED }, &line);
    }

    fn table(&self, page: &mut Page) {
        page.line("", "");
        let (nodes, digits) = (in_order(&self.nodes), id_digits(&self.nodes));
        let head = ["", "POD", "ID", "ROLE", "SLOTS", "COUNT", "ADDRESS", "LINK", "FLAGS"];
        let mut rows = vec![head.join("\t")];
        rows.extend(nodes.iter().map(|node| {
            // Part of it is what others have sent: only our own tabs end a cell.
            self.row(node, digits).map(|cell| cell.replace(char::is_control, "")).join("\t")
        }));
        let mut columns = TabWriter::new(Vec::new());
        // A vector takes everything.
        let _ = columns.write_all(rows.join("\n").as_bytes());
        let text = columns.into_inner().unwrap_or_default();
        let colors = std::iter::once("").chain(nodes.iter().map(|node| row_color(node)));
        for (line, color) in String::from_utf8_lossy(&text).lines().zip(colors) {
            page.line(color, line.trim_end());
        }
    }

    fn row(&self, node: &Node, digits: usize) -> [String; 9] {
        let mark = match (node.is_me, is_troubled(node)) {
            (true, _) => MARKS[0],
            (_, true) => MARKS[1],
            _ => MARKS[2],
        };
        let short = |id: &str| id.chars().take(digits).collect::<String>();
        let role = match (node.role, &node.master) {
            (NodeRole::Master, _) => "master".to_owned(),
            (NodeRole::Unknown, _) => "handshake".to_owned(),
            (NodeRole::Replica, None) => "replica".to_owned(),
            // Its master stands above it.
            (NodeRole::Replica, Some(master)) if self.has(master) => "└ replica".to_owned(),
            (NodeRole::Replica, Some(master)) => format!("replica of {}", short(master)),
        };
        let link = match (node.is_me, node.connected) {
            (true, _) => "own",
            (_, true) => "up",
            (_, false) => "down",
        };
        let is_master = node.role == NodeRole::Master;
        [
            mark.to_string(),
            node.pod.clone().unwrap_or_else(|| "?".to_owned()),
            short(&node.id),
            role,
            cut(&node.slots, SLOTS_MAX),
            if is_master { node.slot_count.to_string() } else { String::new() },
            if node.address.is_empty() { "none".to_owned() } else { node.address.clone() },
            link.to_owned(),
            other_flags(node),
        ]
    }

    fn has(&self, id: &str) -> bool {
        self.nodes.iter().any(|node| node.id == id && node.master.is_none())
    }
}

/// Text that grows by whole lines.
struct Page {
    text: String,
    color: bool,
}

impl Page {
    /// Adds `line`, in `color` unless that is empty. Part of it is what others have sent, so it
    /// loses every control character, which a terminal would obey.
    fn line(&mut self, color: &str, line: &str) {
        let colored = self.color && !color.is_empty();
        if colored {
            self.text.push_str(color);
        }
        self.text.extend(line.chars().filter(|c| !c.is_control()));
        if colored {
            self.text.push_str(PLAIN);
        }
        self.text.push('\n');
    }
}

/// Masters by their first slot, each followed by its replicas; then whoever belongs to nobody.
fn in_order(nodes: &[Node]) -> Vec<&Node> {
    let master_of = |id: &String| nodes.iter().find(|node| node.id == *id && node.master.is_none());
    let mut order: Vec<&Node> = nodes.iter().collect();
    order.sort_by_cached_key(|node| {
        let head = match &node.master {
            Some(master) => master_of(master),
            None => Some(*node),
        };
        let shard = head.map(|head| (first_slot(head), head.id.clone()));
        let orphan = shard.is_none();
        (orphan, shard, node.role, node.pod.clone(), node.id.clone())
    });
    order
}

/// The lowest slot of a master; above all slots if it has none.
fn first_slot(node: &Node) -> u32 {
    let digits = node.slots.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(SLOTS)
}

/// So many digits of each id that no two look alike, and [`ID_MIN`] at least.
fn id_digits(nodes: &[Node]) -> usize {
    let mut ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    ids.sort_unstable();
    let same =
        |pair: &[&str]| pair[0].chars().zip(pair[1].chars()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| same(pair) + 1).fold(ID_MIN, usize::max)
}

/// The flags that no other column says.
fn other_flags(node: &Node) -> String {
    let said = ["myself", "master", "slave", "primary", "replica", "noflags"];
    let rest: Vec<&str> =
        node.flags.iter().map(String::as_str).filter(|flag| !said.contains(flag)).collect();
    rest.join(",")
}

fn is_troubled(node: &Node) -> bool {
    let bad = |flag: &String| matches!(flag.as_str(), "fail" | "fail?" | "noaddr");
    (!node.connected && !node.is_me) || node.flags.iter().any(bad)
}

fn row_color(node: &Node) -> &'static str {
    match (is_troubled(node), node.is_me) {
        (true, _) => RED,
        (_, true) => BOLD,
        _ => "",
    }
}

fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Handover, Held, Step};
    use super::*;

    fn node(pod: u32, master: Option<u32>, slots: &str) -> Node {
        let id = |pod: u32| format!("{pod:08}") + &"a".repeat(32);
        Node {
            pod: Some(format!("redis-{pod}")),
            id: id(pod),
            address: format!("10.0.0.{pod}:6379"),
            role: if master.is_some() { NodeRole::Replica } else { NodeRole::Master },
            master: master.map(id),
            slots: slots.to_owned(),
            slot_count: if slots.is_empty() { 0 } else { 5461 },
            connected: true,
            flags: vec!["master".to_owned()],
            is_me: pod == 0,
        }
    }

    fn six() -> Status {
        let mut status = Status { pod: "redis-0".to_owned(), ..Status::default() };
        status.cluster.enabled = true;
        status.cluster.state = Some("ok".to_owned());
        status.nodes = vec![
            node(5, Some(2), ""),
            node(2, None, "10923-16383"),
            node(1, None, "5461-10922"),
            node(3, Some(0), ""),
            node(4, Some(9), ""),
            node(0, None, "0-5460"),
        ];
        status
    }

    /// The pods in the order of the table's rows.
    fn pods(text: &str) -> Vec<&str> {
        let rows = text.lines().filter(|line| line.starts_with(MARKS));
        rows.filter_map(|line| line.split_whitespace().nth(1)).collect()
    }

    #[test]
    fn masters_come_by_slots_each_followed_by_its_replicas() {
        let text = six().render(false);
        let order = ["redis-0", "redis-3", "redis-1", "redis-2", "redis-5", "redis-4"];
        assert_eq!(pods(&text), order, "{text}");
        assert_eq!(text.matches("└ replica").count(), 2, "{text}");
        assert!(text.contains("replica of 00000009"), "{text}");
    }

    #[test]
    fn failed_node_is_marked_and_its_flags_are_shown() {
        let mut status = six();
        status.nodes[2].flags = vec!["master".to_owned(), "fail".to_owned()];
        status.nodes[2].connected = false;
        let text = status.render(false);
        let line = text.lines().find(|line| line.contains("redis-1")).unwrap();
        assert!(line.starts_with('!') && line.contains("down"), "{text}");
        assert!(line.ends_with("fail"), "{text}");
    }

    #[test]
    fn colors_appear_only_where_wanted_and_change_no_letter() {
        let plain = six().render(false);
        let mut colored = six().render(true);
        assert!(!plain.contains('\x1b') && colored.contains(BOLD), "{colored}");
        for code in [RED, GREEN, YELLOW, BOLD, PLAIN] {
            colored = colored.replace(code, "");
        }
        assert_eq!(plain, colored);
    }

    #[test]
    fn columns_are_aligned() {
        let text = six().render(false);
        let rows: Vec<&str> = text.lines().filter(|line| line.contains(":6379")).collect();
        let at: Vec<_> =
            rows.iter().map(|row| row[..row.find("10.0").unwrap()].chars().count()).collect();
        assert!(rows.len() == 6 && at.iter().all(|it| *it == at[0]), "{text}");
    }

    #[test]
    fn holds_steps_and_verdicts_are_shown() {
        let mut status = six();
        let held = ("no-copy-left", "shard 2", "all its copies are gone");
        status.held =
            vec![Held { kind: held.0.into(), about: held.1.into(), reason: held.2.into() }];
        let what = "met redis-1 at 10.0.0.1:6379";
        status.acting = vec![Step { kind: "meet".into(), what: what.into(), age_s: 12.5 }];
        let said = "waits with the hand-over: it still syncs".to_owned();
        status.handover = Some(Handover { said, ..Handover::default() });
        let text = status.render(false);
        let leaving = "leaving: waits with the hand-over: it still syncs";
        let held = "shard 2 (no-copy-left): all its copies are gone";
        for part in [held, what, leaving, "not known yet"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn control_characters_of_others_do_not_reach_the_terminal() {
        let mut status = six();
        status.nodes[0].address = "\x1b]0;title\x07\r10.0.0.5:6379".to_owned();
        let text = status.render(false);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn ids_that_begin_alike_are_shown_longer() {
        let mut nodes = six().nodes;
        assert_eq!(id_digits(&nodes), ID_MIN);
        nodes[0].id = "a".repeat(40);
        nodes[1].id = "a".repeat(11) + &"b".repeat(29);
        assert_eq!(id_digits(&nodes), 12);
    }
}
