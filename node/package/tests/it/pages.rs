//! The pages for authors and operators say what the code does.

use prost_contract::Limits;
use prost_package::Budgets;

#[test]
fn authors_and_operators_are_told_the_numbers_that_hold_if_nobody_says() {
    let authors = include_str!("../../../../docs/peerlets.md");
    let operators = include_str!("../../../../docs/policy.md");
    let (budgets, limits) = (Budgets::default(), Limits::default());
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let kib = |bytes: u32| format!("{} KiB", bytes >> 10);
    let (fuel, rate) = (thousands(budgets.fuel_per_event), thousands(budgets.fuel_per_second));
    let (queue, messages) = (thousands(budgets.queue.into()), thousands(budgets.messages_per_second));
    let (memory, storage, bytes) =
        (mib(budgets.memory_bytes), mib(budgets.storage_bytes), mib(budgets.bytes_per_second));
    let written = mib(budgets.written_bytes_per_second);
    let million = |number: u64| format!("{} million", thousands(number / 1_000_000));
    for row in [
        format!("| fuel of an event | {} |", million(budgets.fuel_per_event)),
        format!("| fuel a second, over ten | {} |", million(budgets.fuel_per_second)),
        format!("| memory and tables | {memory} |"),
        format!("| storage on a node, copies for others included | {storage} |"),
        format!("| messages, and their bytes, a second | {messages}; {bytes} |"),
        format!("| bytes written into records a second, over two | {written} |"),
        format!("| timers at once | {} |", budgets.timers),
        format!("| events that wait | {queue} |"),
        format!("| wall clock of an event | {} ms |", limits.wall.as_millis()),
        format!("| writes and effects of an event | {}, ", limits.effects),
        format!("| a record | {} under a name of {} bytes |", kib(limits.value_bytes), limits.name_bytes),
        format!("| a message | {} |", kib(limits.payload_bytes)),
    ] {
        assert!(authors.contains(&row), "{row}");
    }
    let timers = budgets.timers.to_string();
    for (name, number) in [
        ("memory_bytes", memory),
        ("storage_bytes", storage),
        ("fuel_per_event", fuel),
        ("fuel_per_second", rate),
        ("messages_per_second", messages),
        ("bytes_per_second", bytes),
        ("written_bytes_per_second", written),
        ("timers", timers),
        ("queue", queue),
    ] {
        let of_name = |line: &&str| line.starts_with(&format!("| `{name}` |"));
        let row = operators.lines().find(of_name).unwrap_or_else(|| panic!("no row for {name}"));
        assert!(row.ends_with(&format!("| {number} |")), "{row}");
    }
}

/// As the pages write it: 5,000.
fn thousands(number: u64) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", thousands(number / 1_000), number % 1_000) }
}
