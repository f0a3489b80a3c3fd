//! `prost node`: runs a node until it is told to stop.

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::failure::Failure;
use super::output;
use crate::config::{self, Config, Flags, LogFormat, Sources};
use crate::exit;

/// Settings of a node. Each is also a variable of the environment, PROST_ and its name in capitals, and a key of the
/// configuration file, with _ in place of -. A flag beats a variable, a variable beats the file.
#[derive(Debug, Clone, Args)]
pub(super) struct NodeArgs {
    /// TOML file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the settings and the files that they name, then end.
    #[arg(long)]
    check_config: bool,
    /// Directory of everything that the node keeps [default: prost-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<OsString>,
    /// UDP address to listen at [default: 0.0.0.0:4433].
    #[arg(long, value_name = "ADDR")]
    listen: Option<OsString>,
    /// Address that others reach this node at, where that is another one.
    #[arg(long, value_name = "ADDR")]
    advertise: Option<OsString>,
    /// Members of the ring to join through, HOST:PORT with commas between. None: found a ring.
    #[arg(long, value_name = "LIST")]
    bootstrap: Option<OsString>,
    /// Name of the ring [default: prost].
    #[arg(long, value_name = "NAME")]
    ring: Option<OsString>,
    /// Length of the successor list, the same on every node [default: 16].
    #[arg(long, value_name = "COUNT")]
    successors: Option<OsString>,
    /// Most connections that routing keeps: to neighbours, fingers, and nodes whose finger this one is [default: 64].
    #[arg(long, value_name = "COUNT")]
    connections: Option<OsString>,
    /// Bytes that the ring's store of code may take here; 0 keeps none [default: 268435456].
    #[arg(long, value_name = "COUNT")]
    content_bytes: Option<OsString>,
    /// Private key of the node [default: node.key in the data directory].
    #[arg(long, value_name = "FILE")]
    key: Option<OsString>,
    /// Certificate of the node [default: node.pem in the data directory].
    #[arg(long, value_name = "FILE")]
    cert: Option<OsString>,
    /// Certificate of the ring's authority [default: ca.pem in the data directory]. Without one the ring is open.
    #[arg(long, value_name = "FILE")]
    ca: Option<OsString>,
    /// Policy: which applications may run, with what. Without one none may.
    #[arg(long, value_name = "FILE")]
    policy: Option<OsString>,
    /// Authorities, in PEM, that must have certified the hosts which code is fetched from [default: those of the web]. Which
    /// hosts these are, the policy says.
    #[arg(long, value_name = "FILE")]
    locator_ca: Option<OsString>,
    /// The one address on loopback that code may be fetched from: for tests.
    #[arg(long, value_name = "ADDR", hide = true)]
    locator_test_address: Option<OsString>,
    /// TCP address of the administration interface [default: 127.0.0.1:9090].
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<OsString>,
    /// Whether other machines may reach it [default: false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    admin_allow_remote: Option<OsString>,
    /// File with its token [default: admin.token in the data directory, which is made].
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<OsString>,
    /// Which events to log [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<OsString>,
    /// text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<OsString>,
    /// End at once when standard input is closed: for programs that must not leave nodes behind.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

impl NodeArgs {
    fn flags(&self) -> Flags {
        let all = [
            ("data_dir", &self.data_dir),
            ("listen", &self.listen),
            ("advertise", &self.advertise),
            ("bootstrap", &self.bootstrap),
            ("ring", &self.ring),
            ("successors", &self.successors),
            ("connections", &self.connections),
            ("content_bytes", &self.content_bytes),
            ("key", &self.key),
            ("cert", &self.cert),
            ("ca", &self.ca),
            ("policy", &self.policy),
            ("locator_ca", &self.locator_ca),
            ("locator_test_address", &self.locator_test_address),
            ("admin_listen", &self.admin_listen),
            ("admin_allow_remote", &self.admin_allow_remote),
            ("admin_token_file", &self.admin_token_file),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
    }

    fn load(&self) -> Result<Config, Failure> {
        let flags = self.flags();
        let env = |name: &str| env::var_os(name);
        let sources = Sources::new(&flags, &env);
        let sources = match config::file_named(self.config.as_deref(), &env) {
            Some(file) => sources.with_file(&file)?,
            None => sources,
        };
        Ok(Config::load(&sources)?)
    }
}

/// Runs the node.
pub(super) fn run(args: &NodeArgs) -> Result<(), Failure> {
    let config = args.load()?;
    if args.check_config {
        return output::line("the configuration is valid");
    }
    start_log(&config)?;
    if args.stop_with_stdin {
        stop_with_stdin()?;
    }
    crate::node::run(config).map_err(|error| Failure::new(error.code(), error))
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| Failure::new(exit::CONFIG, error))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let started = match config.log_format {
        LogFormat::Text => log.with_ansi(colours).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| Failure::new(exit::INTERNAL, error))
}

fn stop_with_stdin() -> Result<(), Failure> {
    let wait = || {
        let mut buffer = [0; 64];
        // An error is the end, too: nobody is there any more.
        while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        std::process::exit(i32::from(exit::OK));
    };
    let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(wait);
    thread.map(drop).map_err(|error| Failure::new(exit::INTERNAL, format!("cannot start a thread: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::NodeArgs;
    use crate::config::KEYS;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        node: NodeArgs,
    }

    #[test]
    fn every_setting_is_a_flag() {
        let mut line = vec!["node".to_owned()];
        for key in KEYS {
            line.extend([format!("--{}", key.replace('_', "-")), "x".to_owned()]);
        }
        let args = Line::try_parse_from(line).map_err(|error| error.to_string()).expect("flags for all settings").node;
        assert_eq!(args.flags().into_keys().collect::<Vec<_>>(), KEYS);
        let args = Line::try_parse_from(["node", "--admin-allow-remote"]).map_err(|error| error.to_string());
        let flags = args.expect("a flag without its value").node.flags();
        assert_eq!(flags.get("admin_allow_remote"), Some(&"true".into()));
    }
}
