//! The reference for one-way messages: a source, a relay and a sink.

use bytes::{Bytes, BytesMut};
use quinn::{Connection, SendStream};
use tokio::sync::oneshot;

use crate::quic::{self, Frames};
use crate::table::Sample;
use crate::worker::{self, Meter, Orderer, Orders, orders};

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Each on a stream of its own.
    StreamEach,
    /// As frames on one stream, many a write.
    Frames,
}

/// Pieces read at once, and bytes written at once.
const PIECES: usize = 32;
const WRITE: usize = 16 << 10;

/// Three threads in a row.
pub(crate) struct Chain {
    source: Orderer<How>,
    relay: Orderer<How>,
    sink: Orderer<How>,
    meter: Meter,
}

impl Chain {
    pub(crate) fn start(payload: usize) -> Chain {
        let (sink, at_sink) = orders();
        let (up, sink_addr) = oneshot::channel();
        worker::spawn("sink", move || async move {
            let endpoint = quic::endpoint();
            up.send(quic::address(&endpoint)).expect("the main thread waits");
            run_sink(quic::accept(&endpoint).await, at_sink).await;
        });
        let sink_addr = sink_addr.blocking_recv().expect("the sink starts");
        let (relay, at_relay) = orders();
        let (up, relay_addr) = oneshot::channel();
        let meter = worker::spawn("relay", move || async move {
            let endpoint = quic::endpoint();
            up.send(quic::address(&endpoint)).expect("the main thread waits");
            let to = quic::connect(&endpoint, sink_addr).await;
            run_relay(quic::accept(&endpoint).await, to, at_relay).await;
        });
        let relay_addr = relay_addr.blocking_recv().expect("the relay starts");
        let (source, at_source) = orders();
        worker::spawn("source", move || async move {
            let endpoint = quic::endpoint();
            run_source(quic::connect(&endpoint, relay_addr).await, at_source, payload).await;
        });
        Chain { source, relay, sink, meter }
    }

    /// Sends so many, and measures the relay.
    pub(crate) fn measure(&self, how: How, count: u64) -> Sample {
        self.meter.sample(count, || {
            let waits = [&self.sink, &self.relay, &self.source].map(|orderer| orderer.give(how, count, 0));
            waits.into_iter().for_each(|wait| wait.blocking_recv().expect("the thread runs"));
        })
    }
}

async fn run_source(to: Connection, mut orders: Orders<How>, payload: usize) {
    let message = Bytes::from(vec![7; payload]);
    while let Some(order) = orders.recv().await {
        match order.what {
            How::StreamEach => {
                for _ in 0..order.count {
                    send_alone(&to, message.clone()).await;
                }
            }
            How::Frames => {
                let mut stream = to.open_uni().await.expect("a stream");
                let mut batch = BytesMut::with_capacity(2 * WRITE);
                for _ in 0..order.count {
                    quic::put(&message, &mut batch);
                    write_full(&mut batch, &mut stream, WRITE).await;
                }
                write_full(&mut batch, &mut stream, 1).await;
                stream.finish().expect("the stream is open");
            }
        }
        order.done.send(()).expect("the main thread waits");
    }
}

async fn run_relay(from: Connection, to: Connection, mut orders: Orders<How>) {
    while let Some(order) = orders.recv().await {
        match order.what {
            How::StreamEach => {
                for _ in 0..order.count {
                    let mut stream = from.accept_uni().await.expect("a stream");
                    let message = stream.read_to_end(1 << 16).await.expect("a message");
                    send_alone(&to, message.into()).await;
                }
            }
            How::Frames => {
                let mut stream = from.accept_uni().await.expect("a stream");
                let mut onward = to.open_uni().await.expect("a stream");
                let mut frames = Frames::default();
                let mut pieces: [Bytes; PIECES] = Default::default();
                let mut batch = BytesMut::with_capacity(2 * WRITE);
                while let Some(count) = stream.read_chunks(&mut pieces).await.expect("bytes") {
                    for piece in &mut pieces[..count] {
                        frames.take(std::mem::take(piece), |frame| quic::put(frame, &mut batch));
                    }
                    write_full(&mut batch, &mut onward, 1).await;
                }
                onward.finish().expect("the stream is open");
            }
        }
        order.done.send(()).expect("the main thread waits");
    }
}

async fn run_sink(from: Connection, mut orders: Orders<How>) {
    while let Some(order) = orders.recv().await {
        match order.what {
            How::StreamEach => {
                for _ in 0..order.count {
                    let mut stream = from.accept_uni().await.expect("a stream");
                    stream.read_to_end(1 << 16).await.expect("a message");
                }
            }
            How::Frames => {
                let mut stream = from.accept_uni().await.expect("a stream");
                let mut frames = Frames::default();
                let mut pieces: [Bytes; PIECES] = Default::default();
                let mut seen = 0;
                while let Some(count) = stream.read_chunks(&mut pieces).await.expect("bytes") {
                    for piece in &mut pieces[..count] {
                        frames.take(std::mem::take(piece), |_| seen += 1);
                    }
                }
                assert_eq!(seen, order.count, "every message has arrived");
            }
        }
        order.done.send(()).expect("the main thread waits");
    }
}

async fn send_alone(to: &Connection, message: Bytes) {
    let mut stream = to.open_uni().await.expect("a stream");
    stream.write_chunk(message).await.expect("the connection is open");
    stream.finish().expect("the stream is open");
}

/// Writes what is there where it is at least so much.
async fn write_full(batch: &mut BytesMut, stream: &mut SendStream, least: usize) {
    if batch.len() >= least {
        let chunk = batch.split().freeze();
        batch.reserve(2 * WRITE);
        stream.write_chunk(chunk).await.expect("the connection is open");
    }
}
