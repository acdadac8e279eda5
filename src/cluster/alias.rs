//! One server at two addresses is not two servers with one id. A pod that announces another address than
//! its own, as that of a node's port, answers at both; a volume that is used twice has two servers, each
//! of which calls its run differently. Pure.

use std::collections::BTreeSet;

use crate::nodes_conf::NodeId;

use super::model::Peer;
use super::replies;

/// The ids that more than one address answers with, or one beside the own server.
pub fn doubled(own: NodeId, peers: &[Peer]) -> BTreeSet<NodeId> {
    let mut seen = BTreeSet::from([own]);
    peers.iter().filter_map(id_of).filter(|id| !seen.insert(*id)).collect()
}

/// A server, and what it calls its present run.
pub type Run = (NodeId, String);

/// Marks where a server answered that counts at another address already: the one that the Service has,
/// or else the first. What turns out to be the own server is left out. `runs` has one for each peer;
/// where it is not known, the peer stays a double.
pub fn mark(own: &Option<Run>, mut peers: Vec<Peer>, runs: &[Option<Run>]) -> Vec<Peer> {
    let mut counted: Vec<&Run> = Vec::new();
    for named in [true, false] {
        for (peer, run) in peers.iter_mut().zip(runs) {
            if let Some(run) = run.as_ref().filter(|_| peer.named == named) {
                peer.alias = counted.contains(&run);
                counted.push(run);
            }
        }
    }
    let mut is_own = runs.iter().map(|run| run.is_some() && run == own);
    peers.retain(|_| is_own.next() != Some(true));
    peers
}

/// What a server calls its present run (`run_id` of `INFO server`): 40 random digits, anew at each start
/// (`initServerConfig` in `src/server.c`).
pub fn run_id(info: &str) -> Option<String> {
    replies::field(info, "run_id").filter(|id| !id.is_empty()).map(ToOwned::to_owned)
}

/// Who answered there.
pub fn id_of(peer: &Peer) -> Option<NodeId> {
    Some(peer.answer.as_ref().ok()?.table.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::memory::tests::linked;

    /// One server, at as many addresses as there are runs; the first is not named.
    fn addresses(runs: &[Option<&str>]) -> (NodeId, Vec<Peer>, Vec<Option<Run>>) {
        let view = linked();
        let peer = |named| Peer { named, ..view.peers[0].clone() };
        let peers = (0..runs.len()).map(|place| peer(place > 0)).collect();
        let id = id_of(&view.peers[0]).expect("it answers");
        let runs = runs.iter().map(|run| run.map(|run| (id, run.to_owned()))).collect();
        (view.own.table.id(), peers, runs)
    }

    #[track_caller]
    fn counted(runs: &[Option<&str>], expected: &[bool]) {
        let (_, peers, runs) = addresses(runs);
        let marked = mark(&None, peers, &runs);
        let counted: Vec<bool> = marked.iter().map(|peer| !peer.alias).collect();
        assert_eq!(counted, expected);
    }

    #[test]
    fn server_counts_once_and_where_the_service_has_it() {
        counted(&[Some("a"), Some("a")], &[false, true]);
        counted(&[Some("a"), Some("a"), Some("a")], &[false, true, false]);
    }

    #[test]
    fn two_servers_with_one_id_count_twice() {
        counted(&[Some("a"), Some("b")], &[true, true]);
        counted(&[Some("a"), Some("b"), Some("a")], &[false, true, true]);
    }

    #[test]
    fn server_whose_run_is_not_known_is_another_one() {
        counted(&[None, None], &[true, true]);
        counted(&[Some("a"), None], &[true, true]);
    }

    #[test]
    fn own_server_is_no_peer_and_another_one_with_its_id_is() {
        let (_, peers, runs) = addresses(&[Some("a"), Some("b"), None]);
        let own = id_of(&peers[0]).expect("it answers");
        assert_eq!(doubled(own, &peers[..1]), BTreeSet::from([own]));
        assert_eq!(mark(&Some((own, "a".to_owned())), peers.clone(), &runs), &peers[1..]);
        assert_eq!(mark(&None, peers.clone(), &runs), peers);
    }

    #[test]
    fn ids_are_doubled_that_answer_twice() {
        let (own, peers, _) = addresses(&[None, None]);
        assert_eq!(doubled(own, &peers), id_of(&peers[0]).into_iter().collect());
        assert_eq!(doubled(own, &peers[..1]), BTreeSet::new());
    }

    #[test]
    fn run_is_read_from_info() {
        assert_eq!(run_id("# Server\r\nrun_id:ab12\r\nx:1\r\n").as_deref(), Some("ab12"));
        assert_eq!(run_id("run_id:\r\n"), None);
        assert_eq!(run_id("# Server\r\n"), None);
    }
}
