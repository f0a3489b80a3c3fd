//! What roots do for others, and frames on their way down.

use core::time::Duration;

use super::group::MISSING;
use super::keep::{RECORD, record};
use super::tree::{Asked, Due, Tree};
use super::wire::{self, Ask, Control, Record};
use super::{CREDENTIALS, DATA, Frame, Refusal, Sequence, Upcalls};
use crate::cbor::{self, Bytes};
use crate::questions::{Question, Target};
use crate::storage::{self, Place, StorageError};
use crate::time::Instant;
use crate::{Key, NodeId};

/// Answers of a root besides the codes of refusals, which follow the first.
const DONE: u8 = 0;
const NOT_ROOT: u8 = u8::MAX;
/// The members of a group have found a new root after this long.
const SETTLING: Duration = Duration::from_secs(6);
/// A frame that is missing may only have been overtaken.
const OVERTAKEN: Duration = Duration::from_millis(300);
/// How often missing frames are asked for, and after what time again.
const ATTEMPTS: u32 = 3;
const AGAIN: Duration = Duration::from_secs(2);
/// Frames that a child gets again for one question: they are the event's effects.
const REPAIRED: usize = 48;

impl<A: Upcalls> Tree<A> {
    /// This node is asked as a root.
    pub(super) fn on_ask(&mut self, question: &Question) {
        let Ok(ask) = cbor::decode::<Ask>(&question.body) else { return };
        let group = match &ask {
            Ask::Create { group, .. } | Ask::Publish { group, .. } => *group,
        };
        // What is routed comes to the root, or to who acts for it; what comes straight may be mistaken.
        let code = match question.key {
            Some(key) if key != group => return,
            None if !self.is_root(group) => Some(NOT_ROOT),
            // It has a parent: the root is another, and only not ready yet.
            Some(_) if self.is_below_another(group) => return,
            _ => match ask {
                Ask::Create { rules, credentials, .. } => self.create_here(group, question.asker, rules, &credentials),
                Ask::Publish { number, credentials, data, .. } => {
                    self.publish_here(group, question.asker, number, &credentials, data)
                }
            },
        };
        // A root that is not ready says nothing, and is asked again.
        if let Some(code) = code
            && question.answer(&[code]).is_err()
        {
            crate::log::debug("an answer could not be sent");
        }
    }

    fn create_here(&mut self, group: Key, creator: NodeId, rules: Bytes, credentials: &[u8]) -> Option<u8> {
        if rules.len() > CREDENTIALS || credentials.len() > CREDENTIALS {
            return Some(refused(Refusal::TooLarge));
        }
        match record(group) {
            Ok(Some(record)) if record.creator != creator => return Some(refused(Refusal::Exists)),
            Ok(_) => {}
            Err(_) => return None,
        }
        if !self.app.may_create(group, creator, &rules, credentials) {
            return Some(refused(Refusal::Forbidden));
        }
        let record = cbor::encode(&Record { creator, rules: rules.clone() });
        match storage::put(Place::At(group), RECORD, &record, None) {
            Ok(()) => {}
            Err(StorageError::NotHere) => return None,
            Err(_) => return Some(refused(Refusal::Storage)),
        }
        if self.is_root(group) {
            self.set_rules(group, Some(rules));
            self.spread(group, true);
            self.prune(group);
        }
        Some(DONE)
    }

    fn publish_here(
        &mut self,
        group: Key,
        publisher: NodeId,
        number: u64,
        credentials: &[u8],
        data: Bytes,
    ) -> Option<u8> {
        if data.len() > DATA || credentials.len() > CREDENTIALS {
            return Some(refused(Refusal::TooLarge));
        }
        let may = if self.groups.contains_key(&group) {
            self.become_root(group).ok()?;
            let rules = self.groups.get(&group).and_then(|entry| entry.rules.clone()).flatten();
            self.app.may_publish(group, rules.as_deref(), publisher, credentials, &data)
        } else {
            let rules = record(group).ok()?.map(|record| record.rules);
            self.app.may_publish(group, rules.as_deref(), publisher, credentials, &data)
        };
        if !may {
            return Some(refused(Refusal::Forbidden));
        }
        // Without members there is nobody to tell, unless they have not found their new root yet.
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(entry) = self.groups.get_mut(&group) else { return (since + SETTLING).has_come().then_some(DONE) };
        if entry.seen.insert((publisher, number), ()) {
            let sequence = entry.next(&mut self.epoch);
            let frame = Frame { sequence, publisher, number, data: data.0 };
            let payload = wire::data(self.channel, group, &frame);
            self.pass_down(group, frame, &payload);
        }
        Some(DONE)
    }

    /// A frame has come. Only the parent's count: another than it is told that this node is no child of it, so that nothing
    /// comes twice after a change of parent.
    pub(super) fn on_data(&mut self, from: NodeId, group: Key, frame: Frame, payload: &[u8]) {
        if self.parent(group) != Some(from) {
            self.tell(from, &Control::Leave { group });
            return;
        }
        let Some(entry) = self.groups.get_mut(&group) else { return };
        entry.heard = Instant::now();
        let is_new = entry.seen.insert((frame.publisher, frame.number), ());
        entry.advance(frame.sequence, true);
        if self.settings.history == 0 {
            entry.missing.numbers.clear();
        } else if !entry.missing.numbers.is_empty() {
            self.timers.set_if_idle(Due::Gap(group), OVERTAKEN);
        }
        if is_new {
            self.pass_down(group, frame, payload);
        }
    }

    /// Sends a frame on as it is, keeps it for those who miss it, and gives it to the application.
    fn pass_down(&mut self, group: Key, frame: Frame, payload: &[u8]) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        let now = Instant::now();
        let children: Vec<NodeId> = entry.children.keys().copied().collect();
        entry.children.values_mut().for_each(|child| child.told = now);
        let is_member = entry.membership.is_some();
        for child in children {
            self.tell_relative(child, payload);
        }
        self.history.keep(group, frame.sequence, payload, self.settings.history);
        if !is_member {
            return;
        }
        if self.settings.ordered {
            let Some(entry) = self.groups.get_mut(&group) else { return };
            let ready = entry.order.accept(frame);
            if entry.order.is_waiting() {
                // Nobody knows how many the root before has sent.
                let wait = if entry.order.is_of_another_root() { AGAIN } else { self.settings.heartbeat };
                self.timers.set_if_idle(Due::Order(group), wait);
            } else {
                self.timers.cancel(&Due::Order(group));
            }
            ready.iter().for_each(|frame| self.app.delivered(group, frame));
        } else {
            self.app.delivered(group, &frame);
        }
    }

    /// What frames waited for does not come.
    pub(super) fn give_up_order(&mut self, group: Key) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        let ready = entry.order.give_up();
        if entry.order.is_waiting() {
            self.timers.set(Due::Order(group), self.settings.heartbeat);
        }
        ready.iter().for_each(|frame| self.app.delivered(group, frame));
    }

    /// Asks the parent for frames that have not come.
    pub(super) fn ask_for_missing(&mut self, group: Key) {
        let Some(entry) = self.groups.get_mut(&group) else { return };
        if entry.missing.attempts >= ATTEMPTS || self.settings.history == 0 {
            entry.missing.numbers.clear();
        }
        let Some(parent) = entry.parent.filter(|_| !entry.missing.numbers.is_empty()) else { return };
        entry.missing.attempts += 1;
        let numbers = entry.missing.numbers.iter().copied().collect();
        let missing = Control::Missing { group, epoch: entry.missing.epoch, numbers };
        self.tell(parent, &missing);
        self.timers.set(Due::Gap(group), AGAIN);
    }

    /// A child has missed frames.
    pub(super) fn on_missing(&mut self, from: NodeId, group: Key, epoch: u64, numbers: &[u64]) {
        if !self.is_child(group, from) {
            self.tell(from, &Control::Elsewhere { group, number: None, candidates: Vec::new() });
            return;
        }
        let wanted = numbers.iter().take(MISSING).map(|number| Sequence { epoch, number: *number });
        let found: Vec<Vec<u8>> =
            wanted.filter_map(|at| self.history.get(group, at)).take(REPAIRED).map(<[u8]>::to_vec).collect();
        for payload in found {
            self.tell_relative(from, &payload);
        }
    }

    /// A root has answered.
    pub(super) fn on_answer(&mut self, about: Asked, body: &[u8]) {
        match (about, body) {
            (about, [DONE]) => self.ended(about, Ok(())),
            (Asked::Publish { group, number, body: Some(body) }, [NOT_ROOT]) => {
                self.publish_by_route(group, number, &body);
            }
            (about, [code, ..]) => {
                let refusal = Refusal::from_code(code.wrapping_sub(1)).unwrap_or(Refusal::Unreachable);
                self.ended(about, Err(refusal));
            }
            (about, []) => self.ended(about, Err(Refusal::Unreachable)),
        }
    }

    /// Whom this node took for the root is none, or is gone: lets routing find it.
    fn publish_by_route(&mut self, group: Key, number: u64, body: &[u8]) {
        let about = Asked::Publish { group, number, body: None };
        if self.questions.ask(Target::Key(group), body, about).is_err() {
            self.app.published(number, Err(Refusal::Full));
        }
    }

    /// A root was asked in vain, or has answered.
    pub(super) fn ended(&mut self, about: Asked, outcome: Result<(), Refusal>) {
        match about {
            Asked::Create { number } => self.app.created(number, outcome),
            Asked::Publish { group, number, body: Some(body) } if outcome == Err(Refusal::Unreachable) => {
                self.publish_by_route(group, number, &body);
            }
            Asked::Publish { number, .. } => self.app.published(number, outcome),
        }
    }
}

fn refused(refusal: Refusal) -> u8 {
    refusal.code() + 1
}
