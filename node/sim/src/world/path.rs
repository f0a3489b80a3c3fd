//! How long it takes from one node to another, and what is lost on the way.

use prost_kbr::Time;

use super::{Index, World};
use crate::Network;
use crate::random::Random;

/// Times in a row that a packet is lost before it gets through all the same, unless all are lost: a bound for the
/// doubling of QUIC's timeout.
const MAX_LOSSES: u32 = 10;
/// Shortest time before something is sent again, in microseconds: quinn's granularity and the acknowledgement's delay.
const MIN_RESEND_US: u64 = 25_000;
/// Timeout of a handshake whose round-trip time nobody knows yet, in microseconds: thrice the initial 333 ms (RFC 9002,
/// section 6.2.2).
pub(super) const FIRST_RESEND_US: u64 = 1_000_000;

/// Draws how many times a packet is lost before it gets through; none where it never does. `burst` is the state of the
/// path in Gilbert and Elliott's model.
pub(super) fn losses(network: &Network, random: &mut Random, burst: &mut bool) -> Option<u32> {
    if network.loss <= 0.0 {
        *burst = false;
        return Some(0);
    }
    if network.loss >= 1.0 {
        return None;
    }
    let mut lost = 0;
    while lost < MAX_LOSSES && is_lost(network, random, burst) {
        lost += 1;
    }
    Some(lost)
}

/// Whether the next packet is lost. A burst ends with the chance 1 / its mean length, and begins so often that the share
/// of lost packets is as said.
fn is_lost(network: &Network, random: &mut Random, burst: &mut bool) -> bool {
    if network.loss_burst <= 1.0 {
        return random.chance(network.loss);
    }
    let ends = 1.0 / network.loss_burst;
    *burst = if *burst { !random.chance(ends) } else { random.chance(ends * network.loss / (1.0 - network.loss)) };
    *burst
}

/// Longest that losses hold a packet up, in microseconds. On a connection that lives, packets sent later are acknowledged,
/// and what they show to be lost is sent again at once, however far the timeout has backed off (RFC 9002, section 6.1).
const MAX_HELD_US: u64 = 5_000_000;

/// How many times longer than others the frames of the tail take, beyond their own time.
const TAIL: u64 = 99;

/// How long so many losses hold a packet up, in microseconds, if the first timeout is this long: it doubles.
pub(super) fn held_up(lost: u32, timeout_us: u64) -> u64 {
    timeout_us.saturating_mul((1 << lost.min(MAX_LOSSES)) - 1).min(MAX_HELD_US)
}

/// QUIC's timeout for this round-trip time.
pub(super) fn resend_us(rtt_us: u64) -> u64 {
    (rtt_us + rtt_us / 2).max(MIN_RESEND_US)
}

/// Microseconds one way, as drawn for one packet.
pub(super) fn one_way_us(network: &Network, random: &mut Random, rtt_us: u64) -> u64 {
    let mut micros = rtt_us / 2;
    if network.jitter > 0.0 {
        micros = (micros as f64 * random.lognormal(network.jitter)) as u64;
    }
    if !network.extra_delay.is_zero() {
        micros += random.exponential(network.extra_delay).as_micros() as u64;
    }
    if network.tail > 0.0 && random.chance(network.tail) {
        micros += (micros * TAIL).min(MAX_HELD_US);
    }
    micros
}

impl World {
    /// Microseconds there and back between two nodes.
    pub(super) fn rtt_us(&self, a: Index, b: Index) -> u64 {
        u64::try_from(self.config.latency.round_trip(a, b).as_micros()).unwrap_or(u64::MAX / 4)
    }

    /// Microseconds one way, as drawn for one packet.
    pub(super) fn one_way_us(&mut self, rtt_us: u64) -> u64 {
        one_way_us(&self.network, &mut self.random, rtt_us)
    }

    /// Microseconds one way for a flight of a handshake; none where it never arrives.
    pub(super) fn flight_us(&mut self, rtt_us: u64, timeout_us: u64) -> Option<u64> {
        let lost = losses(&self.network, &mut self.random, &mut false)?;
        Some(self.one_way_us(rtt_us) + held_up(lost, timeout_us))
    }

    /// The time this many microseconds from now.
    pub(super) fn after_us(&self, micros: u64) -> Time {
        Time::from_micros(self.now.as_micros().saturating_add(micros))
    }

    /// Whether packets from one to the other reach a process.
    pub(super) fn reaches(&self, from: Index, to: Index) -> bool {
        self.hosts.get(to as usize).is_some_and(|host| host.is_alive()) && self.network.passes(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_as_many_as_said_and_come_in_bursts_of_the_length_said() {
        for (loss, length) in [(0.05, 0.0), (0.05, 8.0), (0.2, 3.0)] {
            let network = Network { loss, loss_burst: length, ..Network::default() };
            let (mut random, mut burst, mut before) = (Random::new(5), false, false);
            let (mut lost, mut bursts) = (0.0, 0.0);
            for _ in 0..400_000 {
                let now = is_lost(&network, &mut random, &mut burst);
                lost += f64::from(u8::from(now));
                bursts += f64::from(u8::from(now && !before));
                before = now;
            }
            assert!((lost / 400_000.0 / loss - 1.0).abs() < 0.1, "{loss} {length}: {lost}");
            if length > 1.0 {
                assert!((lost / bursts / length - 1.0).abs() < 0.1, "{loss} {length}: {lost} in {bursts}");
            }
        }
    }

    #[test]
    fn nothing_is_lost_on_a_network_without_loss_and_everything_where_all_is() {
        let mut random = Random::new(1);
        assert_eq!(losses(&Network::default(), &mut random, &mut true), Some(0));
        let none = Network { loss: 1.0, ..Network::default() };
        assert_eq!(losses(&none, &mut random, &mut false), None);
    }

    #[test]
    fn a_frame_of_the_tail_takes_a_hundred_times_as_long_up_to_what_holds_a_packet_up() {
        let network = Network { tail: 0.25, ..Network::default() };
        let mut random = Random::new(1);
        let ways: Vec<u64> = (0..4_000).map(|_| one_way_us(&network, &mut random, 20_000)).collect();
        let late = ways.iter().filter(|way| **way == 1_000_000).count();
        assert!((900..1_100).contains(&late) && ways.iter().all(|way| [10_000, 1_000_000].contains(way)), "{late}");
        let all = Network { tail: 1.0, ..network };
        assert_eq!(one_way_us(&all, &mut random, 400_000), 200_000 + MAX_HELD_US);
    }

    #[test]
    fn the_timeout_doubles_with_each_loss() {
        assert_eq!([0, 1, 2, 3].map(|lost| held_up(lost, resend_us(100_000))), [0, 150_000, 450_000, 1_050_000]);
        assert_eq!(resend_us(1_000), 25_000);
    }
}
