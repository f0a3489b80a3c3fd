//! `prost peerlet top`: what the applications on a node use, of what is theirs.

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use clap::Args;
use prost_manager::Usage;
use prost_package::Resources;
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output;
use super::super::target::Target;
use crate::admin::ask::{PeerletStatus, Status};

/// How often a terminal is refreshed.
const EVERY: Duration = Duration::from_secs(1);
/// Puts a terminal's cursor to the top left, and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";
/// Digits of a provider's key that tell applications of one name apart.
const KEY_DIGITS: usize = 8;

const HEAD: [&str; 14] = [
    "peerlet",
    "version",
    "state",
    "fuel/s",
    "memory used/reserved",
    "stored/granted",
    "messages",
    "bytes out",
    "timers",
    "queue",
    "log lines",
    "traps",
    "refused",
    "over budget",
];

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct TopArgs {
    #[command(flatten)]
    target: Target,
    /// Once, and not each second until it is interrupted, as on a terminal.
    #[arg(long)]
    once: bool,
    /// As JSON, once.
    #[arg(long)]
    json: bool,
}

/// What programs read.
#[derive(Serialize)]
struct Top<'a> {
    peerlets: &'a [PeerletStatus],
    /// Of all of them together.
    usage: &'a Usage,
    reserved: Resources,
    /// What the node gives them together.
    totals: Resources,
}

/// Shows it.
pub(super) fn run(args: &TopArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    if args.json {
        let status = client.status()?;
        let Status { peerlets, usage, reserved, totals, .. } = &status;
        return output::json(&Top { peerlets, usage, reserved: *reserved, totals: *totals });
    }
    if args.once || !io::stdout().is_terminal() {
        return output::bytes(table(&client.status()?).as_bytes());
    }
    loop {
        let text = format!("{CLEAR}{}", table(&client.status()?));
        output::bytes(text.as_bytes())?;
        thread::sleep(EVERY);
    }
}

/// A row for each application, one for all together, and one for what the node has.
fn table(status: &Status) -> String {
    let mut peerlets: Vec<&PeerletStatus> = status.peerlets.iter().collect();
    peerlets.sort_by(|one, other| other.usage.fuel_rate.cmp(&one.usage.fuel_rate).then(one.app.cmp(&other.app)));
    let mut rows: Vec<Vec<String>> = peerlets.into_iter().map(of_peerlet).collect();
    let places = format!("{} of {} places", status.reserved.applications, status.totals.applications);
    rows.push(row(["total".to_owned(), String::new(), places], &status.usage, &status.reserved));
    let totals = &status.totals;
    rows.push(vec![
        "node".to_owned(),
        String::new(),
        String::new(),
        count(totals.fuel_per_second),
        output::size(totals.memory_bytes),
        output::size(totals.storage_bytes),
    ]);
    output::rows_of(&HEAD, &rows)
}

fn of_peerlet(peerlet: &PeerletStatus) -> Vec<String> {
    let key = peerlet.app.split_once('@').map(|(_, key)| key.chars().take(KEY_DIGITS).collect::<String>());
    let name = format!("{}@{}", peerlet.name, key.unwrap_or_default());
    let version = peerlet.version.clone().unwrap_or_else(|| "-".to_owned());
    row([name, version, peerlet.state.clone()], &peerlet.usage, &peerlet.reserved)
}

fn row(first: [String; 3], usage: &Usage, reserved: &Resources) -> Vec<String> {
    let of = |used, most| format!("{} / {}", output::size(used), output::size(most));
    let lines = match usage.dropped_log_lines {
        0 => usage.log_lines.to_string(),
        dropped => format!("{} (-{dropped})", usage.log_lines),
    };
    let mut row = Vec::from(first);
    row.extend([
        count(usage.fuel_rate),
        of(usage.memory_bytes, reserved.memory_bytes),
        of(usage.storage_bytes, reserved.storage_bytes),
        usage.messages.to_string(),
        output::size(usage.bytes_sent),
        usage.timers.to_string(),
        usage.queued.to_string(),
        lines,
        usage.traps.to_string(),
        usage.refusals.to_string(),
        usage.over_budget.to_string(),
    ]);
    row
}

/// A number of many digits, shortened.
fn count(number: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match UNITS.into_iter().find(|(unit, _)| number >= 10 * unit) {
        Some((unit, name)) => format!("{:.1} {name}", number as f64 / unit as f64),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use prost_kbr::Id;

    use super::*;

    fn status() -> Status {
        let share = Resources { memory_bytes: 64 << 20, storage_bytes: 1 << 30, fuel_per_second: 5, applications: 1 };
        let peerlet = |name: &str, fuel_rate| PeerletStatus {
            app: format!("{name}@{}", "0123456789abcdef".repeat(4)),
            name: name.to_owned(),
            version: Some("1.2.3".to_owned()),
            state: "running".to_owned(),
            reserved: share,
            usage: Usage {
                fuel_rate,
                memory_bytes: 1 << 20,
                storage_bytes: 2048,
                messages: 7,
                bytes_sent: 900,
                timers: 3,
                queued: 4,
                log_lines: 5,
                dropped_log_lines: 6,
                traps: 8,
                refusals: 9,
                over_budget: 10,
                ..Usage::default()
            },
        };
        let peerlets = vec![peerlet("idle", 1), peerlet("busy", 12_500_000)];
        let mut usage = Usage::default();
        peerlets.iter().for_each(|peerlet| usage.add(&peerlet.usage));
        Status {
            id: Id::from_bytes([0; 20]),
            version: String::new(),
            addr: ([127, 0, 0, 1], 1).into(),
            ring: String::new(),
            state: String::new(),
            uptime_s: 0.0,
            predecessors: Vec::new(),
            successors: Vec::new(),
            fingers: Vec::new(),
            connections: 0,
            peerlets,
            usage,
            reserved: share.plus(&share).expect("small numbers"),
            totals: Resources::default_totals(),
            content: Default::default(),
            installs: Vec::new(),
            refusals: Default::default(),
            records: Default::default(),
        }
    }

    #[test]
    fn the_busiest_comes_first_and_the_sums_last() {
        let text = table(&status());
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[0], HEAD);
        assert_eq!(
            lines[1],
            [
                "busy@01234567",
                "1.2.3",
                "running",
                "12.5 M",
                "1.0 MiB / 64.0 MiB",
                "2.0 KiB / 1.0 GiB",
                "7",
                "900 B",
                "3",
                "4",
                "5 (-6)",
                "8",
                "9",
                "10"
            ]
        );
        assert_eq!(lines[2][0], "idle@01234567");
        assert_eq!(
            lines[3],
            [
                "total",
                "2 of 64 places",
                "12.5 M",
                "2.0 MiB / 128.0 MiB",
                "4.0 KiB / 2.0 GiB",
                "14",
                "1.8 KiB",
                "6",
                "8",
                "10 (-12)",
                "16",
                "18",
                "20"
            ]
        );
        assert_eq!(lines[4], ["node", "128.0 G", "4.0 GiB", "16.0 GiB"]);
        assert_eq!(lines.len(), 5);
    }
}
