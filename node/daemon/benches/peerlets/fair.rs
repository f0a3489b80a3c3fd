//! What an application gets done beside one that misbehaves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost_contract::Capability;
use prost_kbr::{AppId, Header};
use prost_node::compiler::Compiler;

use crate::component::{OK, Peerlet};
use crate::host::{Authority, Host, package};
use crate::misdeeds::{Misdeed, all};
use crate::{GET, NAME, PAYLOAD, PUT, table};

const ROUNDS: usize = 25;
/// How long one measurement takes, and how long things are given to become steady before it.
const SPAN: Duration = Duration::from_millis(200);
const LEAD: Duration = Duration::from_millis(200);
/// Messages whose outcome the one that behaves waits for.
const WINDOW: usize = 512;
/// Requests that the other one always has.
const REQUESTS: usize = 64;

/// The two that behave.
struct Victims {
    reader: Header,
    writer: Header,
}

pub(crate) fn run(only: &str) {
    // What is logged is written, as a node does.
    let log = tempfile::tempfile().expect("a file");
    let _ = tracing_subscriber::fmt().with_writer(std::sync::Mutex::new(log)).try_init();
    let host = Host::start(&Authority::new(), Compiler::here(), Vec::new());
    let storing = Peerlet::new().storage().module(NAME).init(&format!("{PUT} {OK}"));
    let victim = |name: &str, deliver: &str| {
        let component = storing.clone().deliver(&format!("{deliver} {OK}")).build();
        let (package, header) = package(name, component, &[Capability::Storage]);
        host.install(&package);
        header
    };
    let victims = Victims { reader: victim("reader", GET), writer: victim("writer", PUT) };
    println!(
        "\nfair: messages/s of one that reads a record, and of one that writes one, {WINDOW} at once, beside another; \
         {ROUNDS} rounds of {} ms; ratios to the same without it",
        SPAN.as_millis()
    );
    for misdeed in all().iter().filter(|misdeed| misdeed.name.contains(only)) {
        beside(&host, &victims, misdeed);
    }
}

/// Alternately without and beside it, and which comes first alternates too.
fn beside(host: &Host, victims: &Victims, misdeed: &Misdeed) {
    let (package, _) = package("attacker", misdeed.component.clone(), &misdeed.capabilities);
    let [mut quiet, mut attacked]: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 0..=ROUNDS {
        let mut measure = |attacks: bool| {
            let rates = if attacks {
                let app = host.install(&package);
                attacked_by(host, victims, &app)
            } else {
                rates(host, victims)
            };
            let to = if attacks { &mut attacked } else { &mut quiet };
            // The first round only warms up.
            for (to, rate) in to.iter_mut().zip(rates).filter(|_| round > 0) {
                to.push(rate);
            }
        };
        measure(round % 2 == 0);
        measure(round % 2 == 1);
    }
    table::line(&format!("{}: reads", misdeed.name), "/s", &attacked[0], &quiet[0]);
    table::line(&format!("{}: writes", misdeed.name), "/s", &attacked[1], &quiet[1]);
}

fn attacked_by(host: &Host, victims: &Victims, app: &AppId) -> [f64; 2] {
    let goes_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| host.repeat(REQUESTS, |host| host.call(app), |_| goes_on.load(Ordering::Relaxed), drop));
        std::thread::sleep(LEAD);
        let rates = rates(host, victims);
        goes_on.store(false, Ordering::Relaxed);
        // What still waits would take its time.
        host.remove(app);
        rates
    })
}

fn rates(host: &Host, victims: &Victims) -> [f64; 2] {
    let payload = Bytes::from(vec![7; PAYLOAD]);
    [&victims.reader, &victims.writer].map(|header| {
        let begun = Instant::now();
        let begin = |host: &Host| host.send(header, host.peer.id, &payload);
        let mut count = 0_u64;
        host.repeat(WINDOW, begin, |_| begun.elapsed() < SPAN, |outcome| count += u64::from(outcome.result.is_ok()));
        count as f64 / begun.elapsed().as_secs_f64()
    })
}
