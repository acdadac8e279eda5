//! The cluster as one node sees it: the answer to `CLUSTER NODES`, read independently of the
//! code under test.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// One line of `CLUSTER NODES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node id.
    pub id: String,
    /// Address and client port, as in `127.64.0.1:7000`.
    pub address: String,
    /// `myself`, `master`, `fail?`, and so on.
    pub flags: Vec<String>,
    /// The master's id, for a replica.
    pub master: Option<String>,
    /// Whether the bus link to it is up.
    pub connected: bool,
    /// The slots that it owns.
    pub slots: Vec<RangeInclusive<u16>>,
    /// The slots that it moves, as they are written: `[93->-ID]`.
    pub moving: Vec<String>,
}

impl Node {
    /// Whether it has this flag.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    /// Whether it is a replica of the node with this id.
    pub fn master_is(&self, id: &str) -> bool {
        self.master.as_deref() == Some(id)
    }

    /// How many slots it owns.
    pub fn slot_count(&self) -> usize {
        self.slots.iter().map(ExactSizeIterator::len).sum()
    }
}

/// Id, address, master and slots of a node.
pub type Shared<'a> = (&'a String, &'a String, &'a Option<String>, &'a Vec<RangeInclusive<u16>>);

/// All that one node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Every node by its id.
    pub nodes: BTreeMap<String, Node>,
    /// The id of the node that was asked.
    pub myself: String,
}

impl View {
    /// Reads the answer to `CLUSTER NODES`.
    ///
    /// # Errors
    /// The line that is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut nodes = BTreeMap::new();
        let mut myself = None;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let node = node(line).ok_or_else(|| format!("not understood: {line:?}"))?;
            if node.is("myself") {
                myself = Some(node.id.clone());
            }
            nodes.insert(node.id.clone(), node);
        }
        Ok(Self { nodes, myself: myself.ok_or_else(|| format!("no myself line in {text:?}"))? })
    }

    /// The node that was asked.
    pub fn me(&self) -> &Node {
        &self.nodes[&self.myself]
    }

    /// What is the same in the view of every node of a healthy cluster: the id, the address, the
    /// master and the slots of each.
    pub fn shared(&self) -> Vec<Shared<'_>> {
        self.nodes
            .values()
            .map(|node| (&node.id, &node.address, &node.master, &node.slots))
            .collect()
    }

    /// The number of owners of every slot.
    pub fn owners(&self) -> Vec<u16> {
        let mut owners = vec![0; 16384];
        for slot in self.nodes.values().flat_map(|node| node.slots.iter().cloned().flatten()) {
            owners[usize::from(slot)] += 1;
        }
        owners
    }
}

fn node(line: &str) -> Option<Node> {
    let mut fields = line.split(' ');
    let id = fields.next()?.to_owned();
    let address = fields.next()?.split(['@', ',']).next()?.to_owned();
    let flags: Vec<String> = fields.next()?.split(',').map(str::to_owned).collect();
    let master = Some(fields.next()?).filter(|id| *id != "-").map(str::to_owned);
    // Ping sent, pong received, and epoch lie between.
    let connected = fields.nth(3)? == "connected" || flags.iter().any(|flag| flag == "myself");
    let (mut slots, mut moving) = (Vec::new(), Vec::new());
    for field in fields {
        if field.starts_with('[') {
            moving.push(field.to_owned());
            continue;
        }
        let (first, last) = field.split_once('-').unwrap_or((field, field));
        slots.push(first.parse().ok()?..=last.parse().ok()?);
    }
    Some(Node { id, address, flags, master, connected, slots, moving })
}
