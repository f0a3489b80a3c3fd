//! Whether the ring is ideal.

use prost_kbr::{NodeId, Peer};

use crate::world::{Index, World};

/// The first live node, in order of ids, that is no member, whose successor list is not the true next `successors`
/// members (all others in a smaller ring), or whose predecessor is not the true one. `live` are the nodes whose
/// process runs. Takes one step for each entry of the lists, and ends at the first that is wrong.
pub fn first_flaw(world: &World, live: &[Index], successors: usize) -> Option<Index> {
    let members = world.members();
    if members.len() != live.len() {
        let outside = |node: &Index| !members.contains_key(&world.peer(*node).id);
        return live.iter().copied().find(outside).or_else(|| members.values().next().copied());
    }
    let ids: Vec<NodeId> = members.keys().copied().collect();
    let reach = successors.min(ids.len() - usize::from(!ids.is_empty()));
    let right = |place: usize, node: Index| {
        let Some(machine) = world.node(node) else { return false };
        let view = machine.view();
        let next = (0..reach).map(|step| ids[(place + step + 1) % ids.len()]);
        let before = (ids.len() > 1).then(|| ids[(place + ids.len() - 1) % ids.len()]);
        same(&view.successors, next) && view.predecessors.first().map(|peer| peer.id) == before
    };
    members.values().enumerate().find(|(place, node)| !right(*place, **node)).map(|(_, node)| *node)
}

/// Whether every live node is a member and knows its true neighbours: [`first_flaw`] finds none.
pub fn is_ideal(world: &World, live: &[Index], successors: usize) -> bool {
    first_flaw(world, live, successors).is_none()
}

fn same(peers: &[Peer], ids: impl ExactSizeIterator<Item = NodeId>) -> bool {
    peers.len() == ids.len() && peers.iter().map(|peer| peer.id).eq(ids)
}
