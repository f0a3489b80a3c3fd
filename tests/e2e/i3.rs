//! Packets to names: programs that listen, services, and unmodified UDP programs, on real processes.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use prost_node::standard::I3;
use prost_tests::{Node, PATIENCE, Plan, Ring, provider, run, wait_until};

fn i3(nodes: usize) -> Ring {
    let ring = Plan::of(nodes).start();
    ring.install(&I3.package(&provider()));
    ring
}

/// A command that runs until the test ends it, and its lines.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    #[track_caller]
    fn start(node: &Node, args: &[&str]) -> Running {
        let mut command = Command::new(prost_tests::prost());
        command.args(args).args(["--admin", node.admin.base_url(), "--token-file"]).arg(node.dir.join("admin.token"));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        for pipe in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Running { child, lines }
    }

    /// Listens, and returns once the trigger is in its place.
    #[track_caller]
    fn listen(node: &Node, args: &[&str]) -> Running {
        let running = Running::start(node, &[&["i3", "listen"], args].concat());
        let line = running.line();
        assert!(line.starts_with("listening to "), "{line}");
        running
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it prints a line")
    }

    #[track_caller]
    fn prints_nothing(&self) {
        let line = self.lines.recv_timeout(Duration::from_millis(500));
        assert!(line.is_err(), "{line:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn names_groups_and_services_from_the_command_line() {
    let ring = i3(4);
    assert!(ring[0].ask(&["i3", "send", "bob", "too early"]).refused(1).contains("nobody listens to 'bob'"));

    let bobs = [1, 2].map(|node| Running::listen(&ring[node], &["bob"]));
    assert_eq!(ring[0].ask(&["i3", "send", "bob", "hello"]).ok(), "sent to 2\n");
    bobs.iter().for_each(|bob| assert_eq!(bob.line(), "hello"));

    let _upper = Running::listen(&ring[3], &["upper", "--filter", "tr a-z A-Z"]);
    let _twice = Running::listen(&ring[1], &["twice", "--filter", "sed 's/.*/&&/'"]);
    ring[0].ask(&["i3", "send", "upper,twice,bob", "ab"]).ok();
    bobs.iter().for_each(|bob| assert_eq!(bob.line(), "ABAB"));

    let clean = ring[2].ask(&["i3", "trigger", "insert", "clean", "--stack", "upper,bob"]).ok().trim().to_owned();
    assert!(clean.starts_with("clean#"), "{clean}");
    ring[3].ask(&["i3", "send", &clean, "through"]).ok();
    bobs.iter().for_each(|bob| assert_eq!(bob.line(), "THROUGH"));
    let listed = ring[2].ask(&["i3", "trigger", "list", "--json"]).json();
    assert!(
        listed["inserted"].as_array().is_some_and(|all| all.iter().any(|own| own["stack"][1].is_string())),
        "{listed}"
    );
    ring[2].ask(&["i3", "trigger", "remove", &clean]).ok();
    ring[3].ask(&["i3", "send", &clean, "gone"]).refused(1);
}

#[test]
fn a_name_with_a_secret_is_its_holders_and_the_nearest_of_several_gets_a_packet_alone() {
    let ring = i3(3);
    let key = ring.path("bank.key");
    let key = key.to_str().expect("plain names");
    let bank = run(["i3", "key", "bank", "--out", key]).ok().trim().to_owned();
    let holder = Running::listen(&ring[1], &["bank", "--secret-file", key]);
    ring[2].ask(&["i3", "listen", &bank]).refused(64);
    let imitator = Running::listen(&ring[2], &["bank"]);
    ring[0].ask(&["i3", "send", &bank, "a secret"]).ok();
    assert_eq!(holder.line(), "a secret");
    imitator.prints_nothing();

    let printers = [(1, "zrh-1"), (2, "par-7")];
    let printers = printers.map(|(node, suffix)| Running::listen(&ring[node], &["printer", "--suffix", suffix]));
    ring[0].ask(&["i3", "send", "printer", "--suffix", "zrh-9", "print"]).ok();
    assert_eq!(printers[0].line(), "print");
    printers[1].prints_nothing();
}

#[test]
fn unmodified_udp_programs_talk_through_a_gateway_both_ways_also_after_a_node_died() {
    let mut ring = i3(5);
    // Neither program knows anything of i3. The server answers what it gets, in capitals.
    let server = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    let at = server.local_addr().expect("a bound socket has an address").to_string();
    thread::spawn(move || {
        let mut buffer = [0; 65_535];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length].to_ascii_uppercase(), from);
        }
    });
    let _listening = Running::listen(&ring[1], &["echo", "--udp", &at]);
    let gateway = Running::start(&ring[0], &["i3", "gateway", "--peer", "echo=127.0.0.1:0"]);
    let line = gateway.line();
    let local = line.strip_prefix("echo  udp ").unwrap_or_else(|| panic!("{line}")).to_owned();

    let program = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    program.connect(&local).expect("an address");
    program.set_read_timeout(Some(Duration::from_millis(500))).expect("not zero");
    let mut buffer = [0; 65_535];
    let mut echo = |data: &[u8]| {
        let back = wait_until(PATIENCE, || {
            program.send(data).expect("it is sent");
            // An answer that comes late is to something else.
            while let Ok(length) = program.recv(&mut buffer) {
                if buffer[..length] == data.to_ascii_uppercase() {
                    return true;
                }
            }
            false
        });
        assert!(back, "{} bytes did not come back", data.len());
    };
    echo(b"hello");
    // A real file, in datagrams.
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/i3.rs")).expect("this file");
    file.chunks(1200).for_each(&mut echo);
    echo(&[b'x'; 60_000]);

    let cached = ring[0].ask(&["i3", "trigger", "list", "--json"]).json()["counts"]["cached"].as_u64();
    assert!(cached > Some(3), "{cached:?}");
    // Not those that the programs are at.
    ring.kill(2);
    echo(b"still there");
}
