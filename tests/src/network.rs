//! Hosts on a network that can be cut in two: network namespaces, each with one cable to one of two bridges.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where everybody is at first, and where those go who are cut off.
const BRIDGES: [&str; 2] = ["here", "away"];

/// Some hosts, in the network namespace of [`in_own_network`](crate::in_own_network), with which they end.
pub struct Network {
    hosts: Vec<Host>,
}

/// One of them.
pub struct Host {
    /// Its address.
    pub addr: Ipv4Addr,
    port: String,
    namespace: File,
}

impl Network {
    /// At most 250 hosts, all of which reach each other.
    ///
    /// # Panics
    ///
    /// Where this process may not make them, or has made some before.
    #[track_caller]
    pub fn of(hosts: u8) -> Network {
        for bridge in BRIDGES {
            ip(&format!("link add {bridge} up type bridge"));
        }
        Network { hosts: (1..=hosts).map(Host::plug_in).collect() }
    }

    /// The hosts, in the order in which they were made.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Cuts the network: from now on these hosts reach each other, and the others reach each other. Nobody is told.
    #[track_caller]
    pub fn cut_off(&self, away: &[usize]) {
        for (number, host) in self.hosts.iter().enumerate() {
            host.plug_into(BRIDGES[usize::from(away.contains(&number))]);
        }
    }

    /// Everybody reaches everybody again.
    #[track_caller]
    pub fn join(&self) {
        self.cut_off(&[]);
    }
}

impl Host {
    #[track_caller]
    fn plug_in(number: u8) -> Host {
        let (name, port, addr) = (format!("host-{number}"), format!("port-{number}"), Ipv4Addr::new(10, 0, 0, number));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {port} up type veth peer name eth0 netns {name}"));
        ip(&format!("-n {name} addr add {addr}/24 dev eth0"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} link set eth0 up"));
        let namespace = File::open(format!("/run/netns/{name}")).expect("ip keeps namespaces there");
        let host = Host { addr, port, namespace };
        host.plug_into(BRIDGES[0]);
        host
    }

    #[track_caller]
    fn plug_into(&self, bridge: &str) {
        ip(&format!("link set {} master {bridge}", self.port));
    }

    /// Does something there: the connections that it makes and the processes that it starts are this host's.
    ///
    /// # Panics
    ///
    /// Where that does.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        // A thread can leave its namespace, but not come back where something in between has panicked.
        let there = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.namespace.as_fd(), network).expect("whoever made it may enter it");
            task()
        };
        thread::scope(|scope| scope.spawn(there).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[track_caller]
fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).output().expect("there is `ip`");
    assert!(done.status.success(), "ip {args}: {}", String::from_utf8_lossy(&done.stderr).trim());
}
