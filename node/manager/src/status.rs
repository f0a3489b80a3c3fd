//! What a node says of its applications.

use std::collections::BTreeMap;

use prost_kbr::{AppId, NodeId, Refusal};
use prost_package::Resources;

use crate::ledger::Usage;

/// Where an application's code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The operator, or this node's own disk.
    Local,
    /// The node that the message came from.
    PreviousHop,
    /// Another node.
    Overlay,
    /// The ring's store of code, from several nodes.
    ContentStore,
    /// The URL that a message named.
    Url,
}

impl Source {
    /// Every source, in a fixed order.
    pub const ALL: [Source; 5] =
        [Source::Local, Source::PreviousHop, Source::Overlay, Source::ContentStore, Source::Url];

    /// The kebab-case name, as in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Source::Local => "local",
            Source::PreviousHop => "previous-hop",
            Source::Overlay => "overlay",
            Source::ContentStore => "content-store",
            Source::Url => "url",
        }
    }
}

/// One installation that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The application.
    pub app: AppId,
    /// Its version.
    pub version: String,
    /// Where the code came from.
    pub source: Source,
    /// The node it came from; none where it is this one, where they were several, or where it was no node.
    pub peer: Option<NodeId>,
    /// Bytes of manifest and component.
    pub bytes: u64,
    /// Milliseconds from the first message for it to its `init` having returned.
    pub millis: u64,
}

/// How far an application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppState {
    /// Its manifest or its code is on the way.
    Fetching,
    /// It is being compiled, or its `init` runs.
    Starting,
    /// It runs.
    Running,
    /// It could not be installed or started; tried again later.
    Failed(Refusal),
}

/// One application on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStatus {
    /// The application.
    pub app: AppId,
    /// Its version, once the manifest is there.
    pub version: Option<String>,
    /// How far it is.
    pub state: AppState,
    /// What it has used.
    pub usage: Usage,
    /// What is reserved for it: what it was granted, and while it is being replaced what the new version gets too.
    pub reserved: Resources,
}

/// Counters of the programmable layer, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Refusals to run an application, by reason.
    pub refusals: BTreeMap<Refusal, u64>,
    /// Executions by application, handler and outcome: `ok`, `error`, or a trap's name.
    pub executions: BTreeMap<(AppId, &'static str, &'static str), u64>,
    /// Installations, by where the code came from.
    pub installs: BTreeMap<Source, u64>,
    /// Downloads, by how they ended: `ok`, or a [`DownloadFailure`](crate::DownloadFailure)'s name. Those that were not
    /// wanted any more are not counted.
    pub downloads: BTreeMap<&'static str, u64>,
    /// Frames of the code protocol that made no sense.
    pub bad_code_frames: u64,
    /// Messages whose header could not be read.
    pub bad_headers: u64,
}
