//! A node's state as people and programs read it.

use std::time::Duration;

use prost_kbr::machine::RingState;
use prost_kbr::{Peer, RingView};
use prost_manager::{AppState, AppStatus, Installation};

use crate::admin::ask::{ContentStatus, Install, Neighbour, PeerletStatus, RecordCounts, Status};
use crate::driver::Parts;

/// The node's status now.
pub(crate) fn status(parts: &Parts, uptime: Duration) -> Status {
    let (view, admitted) = (parts.node.view(), parts.node.admitted());
    Status {
        id: view.me.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addr: view.me.addr,
        ring: parts.ring.clone(),
        state: ring_state(parts.node.ring().ring_state()).to_owned(),
        uptime_s: uptime.as_secs_f64(),
        predecessors: neighbours(&view, &view.predecessors),
        successors: neighbours(&view, &view.successors),
        fingers: neighbours(&view, &view.fingers),
        connections: parts.transport.connections().len(),
        peerlets: parts.node.apps().into_iter().map(peerlet).collect(),
        usage: parts.node.usage(),
        reserved: admitted.reserved,
        totals: admitted.totals,
        content: content(parts),
        installs: parts.node.installations().map(install).collect(),
        refusals: parts.node.stats().refusals.iter().map(|(why, count)| (why.name().to_owned(), *count)).collect(),
        records: records(parts),
    }
}

fn records(parts: &Parts) -> RecordCounts {
    let stats = parts.node.record_stats();
    RecordCounts {
        kept: stats.stored,
        taken: stats.pulled,
        given: stats.given,
        dropped: stats.dropped,
        settling: parts.node.is_settling(),
    }
}

/// Brings the gauges and the counters that the machine keeps up to date.
pub(crate) fn measure(parts: &Parts) {
    parts.metrics.update(&parts.node, &parts.transport);
    parts.metrics.update_store(&parts.store);
}

fn ring_state(state: RingState) -> &'static str {
    match state {
        RingState::Joining => "joining",
        RingState::Bootstrap => "bootstrap",
        RingState::Member => "member",
        RingState::Left => "left",
    }
}

fn neighbours(view: &RingView, peers: &[Peer]) -> Vec<Neighbour> {
    let micros = |rtt: Duration| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
    let neighbour =
        |peer: &Peer| Neighbour { id: peer.id, addr: peer.addr, rtt_us: view.round_trip(peer.id).map(micros) };
    peers.iter().map(neighbour).collect()
}

fn peerlet(app: AppStatus) -> PeerletStatus {
    PeerletStatus {
        app: app.app.to_string(),
        name: app.app.name.to_string(),
        version: app.version,
        state: match app.state {
            AppState::Fetching => "fetching".to_owned(),
            AppState::Starting => "starting".to_owned(),
            AppState::Running => "running".to_owned(),
            AppState::Failed(refusal) => format!("failed: {refusal}"),
        },
        reserved: app.reserved,
        usage: app.usage,
    }
}

fn content(parts: &Parts) -> ContentStatus {
    let stats = parts.node.content_stats();
    ContentStatus { bytes: stats.bytes, most_bytes: stats.most_bytes, applications: stats.applications }
}

fn install(installation: &Installation) -> Install {
    Install {
        app: installation.app.to_string(),
        version: installation.version.clone(),
        from: installation.source.name().to_owned(),
        peer: installation.peer,
        bytes: installation.bytes,
        ms: installation.millis,
    }
}
