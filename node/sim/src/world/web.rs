//! URLs of a world: the packages that stand there, and nothing anywhere else.

use prost_manager::{DownloadFailure, Input};
use prost_package::{Package, Url};

use super::apps::Did;
use super::{Index, World};
use crate::apps::Applications;

impl World {
    /// A node asks for what stands at a URL.
    pub(super) fn download(&mut self, index: Index, download: u64, url: Url) {
        self.note_app(index, Did::Download, url.as_str().as_bytes());
        let input = match self.page(&url) {
            Some(package) => Input::DownloadHead { download, envelope: package.manifest.bytes().clone() },
            None => Input::Downloaded { download, bytes: 0, result: Err(DownloadFailure::Connect) },
        };
        self.hosts[index as usize].apps.get_or_insert_default().downloads.insert(download, url);
        self.input_later(index, Applications::DOWNLOAD_US, input);
    }

    /// The rest of it is wanted.
    pub(super) fn download_rest(&mut self, index: Index, download: u64) {
        let url = self.hosts[index as usize].apps.as_mut().and_then(|apps| apps.downloads.remove(&download));
        let Some(package) = url.and_then(|url| self.page(&url)) else { return };
        let (bytes, result) = (package.encode().len() as u64, Ok(package.component.clone()));
        self.input_later(index, Applications::DOWNLOAD_US, Input::Downloaded { download, bytes, result });
    }

    /// It is not wanted any more. The manager passes over what still comes.
    pub(super) fn cancel_download(&mut self, index: Index, download: u64) {
        if let Some(apps) = &mut self.hosts[index as usize].apps {
            apps.downloads.remove(&download);
        }
    }

    fn page(&self, url: &Url) -> Option<&Package> {
        self.shared.as_ref()?.applications.pages.get(url.as_str())
    }
}
