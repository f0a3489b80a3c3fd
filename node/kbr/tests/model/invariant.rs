//! What must hold: Zave's invariant in every state, the ideal ring in the end.

use std::rc::Rc;

use prost_kbr::{Interval, NodeId, Peer, RingView};

use crate::world::{Place, World};

fn ids(peers: &[Peer]) -> Vec<NodeId> {
    peers.iter().map(|peer| peer.id).collect()
}

/// A live member, by its id and its successor list.
struct Member {
    id: NodeId,
    successors: Vec<NodeId>,
}

impl Member {
    /// Whether a node lies between two that follow each other in this list.
    fn skips(&self, node: NodeId) -> bool {
        let mut before = self.id;
        self.successors.iter().any(|next| {
            let skips = node != before && node != *next && Interval::open(before, *next).contains(node);
            before = *next;
            skips
        })
    }
}

fn members(world: &World, gone: Option<Place>) -> Vec<Member> {
    let live = world.nodes.iter().enumerate().filter(|(place, node)| node.alive && Some(*place) != gone);
    let views = live.map(|(_, node)| &node.view).filter(|view| view.joined);
    views.map(|view| Member { id: view.me.id, successors: ids(&view.successors) }).collect()
}

/// OneLiveSuccessor and SufficientPrincipals (Zave 2017), with a node taken for dead.
fn invariant(world: &World, gone: Option<Place>) -> Result<(), String> {
    let members = members(world, gone);
    let lives = |id: &NodeId| members.iter().any(|member| member.id == *id);
    if let Some(member) = members.iter().find(|member| !member.successors.iter().any(lives)) {
        return Err(format!("{} has no live successor", world.place(member.id)));
    }
    let principals = members.iter().filter(|node| !members.iter().any(|by| by.skips(node.id))).count();
    if principals <= world.length {
        return Err(format!("only {principals} principals"));
    }
    Ok(())
}

/// Both lists of every node are in order, distinct, without the node itself, and not too long.
fn well_formed(world: &World) -> Result<(), String> {
    for node in world.nodes.iter().filter(|node| node.alive) {
        let (view, me) = (&node.view, node.peer.id);
        let after: Vec<NodeId> = view.successors.iter().map(|peer| me.distance_to(peer.id)).collect();
        let before: Vec<NodeId> = view.predecessors.iter().map(|peer| peer.id.distance_to(me)).collect();
        for list in [after, before] {
            let rises = list.is_sorted_by(|a, b| a < b) && list.first() != Some(&NodeId::ZERO);
            if !rises || list.len() > world.length {
                return Err(format!("{} has a list that is not well formed", world.place(me)));
            }
        }
    }
    Ok(())
}

/// What must hold of a node's every step: a nearer neighbour is adopted only when it speaks, and a neighbour is given
/// up for a farther one or for none only where it is dead. `speaker` is the node whose frame made the step.
pub(crate) fn check_step(
    world: &World,
    before: &RingView,
    after: &RingView,
    speaker: Option<NodeId>,
) -> Result<(), String> {
    let me = after.me.id;
    let successors = (ids(&before.successors), ids(&after.successors));
    let predecessors = (ids(&before.predecessors), ids(&after.predecessors));
    let nearer_successor = |old: NodeId, new| Interval::open(me, old).contains(new);
    let nearer_predecessor = |old: NodeId, new| Interval::open(old, me).contains(new);
    let one = check_change(world, me, speaker, successors, nearer_successor);
    let other = check_change(world, me, speaker, predecessors, nearer_predecessor);
    let place = world.place(me);
    one.map_err(|what| format!("{place} {what} as its successor"))?;
    other.map_err(|what| format!("{place} {what} as its predecessor"))
}

fn check_change(
    world: &World,
    me: NodeId,
    speaker: Option<NodeId>,
    (before, after): (Vec<NodeId>, Vec<NodeId>),
    is_nearer: impl Fn(NodeId, NodeId) -> bool,
) -> Result<(), String> {
    let (old, new) = (before.first().copied(), after.first().copied());
    if old == new {
        return Ok(());
    }
    let lives = |id: NodeId| {
        let node = &world.nodes[world.place(id)];
        node.alive && node.view.joined
    };
    match (old, new) {
        (_, Some(new)) if is_nearer(old.unwrap_or(me), new) => {
            let unheard = speaker != Some(new);
            if unheard { Err(format!("adopts {}, which has not spoken,", world.place(new))) } else { Ok(()) }
        }
        (Some(old), _) if lives(old) => Err(format!("gives up {}, which lives,", world.place(old))),
        _ => Ok(()),
    }
}

/// What must hold in every state. Looked at where lists have changed.
pub(crate) fn check(world: &mut World) -> Result<(), String> {
    if let Some(fault) = &world.fault {
        return Err(fault.clone());
    }
    if world.known.is_ideal.is_none() {
        well_formed(world)?;
        invariant(world, None)?;
        world.known.is_ideal = Some(has_ideal_lists(world));
    }
    Ok(())
}

/// Zave's operating assumption: a failure takes no one's last live successor, and leaves enough principals.
fn may_fail(world: &World, place: Place) -> bool {
    let node = &world.nodes[place];
    node.alive && node.view.joined && invariant(world, Some(place)).is_ok()
}

/// The nodes that the operating assumption allows to fail now.
pub(crate) fn allowed_to_fail(world: &mut World) -> Rc<[Place]> {
    if let Some(places) = &world.known.may_fail {
        return Rc::clone(places);
    }
    let places: Rc<[Place]> = (0..world.nodes.len()).filter(|place| may_fail(world, *place)).collect();
    world.known.may_fail = Some(Rc::clone(&places));
    places
}

/// Whether the ring was ideal when it was checked.
pub(crate) fn is_ideal(world: &World) -> bool {
    world.known.is_ideal == Some(true)
}

/// Every live node that was told to join is a member, and its lists are the true next and previous ones.
fn has_ideal_lists(world: &World) -> bool {
    let mut live: Vec<NodeId> =
        world.nodes.iter().filter(|node| node.alive && node.started).map(|node| node.peer.id).collect();
    live.sort();
    let most = world.length.min(live.len() - 1);
    live.iter().enumerate().all(|(at, id)| {
        let view = &world.nodes[world.place(*id)].view;
        let after = (1..=most).map(|step| live[(at + step) % live.len()]);
        let before = (1..=most).map(|step| live[(at + live.len() - step) % live.len()]);
        view.joined && ids(&view.successors).into_iter().eq(after) && ids(&view.predecessors).into_iter().eq(before)
    })
}

/// The lists of all live nodes, one a line.
pub(crate) fn lists(world: &World) -> String {
    let places = |peers: &[Peer]| peers.iter().map(|peer| world.place(peer.id)).collect::<Vec<_>>();
    let live = world.nodes.iter().enumerate().filter(|(_, node)| node.alive && node.started);
    let lines = live.map(|(place, node)| {
        let view = &node.view;
        let (before, after) = (places(&view.predecessors), places(&view.successors));
        format!("    {place} {:?}: member {}, before {before:?}, after {after:?}", view.me.id, view.joined)
    });
    lines.collect::<Vec<_>>().join("\n")
}
