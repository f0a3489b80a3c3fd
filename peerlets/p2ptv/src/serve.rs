//! What local programs ask.

use minicbor::Decode;
use prost_p2ptv_api::{
    FEED, Feed, LEAVE, Leave, Look, MAX_REWIND, MAX_SEGMENT, NEXT, Next, OPEN, Open, STATS, WATCH, Watch, Watching,
};
use prost_peerlet::{Error, Key, Request, Result, cbor, client, random, route};

use crate::P2ptv;
use crate::channel::{Channel, WATCHERS};
use crate::segment::{Claim, rules};
use crate::source::NOT_OURS;

/// Streams that wait for the root to note whose the channel is, at most.
const OPENING: usize = 16;

impl P2ptv {
    pub(crate) fn answer(&mut self, request: Request) -> Result {
        let Request { id, method, body } = request;
        match method.as_str() {
            OPEN => self.open(id, read::<Open>(&body)?.channel),
            FEED => self.feed(id, read(&body)?),
            WATCH => self.watch(id, &read(&body)?),
            NEXT => self.next(id, &read(&body)?),
            LEAVE => self.leave(id, &read(&body)?),
            STATS => Ok(client::respond(id, Ok(&cbor::encode(&self.stats(read::<Look>(&body)?.channel))))?),
            _ => Err(Error::new(format_args!("unknown method '{method}'"))),
        }
    }

    /// A stream begins once the root has noted that the channel is this node's.
    fn open(&mut self, request: u64, key: Key) -> Result {
        let myself = route::myself();
        if self.tree.app.all.get(&key).is_some_and(|channel| !channel.may_belong_to(myself)) {
            return Err(Error::new(NOT_OURS));
        }
        if self.tree.app.opening.len() >= OPENING {
            return Err(Error::new("too many streams begin at once: try again"));
        }
        let number = self.tree.create(key, &rules(myself), &cbor::encode(&Claim::new(key)))?;
        self.tree.app.opening.insert(number, (request, key));
        Ok(())
    }

    fn feed(&mut self, request: u64, feed: Feed) -> Result {
        if feed.data.len() > MAX_SEGMENT {
            return Err(Error::new(format_args!("a segment has {MAX_SEGMENT} bytes at most")));
        }
        let (key, room) = (feed.channel, self.tree.app.room());
        let channel = self.tree.app.all.get_mut(&key).ok_or_else(|| Error::new("no such stream: open it first"))?;
        channel.feed(request, feed, room)?;
        self.publish(key);
        Ok(())
    }

    fn watch(&mut self, request: u64, watch: &Watch) -> Result {
        let channel =
            self.tree.app.enter(watch.channel).ok_or_else(|| Error::new("this node has too many channels"))?;
        if channel.watchers.len() >= WATCHERS {
            return Err(Error::new("too many programs watch this channel here"));
        }
        if let Some(source) = watch.source {
            if !channel.may_belong_to(source) {
                return Err(Error::new(NOT_OURS));
            }
            channel.source = Some(source);
        }
        let watcher = random::number();
        channel.watch(watcher, watch.rewind.min(MAX_REWIND));
        self.tree.app.urgent.insert(watch.channel);
        Ok(client::respond(request, Ok(&cbor::encode(&Watching { watcher })))?)
    }

    fn next(&mut self, request: u64, next: &Next) -> Result {
        let channel = self.channel_of(next.watcher)?;
        if let Some(watcher) = channel.watchers.get_mut(&next.watcher) {
            watcher.ask(request, next.from);
        }
        Ok(())
    }

    fn leave(&mut self, request: u64, leave: &Leave) -> Result {
        let channel = self.channel_of(leave.watcher)?;
        if let Some(mut watcher) = channel.watchers.remove(&leave.watcher) {
            watcher.inbox.release();
        }
        Ok(client::respond(request, Ok(&[]))?)
    }

    fn channel_of(&mut self, watcher: u64) -> Result<&mut Channel> {
        let mut all = self.tree.app.all.values_mut();
        let channel = all.find(|channel| channel.watchers.contains_key(&watcher));
        channel.ok_or_else(|| Error::new("this program does not watch here: watch again"))
    }
}

fn read<'a, T: Decode<'a, ()>>(body: &'a [u8]) -> Result<T> {
    cbor::decode(body).map_err(|error| Error::new(format_args!("bad-request: {error}")))
}
