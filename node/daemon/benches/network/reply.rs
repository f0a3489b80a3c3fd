//! The reference for requests: one that asks and one that answers.

use std::cell::Cell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, spawn_local};

use crate::quic::{self, Frames};
use crate::table::Sample;
use crate::worker::{self, Meter, Orderer, Orders, Placement, orders};

/// How requests and responses travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Each on a stream of its own.
    StreamEach,
    /// As frames on one stream.
    Frames,
}

const PIECES: usize = 32;
/// Longest response.
const MOST: usize = 1 << 16;

/// Two threads.
pub(crate) struct Pair {
    asker: Orderer<How>,
    asker_thread: Meter,
    meter: Meter,
}

impl Pair {
    pub(crate) fn start(request: usize) -> Pair {
        let (up, addr) = oneshot::channel();
        let meter = worker::spawn("answers", move || async move {
            let endpoint = quic::endpoint();
            up.send(quic::address(&endpoint)).expect("the main thread waits");
            run_answers(quic::accept(&endpoint).await).await;
        });
        let addr = addr.blocking_recv().expect("the other side starts");
        let (asker, orders) = orders();
        let asker_thread = worker::spawn("asks", move || async move {
            let endpoint = quic::endpoint();
            run_asks(quic::connect(&endpoint, addr).await, orders, Bytes::from(vec![7; request])).await;
        });
        Pair { asker, asker_thread, meter }
    }

    /// Asks so many times, and measures the side that answers.
    pub(crate) fn measure(&self, how: How, count: u64, window: u64, placement: Placement) -> Sample {
        worker::place([&self.asker_thread, &self.meter], placement);
        self.meter.sample(count, || {
            self.asker.give(how, count, window).blocking_recv().expect("the thread runs");
        })
    }
}

/// Answers on every stream with the same bytes: where a stream has one request it ends with it, else there are frames.
async fn run_answers(connection: Connection) {
    while let Ok((send, receive)) = connection.accept_bi().await {
        spawn_local(answer(send, receive));
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream) {
    let mut first = [0];
    receive.read_exact(&mut first).await.expect("a first byte");
    if first == ALONE {
        let request = receive.read_to_end(MOST).await.expect("a request");
        send.write_chunk(request.into()).await.expect("the connection is open");
        return send.finish().expect("the stream is open");
    }
    let mut frames = Frames::default();
    let mut pieces: [Bytes; PIECES] = Default::default();
    let mut batch = BytesMut::new();
    while let Some(count) = receive.read_chunks(&mut pieces).await.expect("bytes") {
        for piece in &mut pieces[..count] {
            frames.take(std::mem::take(piece), |request| quic::put(request, &mut batch));
        }
        write(&mut batch, &mut send).await;
    }
    send.finish().expect("the stream is open");
}

/// The first byte of a stream with one request, and of one with frames.
const ALONE: [u8; 1] = [0];
const FRAMED: [u8; 1] = [1];

async fn run_asks(connection: Connection, mut orders: Orders<How>, request: Bytes) {
    while let Some(order) = orders.recv().await {
        match order.what {
            How::StreamEach => ask_alone(&connection, &request, order.count, order.window).await,
            How::Frames => ask_framed(&connection, &request, order.count, order.window).await,
        }
        order.done.send(()).expect("the main thread waits");
    }
}

async fn ask_alone(connection: &Connection, request: &Bytes, count: u64, window: u64) {
    let left = Rc::new(Cell::new(count));
    let request: Bytes = [&ALONE[..], request].concat().into();
    let mut tasks = JoinSet::new();
    for _ in 0..window {
        let (connection, request, left) = (connection.clone(), request.clone(), left.clone());
        tasks.spawn_local(async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
                send.write_chunk(request.clone()).await.expect("the connection is open");
                send.finish().expect("the stream is open");
                let response = receive.read_to_end(MOST).await.expect("a response");
                assert_eq!(response.len() + ALONE.len(), request.len());
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("the task ends well");
    }
}

async fn ask_framed(connection: &Connection, request: &Bytes, count: u64, window: u64) {
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    let mut frames = Frames::default();
    let mut pieces: [Bytes; PIECES] = Default::default();
    let mut batch = BytesMut::from(&FRAMED[..]);
    let (mut asked, mut answered) = (0, 0);
    while answered < count {
        while asked < count && asked - answered < window {
            quic::put(request, &mut batch);
            asked += 1;
        }
        write(&mut batch, &mut send).await;
        let read = receive.read_chunks(&mut pieces).await.expect("bytes").expect("more responses");
        for piece in &mut pieces[..read] {
            frames.take(std::mem::take(piece), |_| answered += 1);
        }
    }
    send.finish().expect("the stream is open");
}

async fn write(batch: &mut BytesMut, stream: &mut SendStream) {
    if !batch.is_empty() {
        stream.write_chunk(batch.split().freeze()).await.expect("the connection is open");
    }
}
