//! What a node downloads, and what it leaves alone.

use std::collections::BTreeMap;

use prost_kbr::{AppId, Time};
use prost_package::url::Host;
use prost_package::{Authority, Url};

/// Downloads under way at once.
pub(super) const MAX_DOWNLOADS: usize = 4;
/// Failures that are remembered; the one that is over first makes room.
const MAX_AVOIDED: usize = 256;

/// What came to nothing, and is left alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Avoided {
    /// There is no way to it.
    Host(Authority),
    /// It is not this application's package.
    Code(AppId, Url),
}

/// The downloads of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Downloads {
    pub(super) under_way: BTreeMap<u64, (AppId, Host)>,
    avoided: BTreeMap<Avoided, Time>,
}

impl Downloads {
    pub(super) fn avoids(&self, id: &AppId, url: &Url, now: Time) -> bool {
        let keys = [Avoided::Host(url.authority().clone()), Avoided::Code(id.clone(), url.clone())];
        keys.iter().any(|key| self.avoided.get(key).is_some_and(|until| *until > now))
    }

    pub(super) fn avoid(&mut self, key: Avoided, until: Time, now: Time) {
        self.avoided.retain(|_, until| *until > now);
        if self.avoided.len() >= MAX_AVOIDED {
            let first = self.avoided.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone());
            first.map(|key| self.avoided.remove(&key));
        }
        self.avoided.insert(key, until);
    }

    pub(super) fn has_room(&self, host: &Host) -> bool {
        self.under_way.len() < MAX_DOWNLOADS && self.under_way.values().all(|(_, asked)| asked != host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn of_many_failures_those_that_last_longest_are_remembered() {
        let mut downloads = Downloads::default();
        let app = AppId { provider: [1; 32], name: "echo".parse().expect("a name") };
        let urls: Vec<Url> =
            (0..300).map(|number| Url::parse(&format!("https://h/{number}")).expect("a URL")).collect();
        for (number, url) in urls.iter().enumerate() {
            downloads.avoid(Avoided::Code(app.clone(), url.clone()), at(100 + number as u64), at(1));
        }
        let avoided = |downloads: &Downloads, now| urls.iter().filter(|url| downloads.avoids(&app, url, now)).count();
        assert_eq!((avoided(&downloads, at(1)), downloads.avoided.len()), (MAX_AVOIDED, MAX_AVOIDED));
        assert!(!downloads.avoids(&app, &urls[43], at(1)) && downloads.avoids(&app, &urls[44], at(1)));
        assert_eq!(avoided(&downloads, at(100 + 200)), 99, "each is over in its time");
        let host = urls[0].authority().clone();
        downloads.avoid(Avoided::Host(host), at(1000), at(900));
        assert_eq!((avoided(&downloads, at(900)), downloads.avoided.len()), (300, 1), "what is over takes no room");
    }
}
