//! Publishing again: whoever runs an application keeps its package in the store, where somebody has published it.
//!
//! All nodes that run it look now and then how old its head is. The nearer a node stands after the head's key, the less
//! old it may be for that node to publish the package again, so that the first that runs it does so for all, and another
//! where that one does not.

use core::time::Duration;

use prost_contract::Version;
use prost_kbr::{AppId, Key};
use prost_package::piece::head_key;

use super::Want;
use crate::app::Phase;
use crate::node::Node;
use crate::records::millis;

/// How old the head is when the node right after its key publishes again: a quarter of its life.
const FIRST: Duration = Duration::from_secs(6 * 3600);
/// How much older when the one right before it does: there are six hours left then, for two more attempts.
const SPREAD: Duration = Duration::from_secs(6 * 3600);
/// How long after the start of an application it is first looked for, at most and beyond the first minute.
const START: Duration = Duration::from_secs(600);
/// How far two times apart that should be one and the same.
const JITTER: Duration = Duration::from_secs(600);
/// How soon after it was due it is looked for again where nothing came of it.
const AGAIN: Duration = Duration::from_secs(1800);

impl Node {
    /// An application runs here from now on.
    pub(crate) fn plan_renewal(&mut self, id: &AppId) {
        let at = self.now + Duration::from_secs(60) + self.jitter(START);
        self.content.renewals.entry(id.clone()).or_insert(at);
    }

    pub(super) fn tend_renewals(&mut self) {
        let now = self.now;
        let due = self.content.renewals.iter().filter(|(_, at)| **at <= now);
        let due: Vec<AppId> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            let running = self.apps.get(&id).filter(|app| matches!(app.phase, Phase::Running));
            let Some(code) = running.and_then(|app| app.code.as_ref()) else {
                self.content.renewals.remove(&id);
                continue;
            };
            let digest = code.manifest().component.digest;
            let next = now + AGAIN + self.jitter(JITTER);
            self.content.renewals.insert(id.clone(), next);
            let request = self.take_request();
            self.start_retrieval(request, Want::Age, &id, digest);
        }
    }

    /// How old the head of an application's package is; none where none was found, so that nobody has published it.
    pub(super) fn on_age(&mut self, id: &AppId, version: Option<Version>) {
        let running = self.apps.get(id).filter(|app| matches!(app.phase, Phase::Running));
        let Some(code) = running.and_then(|app| app.code.as_ref()) else { return };
        let package = code.package.clone();
        let patience = FIRST + self.share_of(SPREAD, head_key(&code.manifest().component.digest));
        let age = version.map(|version| Duration::from_millis(self.now_ms().saturating_sub(millis(version))));
        let left = match age {
            Some(age) if age >= patience => {
                self.start_publish(None, package);
                AGAIN
            }
            Some(age) => patience.saturating_sub(age),
            None => patience,
        };
        let next = self.now + left + self.jitter(JITTER);
        self.content.renewals.insert(id.clone(), next);
    }

    /// As much of a span as the way from this key to this node is of the ring.
    fn share_of(&self, span: Duration, key: Key) -> Duration {
        let way = key.distance_to(self.ring.view().me.id);
        let (head, _) = way.as_bytes().split_first_chunk::<4>().expect("an id has four bytes");
        span.mul_f64(f64::from(u32::from_be_bytes(*head)) / f64::from(u32::MAX))
    }
}
