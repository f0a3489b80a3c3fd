//! The peerlet: events go to the tree, requests of local programs come from here.

use core::time::Duration;

use prost_peerlet::cast::{Cast, Settings, Tree};
use prost_peerlet::{
    Change, Error, Failure, Key, Message, NodeId, Peerlet, Request, Result, Start, Timers, Verdict, cbor, random,
    route, time,
};
use prost_scribe_api as api;

use crate::members::{Done, Members, respond};
use crate::rules::{Rules, key, sign_rules, sign_wish, sign_words};

/// The first byte of the tree's messages.
const CHANNEL: u8 = b'T';
/// What a node keeps of each group for children that have missed some.
const HISTORY: usize = 256 << 10;
/// How often it is looked who reads no more.
const SWEEP: Duration = Duration::from_secs(15);
/// How often a member signs its wish anew: well before it is not believed any more.
const RENEW: Duration = Duration::from_secs(1800);
/// A program is told that the group does not answer before the node's patience with this application is over.
const PATIENCE: Duration = Duration::from_secs(25);
/// Requests that wait at most.
const WAITING: usize = 64;
/// Groups in a [`api::Status`] at most.
const LISTED: usize = 256;

/// The peerlet.
pub struct Scribe {
    /// The groups of this node.
    tree: Tree<Members>,
    timers: Timers<Due>,
    /// Joins that wait until the node is in the tree: the request, its subscription and group.
    joining: Vec<(u64, u64, Key)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Sweep,
    Renew(Key),
    /// The end of a join's time.
    Join(u64),
}

impl Default for Scribe {
    fn default() -> Scribe {
        let settings = Settings { history: HISTORY, ordered: true, ..Settings::default() };
        Scribe {
            tree: Tree::new(CHANNEL, settings, Members::default()),
            timers: Timers::default(),
            joining: Vec::new(),
        }
    }
}

impl Scribe {
    /// The node's parent in a group.
    pub fn parent(&self, group: Key) -> Option<NodeId> {
        self.tree.parent(group)
    }

    /// The node's children in a group.
    pub fn children(&self, group: Key) -> Vec<NodeId> {
        self.tree.children(group)
    }

    /// Whether the node takes itself for the group's root.
    pub fn is_root(&self, group: Key) -> bool {
        self.tree.is_root(group)
    }

    /// Whether the node is a member.
    pub fn is_member(&self, group: Key) -> bool {
        self.tree.is_member(group)
    }

    /// Groups that the node has an entry for.
    pub fn groups(&self) -> Vec<Key> {
        self.tree.groups()
    }

    fn create(&mut self, request: u64, create: api::Create) -> Result {
        let creator = route::myself();
        let rules =
            Rules { name: create.name, creator, join: create.join, publish: create.publish, time: time::wall_ms() };
        if !rules.is_proper() {
            return Err(Error::new(format_args!(
                "a name has {} bytes at most, and rules name {} nodes",
                api::MAX_NAME,
                api::MAX_NODES
            )));
        }
        let group = rules.key();
        self.may_ask()?;
        let number = self.tree.create(group, &sign_rules(&rules), &[])?;
        self.tree.app.asked.insert(number, (request, Done::Created(api::Created { key: group, creator })));
        Ok(())
    }

    fn join(&mut self, request: u64, join: &api::Join) -> Result {
        let group = key_of(&join.group)?;
        if self.joining.len() >= WAITING {
            return Err(Error::new("too many requests wait"));
        }
        let number = random::number();
        if !self.tree.app.subscriptions.open(number, group, join.takes_anycast) {
            return Err(Error::new("too many programs are subscribed on this node"));
        }
        if let Err(refusal) = self.tree.join(group, &sign_wish(group)) {
            self.tree.app.subscriptions.close(number);
            return Err(refusal.into());
        }
        self.joining.push((request, number, group));
        self.timers.set(Due::Join(request), PATIENCE);
        self.timers.set_if_idle(Due::Sweep, SWEEP);
        self.timers.set_if_idle(Due::Renew(group), RENEW);
        Ok(())
    }

    fn next(&mut self, request: u64, next: &api::Next) -> Result {
        let subscription = self.tree.app.subscriptions.read(next.subscription);
        subscription.ok_or_else(|| Error::new("there is no such subscription"))?.inbox.next(request, next.from);
        Ok(())
    }

    fn leave(&mut self, request: u64, leave: &api::Leave) -> Result {
        let group = key_of(&leave.group)?;
        let mut numbers = self.tree.app.subscriptions.of(group);
        numbers.retain(|number| leave.subscription.is_none_or(|wanted| wanted == *number));
        if leave.subscription.is_none() {
            let reason = "the node was told to leave the group".to_owned();
            self.tree.app.subscriptions.push(group, &api::Item::Ended { reason });
        }
        let ended = numbers.iter().filter(|number| self.tree.app.subscriptions.close(**number)).count();
        self.left(group);
        respond(request, Ok(&cbor::encode(&api::Left { ended: ended as u32 })));
        Ok(())
    }

    /// Leaves a group that nobody here reads.
    fn left(&mut self, group: Key) {
        if self.tree.app.subscriptions.of(group).is_empty() {
            self.tree.leave(group);
            self.timers.cancel(&Due::Renew(group));
        }
    }

    fn publish(&mut self, request: u64, publish: api::Publish) -> Result {
        let group = key_of(&publish.group)?;
        within(&publish.data)?;
        self.may_ask()?;
        let data = sign_words(group, random::number(), publish.data);
        let number = self.tree.multicast(group, &[], &data)?;
        self.tree.app.asked.insert(number, (request, Done::Published(api::Published { key: group })));
        Ok(())
    }

    fn anycast(&mut self, request: u64, anycast: &api::Anycast) -> Result {
        let group = key_of(&anycast.group)?;
        within(&anycast.data)?;
        self.may_ask()?;
        let number = self.tree.anycast(group, &anycast.data)?;
        self.tree.app.asked.insert(number, (request, Done::Taken));
        Ok(())
    }

    fn may_ask(&self) -> Result {
        if self.tree.app.asked.len() < WAITING { Ok(()) } else { Err(Error::new("too many requests wait")) }
    }

    fn status(&self, request: u64) {
        let place = |key: Key| api::Place {
            key,
            is_member: self.tree.is_member(key),
            is_root: self.tree.is_root(key),
            parent: self.tree.parent(key),
            children: self.tree.children(key),
        };
        let groups = self.tree.groups().into_iter().take(LISTED).map(place).collect();
        respond(request, Ok(&cbor::encode(&api::Status { groups })));
    }

    /// After each event: who waits to be in a tree may be, and who is in one may be no more.
    fn settle(&mut self) {
        for (group, reason) in core::mem::take(&mut self.tree.app.expelled) {
            let reason = reason.to_string();
            let (gone, kept) = core::mem::take(&mut self.joining).into_iter().partition(|(.., of)| *of == group);
            self.joining = kept;
            let gone: Vec<(u64, u64, Key)> = gone;
            for (request, ..) in gone {
                self.timers.cancel(&Due::Join(request));
                respond(request, Err(&reason));
            }
            self.tree.app.subscriptions.push(group, &api::Item::Ended { reason });
            for number in self.tree.app.subscriptions.of(group) {
                self.tree.app.subscriptions.close(number);
            }
            self.left(group);
        }
        let is_in = |(.., group): &(u64, u64, Key)| self.tree.is_attached(*group);
        let (joined, waiting) = core::mem::take(&mut self.joining).into_iter().partition(is_in);
        self.joining = waiting;
        let joined: Vec<(u64, u64, Key)> = joined;
        for (request, subscription, key) in joined {
            self.timers.cancel(&Due::Join(request));
            let parent = self.tree.parent(key);
            respond(request, Ok(&cbor::encode(&api::Joined { subscription, key, parent })));
        }
    }

    fn due(&mut self, due: Due) {
        match due {
            Due::Sweep => {
                for group in self.tree.app.subscriptions.sweep() {
                    self.left(group);
                }
                self.timers.set(Due::Sweep, SWEEP);
            }
            Due::Renew(group) => {
                // A group that is left meanwhile cancels this.
                if self.tree.join(group, &sign_wish(group)).is_ok() {
                    self.timers.set(Due::Renew(group), RENEW);
                }
            }
            Due::Join(request) => {
                let at = self.joining.iter().position(|(waiting, ..)| *waiting == request);
                if let Some((_, number, group)) = at.map(|at| self.joining.swap_remove(at)) {
                    self.tree.app.subscriptions.close(number);
                    self.left(group);
                    respond(request, Err("the group's root does not answer"));
                }
            }
        }
    }
}

impl Peerlet for Scribe {
    fn init(&mut self, _: Start) -> Result {
        Ok(())
    }

    fn deliver(&mut self, message: Message) -> Result {
        if !self.tree.deliver(&message) {
            return Err(Error::new("this is no message of a tree"));
        }
        self.settle();
        Ok(())
    }

    fn forward(&mut self, message: Message, _next: NodeId) -> Verdict {
        let verdict = self.tree.forward(&message).unwrap_or(Verdict::Pass);
        self.settle();
        verdict
    }

    fn update(&mut self, change: Change) {
        self.tree.update(&change);
        self.settle();
    }

    fn fired(&mut self, timer: u64, _tag: u64) {
        self.tree.fired(timer);
        self.tree.app.subscriptions.due(timer);
        for due in self.timers.due(timer) {
            self.due(due);
        }
        self.settle();
    }

    fn serve(&mut self, request: Request) -> Result {
        let Request { id, method, body } = request;
        match method.as_str() {
            api::CREATE => self.create(id, cbor::decode(&body)?),
            api::JOIN => self.join(id, &cbor::decode(&body)?),
            api::NEXT => self.next(id, &cbor::decode(&body)?),
            api::LEAVE => self.leave(id, &cbor::decode(&body)?),
            api::PUBLISH => self.publish(id, cbor::decode(&body)?),
            api::ANYCAST => self.anycast(id, &cbor::decode(&body)?),
            api::STATUS => {
                self.status(id);
                Ok(())
            }
            _ => Err(Error::new(format_args!("unknown method '{method}'"))),
        }?;
        self.settle();
        Ok(())
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        self.tree.failed(message, reason);
        self.settle();
    }
}

fn key_of(group: &api::Group) -> Result<Key> {
    if group.name.len() > api::MAX_NAME {
        return Err(Error::new("the group's name is too long"));
    }
    Ok(key(&group.name, group.creator.unwrap_or_else(route::myself)))
}

fn within(data: &[u8]) -> Result {
    if data.len() > api::MAX_PAYLOAD {
        return Err(Error::new(format_args!("a message has {} bytes at most", api::MAX_PAYLOAD)));
    }
    Ok(())
}
