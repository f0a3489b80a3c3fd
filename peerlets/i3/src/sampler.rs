//! Private ids on nodes nearby: random ones are measured and the nearest is kept (SIGCOMM 2002, section 4.2).

use core::time::Duration;
use std::collections::BTreeMap;

use prost_i3_api::ask::{Chosen, MAX_SAMPLES};
use prost_i3_api::{I3Id, left_key};
use prost_peerlet::questions::{Patience, Received, Target};
use prost_peerlet::time::Instant;
use prost_peerlet::{Failure, Id, Message, NodeId, Questions, random, route};

/// First byte of the messages that measure. No other message of i3 begins so.
const CHANNEL: u8 = 1;
/// Choices under way at once.
const JOBS: usize = 16;
const PATIENCE: Patience = Patience {
    deadline: Duration::from_secs(5),
    again: Duration::from_secs(2),
    pause: Duration::from_millis(500),
    attempts: 2,
};
/// Keys from which the links of this node are looked for.
const BEARINGS: u64 = 16;
/// How far before a node's id an id may be that is meant for it, as a power of two of the ring's 64 leading bits: nobody
/// stands between them in a ring of any believable size, and the ids of many hosts differ.
const BEFORE: u64 = 1 << 24;

/// One random id.
#[derive(Debug)]
struct Sample {
    job: u64,
    id: I3Id,
    secret: [u8; 16],
    asked: Instant,
    /// The node, once it is known and the way to it is measured.
    node: Option<NodeId>,
}

#[derive(Debug)]
struct Job {
    left: u8,
    best: Option<Chosen>,
}

/// Choices under way, by the request that waits for them.
#[derive(Debug)]
pub(crate) struct Sampler {
    questions: Questions<Sample>,
    jobs: BTreeMap<u64, Job>,
}

/// A choice that has been made; none where nobody answered.
pub(crate) type Made = (u64, Option<Chosen>);

impl Default for Sampler {
    fn default() -> Sampler {
        let most = JOBS * usize::from(MAX_SAMPLES);
        Sampler { questions: Questions::new(CHANNEL, most, PATIENCE), jobs: BTreeMap::new() }
    }
}

impl Sampler {
    /// Measures so many. False where too many choices are under way.
    pub(crate) fn start(&mut self, request: u64, samples: u8) -> bool {
        if self.jobs.len() >= JOBS {
            return false;
        }
        let samples = samples.clamp(1, MAX_SAMPLES);
        let mut left = 0;
        for _ in 0..samples {
            let secret = random::bytes();
            let id = I3Id::of(false, random::number(), left_key(&secret), 0);
            let sample = Sample { job: request, id, secret, asked: Instant::now(), node: None };
            left += u8::from(self.questions.ask(Target::Key(id.ring_key()), &[], sample).is_ok());
        }
        self.jobs.insert(request, Job { left, best: None });
        left > 0 || self.jobs.remove(&request).is_none()
    }

    /// A message has arrived. False where it is none of these.
    pub(crate) fn receive(&mut self, message: &Message) -> (bool, Option<Made>) {
        match self.questions.receive(message) {
            Received::Question(question) => {
                let _ = question.answer(&[]);
                (true, None)
            }
            Received::Answer { about, from, .. } => (true, self.answered(about, from)),
            Received::Late => (true, None),
            Received::Other => (false, None),
        }
    }

    pub(crate) fn failed(&mut self, message: u64, reason: Failure) -> Option<Made> {
        let (sample, _) = self.questions.failed(message, reason)?;
        self.end(sample.job, None)
    }

    pub(crate) fn due(&mut self, timer: u64) -> Vec<Made> {
        let ended = self.questions.due(timer);
        ended.into_iter().filter_map(|(sample, _)| self.end(sample.job, None)).collect()
    }

    /// A node is responsible for the sample. The way to it counts that packets will take: without the overlay.
    fn answered(&mut self, sample: Sample, from: NodeId) -> Option<Made> {
        let measured = if from == route::myself() { Some(0) } else { route::round_trip(from) };
        let took = Instant::now().since(sample.asked).as_micros() as u32;
        let Some(round_trip) = measured.or(sample.node.map(|_| took)) else {
            let job = sample.job;
            let direct = Sample { asked: Instant::now(), node: Some(from), ..sample };
            return match self.questions.ask(Target::Node(from), &[], direct) {
                Ok(_) => None,
                Err(_) => self.end(job, None),
            };
        };
        let Sample { job, id, secret, node, .. } = sample;
        self.end(job, Some(Chosen { id, secret, node: node.unwrap_or(from), round_trip }))
    }

    fn end(&mut self, request: u64, chosen: Option<Chosen>) -> Option<Made> {
        let job = self.jobs.get_mut(&request)?;
        job.left -= 1;
        job.best = job.best.into_iter().chain(chosen).min_by_key(|chosen| chosen.round_trip);
        if job.left > 0 {
            return None;
        }
        self.jobs.remove(&request).map(|job| (request, job.best))
    }
}

/// An id on the nearest of the nodes that this one is connected to. The links are near already: routing chose them so.
pub(crate) fn nearest_link() -> Option<Chosen> {
    let bearing = |at: u64| Id { high: at * (u64::MAX / BEARINGS), ..Id::ZERO };
    let known = (0..BEARINGS).flat_map(|at| route::local_lookup(bearing(at), 64, false));
    let links = known.chain(route::neighbour_set(64)).filter(|node| *node != route::myself());
    let measured = links.filter_map(|node| Some((route::round_trip(node)?, node)));
    let (round_trip, node) = measured.min()?;
    let secret = random::bytes();
    // Two at least, as the prefix's last bit is not free.
    let prefix = node.high.wrapping_sub(2 + random::below(BEFORE));
    Some(Chosen { id: I3Id::of(false, prefix, left_key(&secret), 0), secret, node, round_trip })
}
