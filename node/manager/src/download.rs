//! The last source of an application's code: the URL that a message named.
//!
//! It is asked when no node has given the code, and where the policy lists its host. What stands there is a package file:
//! its manifest is judged before the driver reads a byte of the component, and the component must be the one that the
//! manifest names. Each application is asked for once at a time, a host by one download, and what came to nothing is left
//! alone for a while. Whoever sent the message is told no more than that nobody gave the code.

mod under_way;

use core::time::Duration;

use bytes::Bytes;
use prost_contract::LogLevel;
use prost_kbr::{AppId, Refusal, Time};
use prost_package::{Locator, Package, SignedManifest, Url};

use crate::app::Phase;
use crate::io::{DownloadFailure, Output};
use crate::node::Node;
use crate::status::Source;
pub(crate) use under_way::Downloads;
use under_way::{Avoided, MAX_DOWNLOADS};

/// Applications whose URL is being asked, or waits for its turn.
const MAX_TURNS: usize = 2 * MAX_DOWNLOADS;
/// URLs that are tried for one application before it is given up.
const MAX_URLS: usize = 4;
/// How long messages wait for a download: then they go elsewhere, and it goes on without them.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a download is given up of which the driver has told nothing. It has its own limit, and that ends before.
const LIMIT: Duration = Duration::from_secs(35);
/// How long what came to nothing is left alone; a quarter more or less, so that nodes do not come back together.
const AVOIDED: Duration = Duration::from_secs(60);

/// What a fetch knows of URLs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Urls {
    /// In the order in which messages named them, all different.
    named: Vec<Url>,
    /// How many of them have had their turn.
    tried: usize,
    turn: Option<Turn>,
    /// When the first was tried.
    since: Option<Time>,
    /// What waited has gone elsewhere.
    is_alone: bool,
}

/// A URL that is being asked, or is about to be.
#[derive(Debug, Clone)]
struct Turn {
    download: u64,
    url: Url,
    /// When the driver was told; none where others come first.
    started: Option<Time>,
}

impl Urls {
    /// A message named this one, too.
    fn offer(&mut self, url: &Url) {
        if self.named.len() < MAX_URLS && !self.named.contains(url) {
            self.named.push(url.clone());
        }
    }

    fn next(&mut self) -> Option<Url> {
        self.turn = None;
        let url = self.named.get(self.tried).cloned()?;
        self.tried += 1;
        Some(url)
    }

    /// Whether it is a URL's turn.
    pub(crate) fn are_asked(&self) -> bool {
        self.turn.is_some()
    }

    /// Whether any was asked.
    pub(crate) fn were_asked(&self) -> bool {
        self.since.is_some()
    }

    /// Whether messages do not wait for this any more.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// When something is to be done about the URL whose turn it is.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let turn = self.turn.as_ref()?;
        match turn.started {
            Some(started) if self.is_alone => Some(started + LIMIT),
            _ => self.since.map(|since| since + PATIENCE),
        }
    }
}

impl Node {
    /// A message that needs the code names where it can be had.
    pub(crate) fn offer_locator(&mut self, id: &AppId, locator: &Locator) {
        let Locator::Url(url) = locator else { return };
        if self.policy.lists(url)
            && let Some(Phase::Fetching(fetch)) = self.apps.get_mut(id).map(|app| &mut app.phase)
        {
            fetch.urls.offer(url);
        }
    }

    /// No node has given the code: the next URL is asked. Where there is none, the application cannot be had.
    pub(crate) fn ask_next_url(&mut self, id: &AppId) {
        let now = self.now;
        let turns = self.apps.values().filter(|app| app.id != *id && app.fetch().is_some_and(|it| it.urls.are_asked()));
        let has_room = turns.count() < MAX_TURNS;
        let download = self.take_request();
        let Some(fetch) = self.apps.get_mut(id).and_then(crate::app::App::fetch_mut) else { return };
        while let Some(url) = fetch.urls.next() {
            if has_room && self.policy.lists(&url) && !self.downloads.avoids(id, &url, now) {
                fetch.urls.since.get_or_insert(now);
                fetch.urls.turn = Some(Turn { download, url, started: None });
                return self.start_downloads();
            }
        }
        let ((refusal, line), asked) = (fetch.failure(), fetch.has_asked());
        self.end_fetch(id, refusal, line.to_owned());
        if !asked && self.apps.get(id).is_some_and(|app| app.code.is_none()) {
            // A node that knows no other yet has not learned that the code cannot be had.
            self.forget(id);
        }
    }

    /// Has the driver begin what waits, in the order in which it came, as far as there is room.
    fn start_downloads(&mut self) {
        let waits = |turn: &&Turn| turn.started.is_none();
        let turns = self.apps.values().filter_map(|app| app.fetch()?.urls.turn.as_ref().filter(waits));
        let mut waiting: Vec<u64> = turns.map(|turn| turn.download).collect();
        waiting.sort_unstable();
        for download in waiting {
            let Some(id) = self.app_with_turn(download) else { continue };
            let Some(turn) = self.turn_of(&id) else { continue };
            let url = turn.url.clone();
            let host = &url.authority().host;
            if self.downloads.has_room(host) {
                self.downloads.under_way.insert(download, (id.clone(), host.clone()));
                let now = self.now;
                if let Some(turn) = self.turn_of(&id) {
                    turn.started = Some(now);
                }
                self.outbox.push_back(Output::Download { download, url });
            }
        }
    }

    /// The beginning of what stands at a URL: a manifest, which decides whether the rest is wanted.
    pub(crate) fn on_download_head(&mut self, download: u64, envelope: Bytes) {
        let Some(id) = self.app_with_turn(download) else { return };
        let bytes = envelope.len() as u64;
        let verified = SignedManifest::verify(envelope).ok().filter(|manifest| manifest.manifest().app() == id);
        let known = self.apps.get(&id).and_then(|app| app.fetch()?.manifest()).map(|known| known.component.digest);
        // Where a node has given a manifest and then fell silent, the URL may give its code, and no other.
        let fits = |manifest: &SignedManifest| known.is_none_or(|known| known == manifest.manifest().component.digest);
        let Some(manifest) = verified.filter(fits) else {
            return self.give_up_url(&id, bytes, DownloadFailure::Package);
        };
        let size = manifest.manifest().component.size;
        let compared = self.compare(&id, manifest.manifest());
        let judged = compared.and_then(|()| self.judge_new(manifest.manifest()));
        match judged.and_then(|grant| self.admit_new(&id, grant)) {
            Ok(_) => {
                if let Some(fetch) = self.apps.get_mut(&id).and_then(crate::app::App::fetch_mut) {
                    fetch.accept(manifest);
                }
                self.outbox.push_back(Output::DownloadRest { download, bytes: size });
            }
            Err((Refusal::BadPackage, line)) => {
                self.note(&id, LogLevel::Warn, format!("a manifest was passed over: {line}"));
                self.give_up_url(&id, bytes, DownloadFailure::Package);
            }
            Err((refusal, line)) => {
                self.charge_download(&id, bytes, true);
                self.end_fetch(&id, refusal, line);
            }
        }
    }

    /// A download has ended: with the component, or without.
    pub(crate) fn on_downloaded(&mut self, download: u64, bytes: u64, result: Result<Bytes, DownloadFailure>) {
        let Some(id) = self.app_with_turn(download) else { return };
        self.downloads.under_way.remove(&download);
        let manifest = self.apps.get(&id).and_then(|app| app.fetch()?.signed_manifest().cloned());
        let package = result.and_then(|component| {
            let package = manifest.map(|manifest| Package::new(manifest, component));
            package.and_then(Result::ok).ok_or(DownloadFailure::Package)
        });
        match package {
            Ok(package) => {
                self.charge_download(&id, bytes, true);
                self.count_download("ok");
                self.on_fetched(&id, package, Source::Url, None);
            }
            Err(failure) => self.give_up_url(&id, bytes, failure),
        }
        self.start_downloads();
    }

    /// A URL has given nothing of use; the next is asked.
    fn give_up_url(&mut self, id: &AppId, bytes: u64, failure: DownloadFailure) {
        self.charge_download(id, bytes, true);
        self.count_download(failure.name());
        let Some(url) = self.turn_of(id).map(|turn| turn.url.clone()) else { return };
        self.note(id, LogLevel::Warn, format!("no code from {}: {failure}", url.authority()));
        let key = if failure.is_of_the_host() {
            Avoided::Host(url.authority().clone())
        } else {
            Avoided::Code(id.clone(), url)
        };
        let until = self.now + AVOIDED * 3 / 4 + self.jitter(AVOIDED / 2);
        self.downloads.avoid(key, until, self.now);
        self.ask_next_url(id);
    }

    fn count_download(&mut self, end: &'static str) {
        *self.stats.downloads.entry(end).or_default() += 1;
    }

    /// The time of a URL is over. What waits goes elsewhere first; a download that is under way goes on for whatever
    /// comes later.
    pub(crate) fn on_url_late(&mut self, id: &AppId) {
        let Some(fetch) = self.apps.get_mut(id).and_then(crate::app::App::fetch_mut) else { return };
        let has_started = fetch.urls.turn.as_ref().is_some_and(|turn| turn.started.is_some());
        let (refusal, line) = fetch.failure();
        if !has_started {
            self.end_fetch(id, refusal, line.to_owned());
        } else if std::mem::replace(&mut fetch.urls.is_alone, true) {
            self.give_up_url(id, 0, DownloadFailure::Late);
        } else {
            self.release_all(id, Refusal::FetchFailed);
        }
    }

    /// Ends what nobody wants any more: the application has gone or has come another way, or the policy has changed.
    /// Says whether there was any.
    pub(crate) fn tend_downloads(&mut self) -> bool {
        let under_way: Vec<(u64, AppId)> =
            self.downloads.under_way.iter().map(|(number, (id, _))| (*number, id.clone())).collect();
        let mut ended = false;
        for (download, id) in under_way {
            let unlisted = |turn: &Turn| turn.download == download && !self.policy.lists(&turn.url);
            let fetch = self.apps.get(&id).and_then(crate::app::App::fetch);
            if fetch.and_then(|fetch| fetch.urls.turn.as_ref()).is_some_and(unlisted) {
                self.ask_next_url(&id);
            }
            if self.app_with_turn(download).is_none() {
                self.downloads.under_way.remove(&download);
                self.outbox.push_back(Output::CancelDownload(download));
                ended = true;
            }
        }
        if ended {
            self.start_downloads();
        }
        ended
    }

    fn app_with_turn(&self, download: u64) -> Option<AppId> {
        let has = |fetch: &crate::fetch::Fetch| fetch.urls.turn.as_ref().is_some_and(|turn| turn.download == download);
        self.apps.values().find(|app| app.fetch().is_some_and(has)).map(|app| app.id.clone())
    }

    fn turn_of(&mut self, id: &AppId) -> Option<&mut Turn> {
        self.apps.get_mut(id)?.fetch_mut()?.urls.turn.as_mut()
    }
}
