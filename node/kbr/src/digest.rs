//! A number for lists of neighbours, so that a question whose answer has not changed costs few bytes.

use crate::message::Peer;

/// FNV-1a over ids and addresses. Who fools it fools only those who ask him, whom he could tell anything.
pub(crate) fn digest(predecessors: &[Peer], successors: &[Peer]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |number: u64| sum = (sum ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    for (side, list) in [(1, predecessors), (2, successors)] {
        for peer in list {
            add(side);
            for chunk in peer.id.as_bytes().chunks(8) {
                add(chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
            }
            match peer.addr.ip() {
                core::net::IpAddr::V4(ip) => add(u64::from(ip.to_bits())),
                core::net::IpAddr::V6(ip) => {
                    add((ip.to_bits() >> 64) as u64);
                    add(ip.to_bits() as u64);
                }
            }
            add(u64::from(peer.addr.port()));
        }
    }
    // Zero says that nothing is known.
    sum.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    #[test]
    fn whatever_differs_has_another_number() {
        let peer = |name: &[u8], port: u16| Peer { id: NodeId::hash(name), addr: ([10, 0, 0, 1], port).into() };
        let (a, b) = (peer(b"a", 1), peer(b"b", 1));
        let lists: [(&[Peer], &[Peer]); 7] =
            [(&[], &[]), (&[a], &[]), (&[], &[a]), (&[a], &[b]), (&[b], &[a]), (&[a, b], &[]), (&[peer(b"a", 2)], &[])];
        let numbers: std::collections::BTreeSet<u64> =
            lists.iter().map(|(before, after)| digest(before, after)).collect();
        assert_eq!(numbers.len(), lists.len());
        assert_eq!(digest(&[a], &[b]), digest(&[a], &[b]));
    }
}
