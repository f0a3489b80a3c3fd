//! scratch
use prost_kbr::{Message, Time};
use prost_sim::{Act, Network, World, WorldConfig};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: u32 = args[1].parse().unwrap();
    let seed: u64 = args[2].parse().unwrap();
    let median: f64 = args[3].parse().unwrap();
    let conns: usize = args.get(4).map_or(64, |x| x.parse().unwrap());
    let routing = prost_kbr::Config { connections: conns, ..Default::default() };
    let mut w = World::new(WorldConfig {
        seed,
        routing,
        latency: prost_sim::latency::parse("planetlab", seed).unwrap(),
        network: Network::default(),
        remember: 0,
    });
    let count: Arc<Mutex<BTreeMap<String, (u64, u64)>>> = Arc::default();
    let c2 = count.clone();
    w.observe(Box::new(move |_, _, _, m: &Message| {
        let s = format!("{m:?}");
        let name: String = s.chars().take_while(|c| c.is_alphanumeric()).collect();
        let name = match m {
            Message::GetNeighbours { part, .. } => format!("Get{part:?}"),
            Message::Neighbours { predecessors, successors, .. } => format!(
                "Neigh{}{}",
                if predecessors.len() > 1 { "P" } else { "" },
                if successors.len() > 1 { "S" } else { "" }
            ),
            Message::Route { routed, .. } => format!("Route{:?}", routed.envelope.purpose).chars().take(11).collect(),
            _ => name,
        };
        let mut b = bytes::BytesMut::new();
        prost_kbr::wire::encode(m, &mut b);
        let mut c = c2.lock().unwrap();
        let e = c.entry(name).or_default();
        e.0 += 1;
        e.1 += b.len() as u64;
    }));
    let mut now = w.now();
    let mut live = vec![];
    let mut r: u64 = seed.wrapping_mul(0x9E3779B97F4A7C15) | 1;
    let mut rnd = move || {
        r ^= r << 13;
        r ^= r >> 7;
        r ^= r << 17;
        (r >> 11) as f64 / (1u64 << 53) as f64
    };
    for i in 0..n {
        let known = if i == 0 { vec![] } else { vec![(rnd() * f64::from(i.min(i / 2 + 1))) as u32] };
        let x = w.spawn();
        w.act(Act::Start { node: x, known });
        live.push(x);
        now = now + Duration::from_millis(if i < 40 { 300 } else { 60 });
        while w.step(now) {}
    }
    now = now + Duration::from_secs(120);
    while w.step(now) {}
    let mut heap: BinaryHeap<Reverse<(Time, u32)>> = BinaryHeap::new();
    let life = |u: f64| Duration::from_secs_f64(median / 0.6931 * -(1.0 - u).ln());
    if median > 0.0 {
        for x in &live {
            heap.push(Reverse((now + life(rnd()), *x)));
        }
    }
    let warm = now + Duration::from_secs(60);
    let end = warm + Duration::from_secs(120);
    let mut cleared = false;
    let mut t0 = BTreeMap::new();
    while now < end {
        let next = heap.peek().map_or(end, |Reverse((t, _))| *t).min(end);
        let next = if cleared { next } else { next.min(warm) };
        now = next;
        while w.step(now) {}
        if !cleared && now >= warm {
            cleared = true;
            count.lock().unwrap().clear();
            for x in 0..w.count() {
                t0.insert(x, w.traffic(x));
            }
        }
        while heap.peek().is_some_and(|Reverse((t, _))| *t <= now) {
            let Reverse((_, x)) = heap.pop().unwrap();
            w.act(Act::Crash { node: x });
            live.retain(|y| *y != x);
            let known = (0..3).map(|_| live[(rnd() * live.len() as f64) as usize]).collect();
            let y = w.spawn();
            w.act(Act::Start { node: y, known });
            live.push(y);
            heap.push(Reverse((now + life(rnd()), y)));
        }
    }
    let (mut m, mut h, mut g) = (0, 0, 0);
    for x in 0..w.count() {
        let t = w.traffic(x);
        let z = t0.get(&x).copied().unwrap_or_default();
        m += t.maintenance - z.maintenance;
        h += t.handshakes - z.handshakes;
        g += t.messages - z.messages;
    }
    let per = f64::from(n) * 120.0;
    println!(
        "maintenance {:.0} handshakes {:.0} messages {:.0} B/s a node",
        m as f64 / per,
        h as f64 / per,
        g as f64 / per
    );
    let mut rows: Vec<_> = count.lock().unwrap().clone().into_iter().collect();
    rows.sort_by_key(|(_, (_, b))| Reverse(*b));
    for (k, (c, b)) in rows.iter().take(22) {
        println!("{k:<22} {:>8.3}/s {:>8.1} B/s", *c as f64 / per, *b as f64 / per);
    }
}
