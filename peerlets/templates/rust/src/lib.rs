//! Greets whoever is named. For each name one node of the ring counts how often: the one responsible for the name's key.

use prost_peerlet::questions::{Patience, Question, Received, Target};
use prost_peerlet::storage::{self, Place};
use prost_peerlet::{Error, Failure, Key, Message, Peerlet, Questions, Recent, Request, Result, client};

/// First byte of the messages in which nodes ask each other to greet.
const GREETINGS: u8 = 1;
/// Whatever arrives is a stranger's, and memory has a bound: longest name in bytes, open questions, remembered answers.
const MAX_NAME: usize = 200;
const MAX_OPEN: usize = 1024;
const MAX_REMEMBERED: usize = 1024;

/// What this node remembers. It goes with the instance: what must last belongs in `storage`.
struct Greeter {
    /// Questions to other nodes, each with the request of the local program that waits for its answer.
    questions: Questions<u64>,
    /// Answers that were given: a question that is asked once more is not counted once more.
    given: Recent<u64, String>,
}

impl Default for Greeter {
    fn default() -> Greeter {
        Greeter {
            questions: Questions::new(GREETINGS, MAX_OPEN, Patience::default()),
            given: Recent::new(MAX_REMEMBERED),
        }
    }
}

impl Peerlet for Greeter {
    /// A program on this machine asks.
    fn serve(&mut self, request: Request) -> Result {
        if request.method != "greet" {
            return Err(Error::new("the only method is 'greet'"));
        }
        let name = name(&request.body)?;
        self.questions.ask(Target::Key(Key::hash(name.as_bytes())), name.as_bytes(), request.id)?;
        Ok(())
    }

    /// Another node asks, or it answers; or this node asks itself.
    fn deliver(&mut self, message: Message) -> Result {
        match self.questions.receive(&message) {
            Received::Question(question) => self.greet(&question),
            Received::Answer { about: request, body, .. } => {
                // Whoever asked may have gone.
                let _ = client::respond(request, Ok(&body));
                Ok(())
            }
            Received::Late | Received::Other => Ok(()),
        }
    }

    /// A message came to nothing.
    fn failed(&mut self, message: u64, reason: Failure) {
        if let Some((request, reason)) = self.questions.failed(message, reason) {
            give_up(request, reason);
        }
    }

    /// Time to ask again, or to give up.
    fn fired(&mut self, timer: u64, _tag: u64) {
        for (request, reason) in self.questions.due(timer) {
            give_up(request, reason);
        }
    }
}

impl Greeter {
    /// Counts, and answers. The count is on several nodes before the answer leaves: what was told is not forgotten.
    fn greet(&mut self, question: &Question) -> Result {
        if let Some(text) = self.given.get(&question.number) {
            return Ok(question.answer(text.as_bytes())?);
        }
        let name = name(&question.body)?;
        let place = Place::At(Key::hash(name.as_bytes()));
        let count = count(storage::get(place, b"count")?.as_deref()) + 1;
        storage::put(place, b"count", &count.to_be_bytes(), None)?;
        let text = greeting(name, count);
        question.answer(text.as_bytes())?;
        self.given.insert(question.number, text);
        Ok(())
    }
}

fn give_up(request: u64, reason: Failure) {
    let _ = client::respond(request, Err(&format!("no greeting: {reason:?}")));
}

fn name(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(name) if (1..=MAX_NAME).contains(&name.len()) => Ok(name),
        _ => Err(Error::new(format_args!("a name is text of 1 to {MAX_NAME} bytes"))),
    }
}

/// What a record says; zero where there is none yet, or one that this version does not understand.
fn count(record: Option<&[u8]>) -> u64 {
    record.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn greeting(name: &str, count: u64) -> String {
    if count == 1 { format!("Hello, {name}!") } else { format!("Hello, {name}! That is greeting {count}.") }
}

prost_peerlet::peerlet!(Greeter);

#[cfg(test)]
mod tests {
    use prost_peerlet::testing::{Effect, Node};

    use super::*;

    /// The one message that a node has sent.
    fn sent(node: &mut Node<Greeter>) -> Vec<u8> {
        match &node.effects()[..] {
            [Effect::Route { payload, .. } | Effect::Send { payload, .. }] => payload.clone(),
            other => panic!("not one message: {other:?}"),
        }
    }

    #[test]
    fn a_name_is_counted_by_another_node_and_whoever_asked_is_answered() {
        let (mut asker, mut counter) = (Node::<Greeter>::new("asker"), Node::<Greeter>::new("counter"));
        for greeting in ["Hello, Ada!", "Hello, Ada! That is greeting 2."] {
            let request = asker.serve("greet", b"Ada").unwrap();
            counter.deliver_routed(Key::hash(b"Ada"), asker.state.id, &sent(&mut asker)).unwrap();
            asker.deliver(counter.state.id, &sent(&mut counter)).unwrap();
            assert_eq!(asker.answers(), [(request, Ok(greeting.as_bytes().to_vec()))]);
        }
        assert_eq!(counter.records(), 1);
    }

    #[test]
    fn a_question_that_comes_twice_counts_once() {
        let (mut asker, mut counter) = (Node::<Greeter>::new("asker"), Node::<Greeter>::new("counter"));
        asker.serve("greet", b"Ada").unwrap();
        let question = sent(&mut asker);
        let mut answers = Vec::new();
        for _ in 0..2 {
            counter.deliver_routed(Key::hash(b"Ada"), asker.state.id, &question).unwrap();
            answers.push(sent(&mut counter));
        }
        assert_eq!(answers[0], answers[1]);
    }

    #[test]
    fn what_is_no_name_is_refused_and_leaves_nothing() {
        let mut node = Node::<Greeter>::new("node");
        for body in [&b""[..], b"\xff", &[b'x'; MAX_NAME + 1]] {
            assert!(node.serve("greet", body).is_err());
        }
        assert!(node.serve("sing", b"Ada").is_err());
        assert!(node.effects().is_empty());
    }
}
