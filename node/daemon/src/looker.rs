//! A thread that looks things up in the store, so that the driver never waits for the disk.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use prost_contract::Shelf;
use prost_manager::{Found, Look, look};
use tokio::sync::mpsc::Sender;

/// Questions that may wait. The manager asks fewer at a time: the queue is never full.
const QUEUE: usize = 256;

/// An answer, with the number of its question.
#[derive(Debug)]
pub struct Looked {
    /// The question's.
    pub look: u64,
    /// The answer.
    pub found: Found,
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Looker {
    questions: SyncSender<(u64, Look)>,
}

impl Looker {
    /// Starts the thread.
    pub fn start(shelf: impl Shelf + Send + 'static, answers: Sender<Looked>) -> std::io::Result<Looker> {
        let (questions, queue) = sync_channel(QUEUE);
        std::thread::Builder::new().name("looker".to_owned()).spawn(move || answer_all(&shelf, &queue, &answers))?;
        Ok(Looker { questions })
    }

    /// Asks; says whether there was room.
    pub fn ask(&self, number: u64, question: Look) -> bool {
        self.questions.try_send((number, question)).is_ok()
    }
}

fn answer_all(shelf: &dyn Shelf, queue: &Receiver<(u64, Look)>, answers: &Sender<Looked>) {
    while let Ok((number, question)) = queue.recv() {
        let found = look(shelf, &question);
        if answers.blocking_send(Looked { look: number, found }).is_err() {
            return;
        }
    }
}
