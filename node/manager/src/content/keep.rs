//! Which pieces are kept here, and which are not.

use core::time::Duration;

use prost_contract::{Change, Kept, Point};
use prost_kbr::{AppId, Refusal};
use prost_package::piece::{on_shelf, shelf};
use prost_package::{Decision, Piece};

use super::{MAX_SHELVES, NAME, is_live};
use crate::io::Output;
use crate::node::{Committing, Node};
use crate::records::{NotStored, taken};

/// How long nothing is taken of an application of which a piece was not wanted: what a piece's manifest says is known
/// only when the piece is here, and it is not to come again and again.
const SHUN: Duration = Duration::from_secs(600);

impl Node {
    /// Whether pieces of an application may be kept here, as far as can be said without any of them.
    pub(crate) fn may_keep(&self, id: &AppId) -> Result<(), NotStored> {
        let Some(app) = on_shelf(id) else { return Err(NotStored::Malformed) };
        if let Decision::Deny { .. } = self.policy.decide_app(&app) {
            return Err(NotStored::Refused(Refusal::Denied));
        }
        let content = &self.content;
        if !content.keeps_any() || (!content.held.contains_key(id) && content.held.len() >= MAX_SHELVES) {
            return Err(NotStored::Full);
        }
        match content.shunned.get(id) {
            Some((until, why)) if *until > self.now => Err(*why),
            _ => Ok(()),
        }
    }

    /// Whether this is a piece of an application that policy allows, in its place, and not too old.
    pub(crate) fn judge_piece(&mut self, id: &AppId, point: &Point, kept: &Kept) -> Result<(), NotStored> {
        let judged = self.try_judge_piece(id, point, kept);
        self.content.stats.refused += u64::from(judged.is_err());
        judged
    }

    fn try_judge_piece(&mut self, id: &AppId, point: &Point, kept: &Kept) -> Result<(), NotStored> {
        let Kept { version, value: Some(value), expires: None } = kept else { return Err(NotStored::Malformed) };
        if point.name != NAME || !is_live(*version, self.now_ms()) {
            return Err(NotStored::Malformed);
        }
        let piece = Piece::decode(value).ok_or(NotStored::Malformed)?;
        let manifest = piece.manifest.manifest();
        if shelf(&manifest.app()).as_ref() != Some(id) || piece.key() != point.key {
            return Err(NotStored::Malformed);
        }
        self.judge_new(manifest).map(drop).map_err(|(refusal, _)| {
            let why = NotStored::Refused(refusal);
            self.shun(id, why);
            why
        })
    }

    /// Whether there is room for those of these that are new; from then on it is theirs.
    pub(crate) fn admit_pieces(&mut self, id: &AppId, changes: &[Change]) -> Result<(), NotStored> {
        let is_known = |change: &Change| match change {
            Change::Keep(point, _) => self.content.is_known(id, point.key),
            Change::Node { .. } | Change::Drop(..) => true,
        };
        let taken: u64 = changes.iter().filter(|change| !is_known(change)).map(taken).sum();
        if taken > 0 && self.content.bytes().saturating_add(taken) > self.content.most_bytes {
            // It may be here.
            if !self.content.sweep.has_seen_all {
                return Err(NotStored::NotYet);
            }
            self.content.stats.full += changes.len() as u64;
            return Err(NotStored::Full);
        }
        self.content.stats.taken += changes.len() as u64;
        let key = |change: &Change| if let Change::Keep(point, _) = change { Some(point.key) } else { None };
        self.content.note_known(id, changes.iter().filter_map(key));
        *self.content.held.entry(id.clone()).or_default() += taken;
        Ok(())
    }

    /// Of the pieces that a comparison has brought, those that are to be kept.
    pub(crate) fn choose_pieces(&mut self, id: &AppId, changes: Vec<Change>) -> Vec<Change> {
        let mut chosen = Vec::with_capacity(changes.len());
        for change in changes {
            if let Change::Keep(point, kept) = &change
                && self.judge_piece(id, point, kept).is_ok()
            {
                match self.admit_pieces(id, core::slice::from_ref(&change)) {
                    Ok(()) => chosen.push(change),
                    Err(NotStored::NotYet) => {}
                    Err(why) => self.shun(id, why),
                }
            }
        }
        chosen
    }

    fn shun(&mut self, id: &AppId, why: NotStored) {
        let (now, shunned) = (self.now, &mut self.content.shunned);
        shunned.retain(|_, (until, _)| *until > now);
        if shunned.len() < MAX_SHELVES {
            shunned.insert(id.clone(), (now + SHUN, why));
        }
    }

    /// What the store says that an application's pieces take.
    pub(crate) fn note_pieces(&mut self, id: &AppId, used: u64) {
        if used == 0 {
            self.content.held.remove(id);
            self.content.known.retain(|(shelf, _)| shelf != id);
        } else if let Some(held) = self.content.held.get_mut(id) {
            *held = used;
        }
    }

    /// What policy does not allow, or any more, is not kept either.
    pub(crate) fn forget_denied(&mut self) {
        self.content.shunned.clear();
        let denied = |id: &&AppId| {
            let app = on_shelf(id);
            !self.content.keeps_any()
                || app.is_none_or(|app| matches!(self.policy.decide_app(&app), Decision::Deny { .. }))
        };
        let denied: Vec<AppId> = self.content.held.keys().filter(denied).cloned().collect();
        for id in denied {
            self.content.held.remove(&id);
            self.content.known.retain(|(shelf, _)| *shelf != id);
            let gone = self.commits.extract_if(.., |_, committing| *committing.app() == id);
            let gone: Vec<Committing> = gone.map(|(_, committing)| committing).collect();
            gone.into_iter().for_each(|committing| self.on_records_committed(committing, false));
            self.outbox.push_back(Output::Forget(id));
        }
    }

    /// What happened in the store of code.
    pub fn content_stats(&self) -> super::ContentStats {
        let content = &self.content;
        let (bytes, applications) = (content.bytes(), content.held.len());
        super::ContentStats { bytes, most_bytes: content.most_bytes, applications, ..content.stats.clone() }
    }
}
