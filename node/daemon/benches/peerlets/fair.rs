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

const ROUNDS: usize = 5;
/// Measurements one after the other in a round, with or without the other one.
const IN_A_ROUND: usize = 5;
/// How long one measurement takes.
const SPAN: Duration = Duration::from_millis(200);
/// How long the other one has to use up what a budget lets it do at once.
const LEAD: Duration = Duration::from_secs(2);
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
         {ROUNDS} rounds of {IN_A_ROUND} times {} ms; ratios to the same without it",
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
            let several = if attacks {
                let app = host.install(&package);
                attacked_by(host, victims, &app)
            } else {
                several(host, victims)
            };
            let to = if attacks { &mut attacked } else { &mut quiet };
            // The first round only warms up.
            for rates in several.into_iter().filter(|_| round > 0) {
                to.iter_mut().zip(rates).for_each(|(to, rate)| to.push(rate));
            }
        };
        measure(round % 2 == 0);
        measure(round % 2 == 1);
    }
    for (what, attacked, quiet) in [("reads", &attacked[0], &quiet[0]), ("writes", &attacked[1], &quiet[1])] {
        table::line(&format!("{}: {what}", misdeed.name), "/s", attacked, quiet);
        let in_all = |rates: &[f64]| rates.iter().sum::<f64>();
        println!("{:>72.2} in all rounds together", in_all(attacked) / in_all(quiet));
    }
}

fn several(host: &Host, victims: &Victims) -> Vec<[f64; 2]> {
    (0..IN_A_ROUND).map(|_| rates(host, victims)).collect()
}

fn attacked_by(host: &Host, victims: &Victims, app: &AppId) -> Vec<[f64; 2]> {
    let goes_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| host.repeat(REQUESTS, |host| host.call(app), |_| goes_on.load(Ordering::Relaxed), drop));
        std::thread::sleep(LEAD);
        let rates = several(host, victims);
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
