//! Questions to other nodes and their answers: numbered, asked again where no answer comes, and ended once.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::route::{self, RouteError};
use crate::soft_state::Full;
use crate::time::Instant;
use crate::timers::Timers;
use crate::{Failure, Key, Message, NodeId, random};

/// First bytes of a message: whose it is, what it is, and the number of the question.
const HEAD: usize = 10;
const QUESTION: u8 = 0;
const ANSWER: u8 = 1;
const NOT_YET: u8 = 2;

/// Whom a question goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The node responsible for a key.
    Key(Key),
    /// The same, but each node on the way that runs the application may answer in its place.
    PerHop(Key),
    /// One node.
    Node(NodeId),
}

/// How long questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After this long a question ends.
    pub deadline: Duration,
    /// After this long without an answer it is asked again: who had it may be gone.
    pub again: Duration,
    /// After this long it is asked again where it is known that it did not arrive: a ring needs a moment to heal.
    pub pause: Duration,
    /// How often it is asked at most.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            deadline: Duration::from_secs(10),
            again: Duration::from_secs(3),
            pause: Duration::from_millis(500),
            attempts: 3,
        }
    }
}

/// A question of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who asks, as the message claims. The answer goes there.
    pub asker: NodeId,
    /// The same for each attempt, and drawn at random.
    pub number: u64,
    /// The key that it was routed to; none where it came straight.
    pub key: Option<Key>,
    /// What is asked.
    pub body: Vec<u8>,
    channel: u8,
}

impl Question {
    /// Answers it: straight where there is a connection, else along the overlay, which takes less time than a new
    /// connection.
    ///
    /// # Errors
    ///
    /// [`RouteError`] where the answer cannot be sent.
    pub fn answer(&self, body: &[u8]) -> Result<(), RouteError> {
        self.reply(ANSWER, body)
    }

    /// Has it asked again a little later, perhaps of another node.
    ///
    /// # Errors
    ///
    /// As [`answer`](Question::answer).
    pub fn not_yet(&self) -> Result<(), RouteError> {
        self.reply(NOT_YET, &[])
    }

    fn reply(&self, kind: u8, body: &[u8]) -> Result<(), RouteError> {
        let payload = message(self.channel, kind, self.number, body);
        let is_near = route::round_trip(self.asker).is_some() || self.asker == route::myself();
        let sent = if is_near { route::send(self.asker, &payload) } else { route::route(self.asker, &payload) };
        sent.map(drop)
    }
}

/// What a message was.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// Somebody asks.
    Question(Question),
    /// The answer to a question of this node, which has ended.
    Answer {
        /// What was given with the question.
        about: T,
        /// Who says so, as the message claims.
        from: NodeId,
        /// The answer.
        body: Vec<u8>,
    },
    /// An answer that ends nothing: nobody waits for it any more, or it asks for patience.
    Late,
    /// Nothing of this channel.
    Other,
}

/// The open questions of this node. `channel` tells their messages from the application's others: it is the first byte.
///
/// Hand every `deliver` to [`receive`](Questions::receive), every `failed` to [`failed`](Questions::failed) and every
/// `fired` to [`due`](Questions::due).
#[derive(Debug)]
pub struct Questions<T> {
    channel: u8,
    patience: Patience,
    most: usize,
    open: BTreeMap<u64, Open<T>>,
    timers: Timers<u64>,
}

#[derive(Debug)]
struct Open<T> {
    about: T,
    target: Target,
    payload: Vec<u8>,
    deadline: Instant,
    attempts: u32,
    /// The last attempt, and why it came to nothing.
    message: Option<u64>,
    failure: Failure,
}

impl<T> Questions<T> {
    /// No questions yet; at most so many at a time. Each keeps its body for another attempt.
    pub fn new(channel: u8, most: usize, patience: Patience) -> Questions<T> {
        Questions { channel, patience, most, open: BTreeMap::new(), timers: Timers::default() }
    }

    /// Asks. `about` comes back when the question ends. Returns its number.
    ///
    /// # Errors
    ///
    /// [`Full`] where too many questions are open.
    pub fn ask(&mut self, target: Target, body: &[u8], about: T) -> Result<u64, Full> {
        if self.open.len() >= self.most {
            return Err(Full);
        }
        let number = random::number();
        let open = Open {
            about,
            target,
            payload: message(self.channel, QUESTION, number, body),
            deadline: Instant::now() + self.patience.deadline,
            attempts: 0,
            message: None,
            failure: Failure::Deadline,
        };
        self.open.insert(number, open);
        self.attempt(number);
        Ok(number)
    }

    /// A message has arrived, by `deliver` or by `forward`.
    pub fn receive(&mut self, message: &Message) -> Received<T> {
        let Some((kind, number, body)) = read(self.channel, &message.payload) else { return Received::Other };
        match kind {
            QUESTION => Received::Question(Question {
                asker: message.origin,
                number,
                key: message.key,
                body: body.to_vec(),
                channel: self.channel,
            }),
            ANSWER => match self.forget(number) {
                Some(about) => Received::Answer { about, from: message.origin, body: body.to_vec() },
                None => Received::Late,
            },
            NOT_YET => {
                self.put_off(number);
                Received::Late
            }
            _ => Received::Other,
        }
    }

    /// Whoever was asked cannot answer now.
    fn put_off(&mut self, number: u64) {
        let Some(open) = self.open.get_mut(&number) else { return };
        (open.message, open.failure) = (None, Failure::Unreachable);
        if open.attempts < self.patience.attempts {
            self.timers.set(number, self.patience.pause);
        }
    }

    /// A message of this node came to nothing. Where it was a question that is not worth asking again, the question ends.
    pub fn failed(&mut self, message: u64, reason: Failure) -> Option<(T, Failure)> {
        let (number, open) = self.open.iter_mut().find(|(_, open)| open.message == Some(message))?;
        let number = *number;
        open.message = None;
        open.failure = reason;
        if is_final(reason) || open.attempts >= self.patience.attempts {
            return self.forget(number).map(|about| (about, reason));
        }
        self.timers.set(number, self.patience.pause);
        None
    }

    /// A timer has run out: asks again what is due, and gives the questions whose time is over.
    pub fn due(&mut self, timer: u64) -> Vec<(T, Failure)> {
        let mut ended = Vec::new();
        for number in self.timers.due(timer) {
            let Some(open) = self.open.get(&number) else { continue };
            if open.deadline.has_come() {
                let failure = open.failure;
                ended.extend(self.forget(number).map(|about| (about, failure)));
            } else {
                self.attempt(number);
            }
        }
        ended
    }

    /// Ends a question; an answer to it is late.
    pub fn forget(&mut self, number: u64) -> Option<T> {
        self.timers.cancel(&number);
        self.open.remove(&number).map(|open| open.about)
    }

    /// How many questions are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn attempt(&mut self, number: u64) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let mut wait = open.deadline.from_now();
        if open.attempts < self.patience.attempts {
            open.attempts += 1;
            let payload = &open.payload;
            let sent = match open.target {
                Target::Key(key) => route::route(key, payload),
                Target::PerHop(key) => route::route_per_hop(key, payload, None),
                Target::Node(node) => route::send(node, payload),
            };
            open.message = sent.ok();
            let pause = match sent {
                Ok(_) => self.patience.again,
                Err(error) => {
                    open.failure = failure(error);
                    self.patience.pause
                }
            };
            wait = wait.min(pause);
        }
        self.timers.set(number, wait);
    }
}

/// A message that the first byte tells from those of other parts of an application.
fn message(channel: u8, kind: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(HEAD + body.len());
    payload.extend([channel, kind]);
    payload.extend(number.to_be_bytes());
    payload.extend(body);
    payload
}

fn read(channel: u8, payload: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (head, body) = payload.split_first_chunk::<HEAD>()?;
    let (first, number) = head.split_first_chunk::<2>()?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    (first[0] == channel).then_some((first[1], number, body))
}

/// Whether asking again would come to the same.
fn is_final(reason: Failure) -> bool {
    matches!(reason, Failure::NoWillingNode | Failure::HandlerFailed)
}

fn failure(error: RouteError) -> Failure {
    match error {
        RouteError::OverBudget | RouteError::TooLarge => Failure::Overloaded,
        RouteError::NotJoined => Failure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Effect, Node, node_id};
    use crate::{Id, Peerlet};

    struct Asker {
        questions: Questions<&'static str>,
        ended: Vec<(&'static str, Result<Vec<u8>, Failure>)>,
    }

    impl Default for Asker {
        fn default() -> Asker {
            Asker { questions: Questions::new(7, 2, Patience::default()), ended: Vec::new() }
        }
    }

    impl Peerlet for Asker {
        fn deliver(&mut self, message: Message) -> crate::Result {
            match self.questions.receive(&message) {
                Received::Question(question) => question.answer(&question.body)?,
                Received::Answer { about, body, .. } => self.ended.push((about, Ok(body))),
                Received::Late | Received::Other => {}
            }
            Ok(())
        }

        fn fired(&mut self, timer: u64, _: u64) {
            let ended = self.questions.due(timer);
            self.ended.extend(ended.into_iter().map(|(about, failure)| (about, Err(failure))));
        }

        fn failed(&mut self, message: u64, reason: Failure) {
            let ended = self.questions.failed(message, reason);
            self.ended.extend(ended.map(|(about, failure)| (about, Err(failure))));
        }
    }

    fn routed(effects: &[Effect]) -> Vec<(u64, Vec<u8>)> {
        let routed = |effect: &Effect| match effect {
            Effect::Route { id, payload, .. } => Some((*id, payload.clone())),
            _ => None,
        };
        effects.iter().filter_map(routed).collect()
    }

    #[test]
    fn an_answer_ends_its_question_once() {
        let mut asker = Node::<Asker>::new("a");
        let mut other = Node::<Asker>::new("b");
        asker.act(|it| it.questions.ask(Target::Key(Id::hash(b"k")), b"hello", "about").expect("room"));
        let [(_, question)] = &routed(&asker.effects())[..] else { panic!("one message") };
        other.deliver_routed(Id::hash(b"k"), node_id("a"), question).expect("handled");
        let [Effect::Route { key, payload, .. }] = &other.effects()[..] else { panic!("one answer") };
        assert_eq!(*key, node_id("a"));
        for _ in 0..2 {
            asker.deliver_routed(*key, node_id("b"), payload).expect("handled");
        }
        assert_eq!(asker.peerlet.ended, [("about", Ok(b"hello".to_vec()))]);
        asker.run(Duration::from_secs(30));
        assert_eq!(asker.peerlet.ended.len(), 1);
    }

    #[test]
    fn what_is_not_answered_is_asked_again_with_its_number_until_its_time_is_over() {
        let mut asker = Node::<Asker>::new("a");
        asker.act(|it| it.questions.ask(Target::Key(Id::hash(b"k")), b"hello", "about").expect("room"));
        asker.run(Duration::from_secs(9));
        let asked = routed(&asker.effects());
        assert_eq!(asked.len(), 3);
        assert!(asked.windows(2).all(|pair| pair[0].1 == pair[1].1));
        assert_eq!(asker.peerlet.ended, []);
        asker.run(Duration::from_secs(2));
        assert_eq!(asker.peerlet.ended, [("about", Err(Failure::Deadline))]);
        assert_eq!(asker.timers(), 0);
    }

    #[test]
    fn a_failure_is_tried_again_soon_unless_it_would_come_to_the_same() {
        let mut asker = Node::<Asker>::new("a");
        asker.act(|it| it.questions.ask(Target::Node(node_id("b")), b"1", "first").expect("room"));
        let Some(Effect::Send { id, .. }) = asker.effects().pop() else { panic!("sent") };
        asker.failed(id, Failure::Unreachable);
        asker.run(Duration::from_secs(1));
        let Some(Effect::Send { id, .. }) = asker.effects().pop() else { panic!("sent again") };
        asker.failed(id, Failure::HandlerFailed);
        assert_eq!(asker.peerlet.ended, [("first", Err(Failure::HandlerFailed))]);
    }

    #[test]
    fn no_more_are_open_than_there_is_room_for_and_what_makes_no_sense_is_not_of_the_channel() {
        let mut asker = Node::<Asker>::new("a");
        let target = Target::Node(node_id("b"));
        let asked = asker.act(|it| ["x", "y", "z"].map(|about| it.questions.ask(target, b"", about)));
        assert_eq!(asked.map(|result| result.is_ok()), [true, true, false]);
        for payload in [&[][..], &[7, 0, 1], &[6; 20], &[7, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]] {
            asker.deliver(node_id("b"), payload).expect("passed over");
        }
        assert_eq!(asker.peerlet.questions.len(), 2);
    }
}
