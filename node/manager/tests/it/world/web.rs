//! What stands at URLs, and how a node's driver gets it.

use std::time::Duration;

use bytes::Bytes;
use prost_kbr::NodeId;
use prost_manager::{DownloadFailure, Input};
use prost_package::{Package, Url};

use super::{Event, Seen, World};

/// Something at a URL.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The package file.
    pub(crate) file: Bytes,
    /// How long it takes until its manifest is there, and from then until the rest is.
    pub(crate) takes: [Duration; 2],
    /// What becomes of it instead.
    pub(crate) fails: Option<DownloadFailure>,
}

impl Page {
    /// A package that is there soon.
    pub(crate) fn of(package: &Package) -> Page {
        Page { file: package.encode().into(), takes: [Duration::from_millis(100); 2], fails: None }
    }

    /// This goes wrong.
    pub(crate) fn failing(failure: DownloadFailure) -> Page {
        Page { file: Bytes::new(), takes: [Duration::from_millis(100); 2], fails: Some(failure) }
    }

    /// Its two parts take so long.
    pub(crate) fn taking(self, head: Duration, rest: Duration) -> Page {
        Page { takes: [head, rest], ..self }
    }
}

/// What the driver tells the node.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Head(u64, Bytes),
    End(u64, u64, Result<Bytes, DownloadFailure>),
}

impl World {
    pub(super) fn download(&mut self, node: NodeId, download: u64, url: &Url) {
        self.see(node, Seen::Download(download, url.to_string()));
        let downloads = &mut self.hosts.get_mut(&node).expect("a node").downloads;
        assert_eq!(downloads.insert(download, url.to_string()), None, "a number comes once");
        let page = self.pages.get(url.as_str()).cloned().unwrap_or_else(|| Page::failing(DownloadFailure::Connect));
        let reply = match (page.fails, Package::envelope(&page.file)) {
            (Some(failure), _) => Reply::End(download, 0, Err(failure)),
            (None, Ok(Some(envelope))) => Reply::Head(download, Bytes::copy_from_slice(envelope)),
            (None, _) => Reply::End(download, page.file.len() as u64, Err(DownloadFailure::Package)),
        };
        self.at_time(page.takes[0], Event::Web(node, reply));
    }

    pub(super) fn download_rest(&mut self, node: NodeId, download: u64, bytes: u64) {
        self.see(node, Seen::DownloadRest(download, bytes));
        let url = &self.hosts[&node].downloads[&download];
        let Page { file, takes, .. } = self.pages[url].clone();
        let envelope = Package::envelope(&file).expect("a package").expect("all of it").len();
        let component = file.slice(Package::HEAD + envelope..);
        let result = match (component.len() as u64).cmp(&bytes) {
            std::cmp::Ordering::Less => Err(DownloadFailure::TooShort),
            std::cmp::Ordering::Equal => Ok(component),
            std::cmp::Ordering::Greater => Err(DownloadFailure::TooLong),
        };
        self.at_time(takes[1], Event::Web(node, Reply::End(download, file.len() as u64, result)));
    }

    pub(super) fn cancel_download(&mut self, node: NodeId, download: u64) {
        self.see(node, Seen::CancelDownload(download));
        let known = self.hosts.get_mut(&node).expect("a node").downloads.remove(&download);
        assert!(known.is_some(), "what is not under way cannot be cancelled");
    }

    pub(super) fn web_replies(&mut self, node: NodeId, reply: Reply) {
        let downloads = &mut self.hosts.get_mut(&node).expect("a node").downloads;
        let input = match reply {
            Reply::Head(download, envelope) if downloads.contains_key(&download) => {
                Input::DownloadHead { download, envelope }
            }
            Reply::End(download, bytes, result) if downloads.remove(&download).is_some() => {
                Input::Downloaded { download, bytes, result }
            }
            Reply::Head(..) | Reply::End(..) => return,
        };
        self.input(node, input);
    }
}
