//! Which node a command talks to.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use crate::admin_client::AdminClient;
use crate::config::ADMIN_TOKEN_FILE;
use crate::config::DEFAULT_DATA_DIR;

/// The administration interface of a node whose operator has chosen no other.
pub(super) const DEFAULT_ADMIN: &str = "http://127.0.0.1:9090";

/// The node to talk to.
#[derive(Debug, Clone, Args)]
pub(super) struct Target {
    /// Administration interface of the node.
    #[arg(long, value_name = "URL", env = "PROST_ADMIN", default_value = DEFAULT_ADMIN)]
    admin: String,
    /// File with the interface's token. By default admin.token in the data directory.
    #[arg(long, value_name = "FILE", env = "PROST_ADMIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Target {
    /// The node with this administration interface, whose token is in this file.
    pub(super) fn of(admin: String, token_file: Option<PathBuf>) -> Target {
        Target { admin, token_file }
    }

    /// A client of the node.
    pub(super) fn client(&self) -> Result<AdminClient, Failure> {
        let token = match &self.token_file {
            Some(file) => Some(read(file)?),
            None => Some(default_file()).filter(|file| file.is_file()).map(|file| read(&file)).transpose()?,
        };
        Ok(AdminClient::new(&self.admin, token))
    }
}

fn default_file() -> PathBuf {
    let data_dir = env::var_os("PROST_DATA_DIR").filter(|dir| !dir.is_empty());
    data_dir.map_or_else(|| PathBuf::from(DEFAULT_DATA_DIR), PathBuf::from).join(ADMIN_TOKEN_FILE)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::reading(file, &error))
}
