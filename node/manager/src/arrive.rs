//! Messages on their way into an application, and the refusal of those that do not get there.

use bytes::Bytes;
use prost_contract::{Event, Message};
use prost_kbr::{AppId, Dispatch, Handling, Header, NodeId, Peer, Purpose, Refusal, Routed};
use prost_package::Locator;

use crate::app::{Answer, Phase, Waiting};
use crate::io::CallFailure;
use crate::node::Node;

impl Node {
    /// A message has arrived here.
    pub(crate) fn on_deliver(&mut self, routed: Routed, previous: Peer) {
        let answer = Answer::Delivery { origin: routed.envelope.origin.id, id: routed.envelope.id };
        let Some(header) = self.read_header(&routed.header) else {
            return self.refuse(answer, Refusal::BadPackage);
        };
        let Some((routed, previous)) = self.hold(routed, previous, &header.app) else { return };
        let event = Event::Deliver(message(&routed, previous.id));
        self.consider_upgrade(&header, [previous, routed.envelope.origin]);
        let way = [previous, routed.envelope.origin];
        self.dispatch(&header.app, Waiting { event, answer }, &way, &locator_of(&header));
    }

    /// A message of type 0 passes through here.
    pub(crate) fn on_forward(&mut self, routed: Routed, previous: Peer, next: NodeId) {
        let answer = Answer::Passage { origin: routed.envelope.origin.id, id: routed.envelope.id };
        let Some(header) = self.read_header(&routed.header) else {
            return self.refuse(answer, Refusal::BadPackage);
        };
        let event = Event::Forward { message: message(&routed, previous.id), next };
        self.consider_upgrade(&header, [previous, routed.envelope.origin]);
        let way = [previous, routed.envelope.origin];
        self.dispatch(&header.app, Waiting { event, answer }, &way, &locator_of(&header));
    }

    fn read_header(&mut self, header: &Bytes) -> Option<Header> {
        let header = Header::decode(header);
        self.stats.bad_headers += u64::from(header.is_none());
        header
    }

    /// Queues an event for an application, which is installed first where it is missing. `way` is what is known of
    /// the message's way here: the previous hop, then its origin; `locator` is where it says that the code can be had.
    pub(crate) fn dispatch(&mut self, id: &AppId, waiting: Waiting, way: &[Peer], locator: &Locator) {
        if self.leaving {
            return self.refuse(waiting.answer, Refusal::Leaving);
        }
        let now = self.now;
        let app = self.apps.get(id);
        match app.map(|app| &app.phase) {
            Some(Phase::Failed { refusal, until }) if *until > now => {
                let refusal = *refusal;
                self.refuse(waiting.answer, refusal);
            }
            Some(Phase::Failed { .. }) if app.is_some_and(|app| app.code.is_some()) => {
                self.start_compile(id);
                self.park(id, waiting);
            }
            Some(Phase::Failed { .. }) | None => self.start_fetch(id, Some(waiting), way, locator),
            Some(Phase::Fetching(_) | Phase::Compiling | Phase::Starting | Phase::Running) => self.park(id, waiting),
        }
    }

    fn park(&mut self, id: &AppId, waiting: Waiting) {
        let Some(app) = self.apps.get_mut(id) else { return self.refuse(waiting.answer, Refusal::FetchFailed) };
        match app.enqueue(waiting) {
            Ok(()) => {
                self.ready.insert(id.clone());
            }
            Err(answer) => self.refuse(answer, Refusal::QueueFull),
        }
    }

    /// This node will not run the application for whoever waits.
    pub(crate) fn refuse(&mut self, answer: Answer, refusal: Refusal) {
        match answer {
            Answer::None | Answer::Start => {}
            Answer::Delivery { origin, id } => {
                self.count(refusal);
                let handling = Handling::Refused(refusal);
                self.ring.handle(self.now, prost_kbr::Input::Handled { origin, id, handling });
            }
            Answer::Passage { origin, id } => {
                self.count(refusal);
                let verdict = prost_kbr::Verdict::Pass;
                self.ring.handle(self.now, prost_kbr::Input::Verdict { origin, id, verdict });
            }
            Answer::Call(call) => {
                self.count(refusal);
                self.respond(call, Err(CallFailure::Refused(refusal)));
            }
        }
    }

    pub(crate) fn count(&mut self, refusal: Refusal) {
        *self.stats.refusals.entry(refusal).or_default() += 1;
    }
}

/// What cannot be read says nothing.
fn locator_of(header: &Header) -> Locator {
    Locator::parse(&header.locator).unwrap_or(Locator::None)
}

fn message(routed: &Routed, previous: NodeId) -> Message {
    Message {
        id: routed.envelope.id,
        key: routed.envelope.key,
        dispatch: match routed.envelope.purpose {
            Purpose::App(dispatch) => dispatch,
            Purpose::Lookup | Purpose::Replicas(_) | Purpose::Finger(_) => Dispatch::EndNode,
        },
        origin: routed.envelope.origin.id,
        previous,
        hops: u32::from(routed.envelope.hops),
        payload: routed.payload.clone(),
    }
}
