//! What goes into a [`Node`](crate::Node) and what comes out.

use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{Change, Context, Event, Execution, LogLevel};
use prost_kbr::{AppId, Dispatch, Failure, Header, Key, Message, NodeId, Outcome, Peer, Refusal};
use prost_package::{Grant, Package, Policy, SignedManifest, Url};

use crate::content::{PublishFailure, Published};
use crate::records::{Found, Look};

/// What can happen to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Something for the routing layer: connections, frames, joining, leaving.
    Ring(prost_kbr::Input),
    /// The operator installs a package here. Answered by [`Output::Installed`].
    Install {
        /// Comes back in the answer.
        request: u64,
        /// The package, checked.
        package: Package,
    },
    /// A package is put into the ring's store of code, whether it runs here or not. Answered by [`Output::Published`].
    Publish {
        /// Comes back in the answer.
        request: u64,
        /// The package, checked.
        package: Package,
    },
    /// A package that this node had installed before it was started again.
    Restore(Package),
    /// The operator removes an application and its records. Answered by [`Output::Removed`].
    Remove {
        /// Comes back in the answer.
        request: u64,
        /// Its name or its full id.
        app: String,
    },
    /// A local program asks an application. Ends in exactly one [`Output::Respond`].
    Call {
        /// Comes back in the answer.
        call: u64,
        /// The application's name, where one of that name is installed, or its full id.
        app: String,
        /// What is asked.
        method: String,
        /// With what.
        body: Bytes,
    },
    /// A local program sends an application's message into the ring, whether the application runs here or not. Answered
    /// by [`Output::Routed`].
    Route {
        /// Comes back in the answer.
        request: u64,
        /// The application, and where its code can be had.
        header: Header,
        /// The destination.
        key: Key,
        /// The type.
        dispatch: Dispatch,
        /// The data.
        payload: Bytes,
    },
    /// Who is responsible for a key? Answered by [`Output::LookedUp`].
    Lookup {
        /// Comes back in the answer.
        request: u64,
        /// The key.
        key: Key,
        /// Who may answer, and over how many paths it is asked.
        search: Search,
    },
    /// Answers [`Output::Compile`].
    Compiled {
        /// The application.
        app: AppId,
        /// How long it took.
        micros: u64,
        /// Whether the component can run; if not, why, with one line for the log.
        result: Result<(), (Refusal, String)>,
    },
    /// Answers [`Output::Run`]: an execution for each event; fewer where one of them trapped and was the last to run, or
    /// where the rest is to wait for its turn.
    Ran {
        /// The application.
        app: AppId,
        /// In the order of the events.
        executions: Vec<Execution>,
    },
    /// Answers [`Output::Commit`] and [`Output::SavePackage`].
    Committed {
        /// Which.
        commit: u64,
        /// The bytes of records that the application now has; an error where the writes are not durable.
        result: Result<u64, NotDurable>,
    },
    /// Answers [`Output::Look`].
    Looked {
        /// Which.
        look: u64,
        /// The answer: what [`look`](crate::look) gives.
        found: Found,
    },
    /// The first part of what [`Output::Download`] asked for.
    DownloadHead {
        /// Which.
        download: u64,
        /// The envelope of the package that stands there, unchecked.
        envelope: Bytes,
    },
    /// Ends [`Output::Download`].
    Downloaded {
        /// Which.
        download: u64,
        /// Bytes of the package file that came in all.
        bytes: u64,
        /// The component, unchecked; or why it did not come.
        result: Result<Bytes, DownloadFailure>,
    },
    /// The operator's policy has changed.
    SetPolicy(Arc<Policy>),
    /// The disk has less room than before, or more. A node that is not told has enough.
    SetSpace(Space),
}

/// How much room the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Space {
    /// Enough.
    #[default]
    Enough,
    /// So little that nothing new is installed.
    Scarce,
    /// So little that nothing is written that takes more room than it frees. What is there is read and removed as ever.
    Full,
}

/// How a key is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// The node responsible answers.
    #[default]
    Owner,
    /// Any node answers that knows this many of the first nodes responsible.
    Replicas(u8),
    /// It is asked over this many paths that share no node, 1 to [`MAX_PATHS`](prost_kbr::MAX_PATHS).
    Paths(u8),
}

/// The store could not make writes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotDurable;

/// One event to run, with what surrounds it.
#[derive(Debug, Clone)]
pub struct RunEvent {
    /// The event.
    pub event: Event,
    /// What surrounds it.
    pub context: Context,
}

/// What a node wants done, in the order it wants it done.
#[must_use]
#[derive(Debug, Clone)]
pub enum Output {
    /// Connect to whoever is at this address.
    Dial(std::net::SocketAddr),
    /// Send a frame, dialling first where need be.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        message: Message,
    },
    /// Keep one connection to each of these open.
    Keep(Vec<Peer>),
    /// The connection to this peer may end as soon as nobody speaks on it.
    Release(NodeId),
    /// The node is a member of the ring now.
    Joined,
    /// The node has left the ring; nothing more will come.
    Left,
    /// Answers [`Input::Route`].
    Routed {
        /// From the question.
        request: u64,
        /// The node that handled it, or why none did.
        outcome: Outcome,
    },
    /// Answers [`Input::Lookup`].
    LookedUp {
        /// From the question.
        request: u64,
        /// The owner and the way to it.
        outcome: Outcome,
    },
    /// Answers [`prost_kbr::Input::AskNeighbours`].
    Neighbours {
        /// From the question.
        request: u64,
        /// Predecessors and successors; none where the peer did not answer.
        neighbours: Option<(Vec<Peer>, Vec<Peer>)>,
    },
    /// Compile this component, linking what was granted and nothing else. Answered by [`Input::Compiled`].
    Compile {
        /// The application.
        app: AppId,
        /// Its manifest.
        manifest: SignedManifest,
        /// The component, its digest checked.
        component: Bytes,
        /// What it gets.
        grant: Grant,
    },
    /// Run these events, in order, on the application's instance, and stop at the first trap. There is one such batch
    /// under way for an application at a time. Answered by [`Input::Ran`].
    Run {
        /// The application.
        app: AppId,
        /// The events.
        events: Vec<RunEvent>,
    },
    /// Drop the application's instance and its compiled code. What is under way for it, in the compiler or in the
    /// sandbox, is not answered.
    Stop(AppId),
    /// Make these changes durable, all or none, and visible to the application's next events at once.
    /// Answered by [`Input::Committed`], in order for an application. Where the answer is an error, the commits of the
    /// same application that the driver has not taken yet are withdrawn.
    Commit {
        /// Comes back in the answer.
        commit: u64,
        /// The application.
        app: AppId,
        /// In order.
        changes: Vec<Change>,
    },
    /// Look something up in the store, pending changes included; [`look`](crate::look) does it. Answered by
    /// [`Input::Looked`].
    Look {
        /// Comes back in the answer.
        look: u64,
        /// What.
        at: Look,
    },
    /// Get the package file at this URL, whose host the policy lists, from a global address. Answered by
    /// [`Input::DownloadHead`] as soon as the envelope is there, and in any case ended by one [`Input::Downloaded`]. No
    /// byte of the component is read before [`Output::DownloadRest`].
    Download {
        /// Comes back in the answers.
        download: u64,
        /// Where it stands.
        url: Url,
    },
    /// The manifest was judged well: read the component.
    DownloadRest {
        /// Which.
        download: u64,
        /// The component's size, as the manifest says. What stands there has neither more nor less.
        bytes: u64,
    },
    /// This download is not wanted any more, and is not answered.
    CancelDownload(u64),
    /// Make the package durable, so that it is there after a restart. Answered by [`Input::Committed`].
    SavePackage {
        /// Comes back in the answer; no [`Output::Commit`] has this number.
        commit: u64,
        /// The package.
        package: Package,
    },
    /// Forget the package and the application's records.
    Forget(AppId),
    /// Answers [`Input::Call`].
    Respond {
        /// From the call.
        call: u64,
        /// What the application said, or why it said nothing.
        outcome: Result<Bytes, CallFailure>,
    },
    /// An item of the stream of a call that is still open.
    Push {
        /// From the call.
        call: u64,
        /// The item.
        item: Bytes,
    },
    /// Answers [`Input::Install`].
    Installed {
        /// From the question.
        request: u64,
        /// Whether it runs, and will after a restart.
        result: Result<AppId, InstallFailure>,
    },
    /// Answers [`Input::Publish`].
    Published {
        /// From the question.
        request: u64,
        /// What is in the store now.
        result: Result<Published, PublishFailure>,
    },
    /// Answers [`Input::Remove`].
    Removed {
        /// From the question.
        request: u64,
        /// Whether it was there.
        result: Result<AppId, CallFailure>,
    },
    /// A line for the log, about an application or by it.
    Log {
        /// The application.
        app: AppId,
        /// How loud.
        level: LogLevel,
        /// The line, without control characters.
        line: String,
    },
}

/// Why a URL gave no code. Goes into this node's log and its counters, and to nobody else: whoever names a URL must not
/// learn from it what this node can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum DownloadFailure {
    /// The name leads nowhere.
    #[error("its name cannot be resolved")]
    Resolve,
    /// The name leads to an address that is not global.
    #[error("its address is not one of the public Internet")]
    Address,
    /// Nobody answers at the address.
    #[error("no connection")]
    Connect,
    /// It cannot prove to be the host, or does not speak TLS.
    #[error("no TLS connection")]
    Tls,
    /// What it speaks is not HTTP.
    #[error("not HTTP")]
    Protocol,
    /// It says that the code stands elsewhere.
    #[error("it redirects")]
    Redirect,
    /// It has no such file, or does not give it.
    #[error("its answer is not 200")]
    Status,
    /// The file comes compressed, or encoded in another way.
    #[error("it encodes what it sends")]
    Encoding,
    /// It sends nothing, or too little in the time.
    #[error("too slow")]
    Slow,
    /// All of it took too long.
    #[error("too late")]
    Late,
    /// It sends more than the manifest says.
    #[error("too long")]
    TooLong,
    /// It ends before all was there.
    #[error("too short")]
    TooShort,
    /// What stands there is not the application's package.
    #[error("not the application's package")]
    Package,
    /// This node downloads too much already.
    #[error("too many downloads")]
    Overloaded,
}

impl DownloadFailure {
    /// Every failure, in a fixed order: for metrics.
    pub const ALL: [DownloadFailure; 14] = [
        DownloadFailure::Resolve,
        DownloadFailure::Address,
        DownloadFailure::Connect,
        DownloadFailure::Tls,
        DownloadFailure::Protocol,
        DownloadFailure::Redirect,
        DownloadFailure::Status,
        DownloadFailure::Encoding,
        DownloadFailure::Slow,
        DownloadFailure::Late,
        DownloadFailure::TooLong,
        DownloadFailure::TooShort,
        DownloadFailure::Package,
        DownloadFailure::Overloaded,
    ];

    /// The name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            DownloadFailure::Resolve => "resolve",
            DownloadFailure::Address => "address",
            DownloadFailure::Connect => "connect",
            DownloadFailure::Tls => "tls",
            DownloadFailure::Protocol => "protocol",
            DownloadFailure::Redirect => "redirect",
            DownloadFailure::Status => "status",
            DownloadFailure::Encoding => "encoding",
            DownloadFailure::Slow => "slow",
            DownloadFailure::Late => "late",
            DownloadFailure::TooLong => "too_long",
            DownloadFailure::TooShort => "too_short",
            DownloadFailure::Package => "package",
            DownloadFailure::Overloaded => "overloaded",
        }
    }

    /// Whether it says something of the host, whatever was asked for there.
    pub const fn is_of_the_host(self) -> bool {
        use DownloadFailure::{Address, Connect, Resolve, Tls};
        matches!(self, Resolve | Address | Connect | Tls)
    }
}

/// Why a call got no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// No application of this name runs here.
    #[error("no application '{0}' runs on this node")]
    NotInstalled(String),
    /// Several applications have this name.
    #[error("several providers' applications are called '{0}': give the full id, name@provider")]
    Ambiguous(String),
    /// The application cannot run here.
    #[error("this node will not run the application: {0}")]
    Refused(Refusal),
    /// The application answered with an error.
    #[error("{0}")]
    Application(String),
    /// The handler trapped, or no answer came.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why a package was not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallFailure {
    /// The node refuses it.
    #[error("refused ({refusal}): {detail}")]
    Refused {
        /// The kind of refusal.
        refusal: Refusal,
        /// One line that says more: the rule, the interface, the trap.
        detail: String,
    },
    /// A newer version is installed.
    #[error("version {installed} is installed, which is newer")]
    Older {
        /// The version that is installed.
        installed: String,
    },
    /// It is being installed already.
    #[error("it is being installed already")]
    Busy,
    /// The store did not take its package.
    #[error("it runs, but its package is not durable: it will not be there after a restart")]
    NotDurable,
}
