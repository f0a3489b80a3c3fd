//! scratch
use prost_kbr::{NodeId, Time};
use prost_sim::{Act, Latency, Network, World, WorldConfig};
use std::sync::Arc;
use std::time::Duration;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: u32 = args[1].parse().unwrap();
    let seed: u64 = args[2].parse().unwrap();
    let ways: u8 = args[3].parse().unwrap();
    let cut: u64 = args[4].parse().unwrap();
    let latency: Arc<dyn Latency> = prost_sim::latency::parse("planetlab", seed).unwrap();
    let mut w = World::new(WorldConfig {
        seed,
        routing: Default::default(),
        latency,
        network: Network::default(),
        remember: 400,
    });
    let mut now = w.now();
    let mut nodes = vec![];
    for i in 0..n {
        let known: Vec<u32> = if i == 0 { vec![] } else { vec![(i * 7919) % i] };
        let x = w.spawn();
        w.act(Act::Start { node: x, known });
        nodes.push(x);
        now = now + Duration::from_millis(if i < 40 { 300 } else { 60 });
        while w.step(now) {}
    }
    now = now + Duration::from_secs(180);
    while w.step(now) {}
    let score = |w: &World| -> (usize, usize, usize, usize, usize) {
        let m: Vec<NodeId> = w.members().keys().copied().collect();
        let k = m.len();
        let mut s = 0;
        let mut p = 0;
        let mut ls = 0;
        let mut lp = 0;
        for (i, id) in m.iter().enumerate() {
            let node = w.node(w.index(*id).unwrap()).unwrap();
            let v = node.view();
            let want: Vec<NodeId> = (1..=16.min(k - 1)).map(|d| m[(i + d) % k]).collect();
            let wantp: Vec<NodeId> = (1..=16.min(k - 1)).map(|d| m[(i + k - d) % k]).collect();
            let ss: Vec<NodeId> = v.successors.iter().map(|x| x.id).collect();
            let pp: Vec<NodeId> = v.predecessors.iter().map(|x| x.id).collect();
            if ss.first() == want.first() {
                s += 1
            }
            if pp.first() == wantp.first() {
                p += 1
            }
            if ss == want {
                ls += 1
            }
            if pp == wantp {
                lp += 1
            }
        }
        (k, s, p, ls, lp)
    };
    println!("grown {:?} at {:?}", score(&w), w.now());
    if std::env::var("DBG").is_ok() {
        for _ in 0..20 {
            println!("conns0 {} members {}", w.connections(0), w.members().len());
            now = now + Duration::from_secs(5);
            while w.step(now) {}
        }
        for l in w.recent(0) {
            println!("Z {}", &l[..l.len().min(250)])
        }
        let x = nodes.iter().find(|x| !w.node(**x).unwrap().view().joined).copied();
        println!("outsider {x:?}");
        if let Some(x) = x {
            for l in w.recent(x) {
                println!("{}", &l[..l.len().min(200)])
            }
        }
        let m: Vec<NodeId> = w.members().keys().copied().collect();
        let k = m.len();
        for (i, id) in m.iter().enumerate() {
            let node = w.node(w.index(*id).unwrap()).unwrap();
            let v = node.view();
            let want: Vec<NodeId> = (1..=16.min(k - 1)).map(|d| m[(i + d) % k]).collect();
            let ss: Vec<NodeId> = v.successors.iter().map(|x| x.id).collect();
            if ss != want {
                let node0 = w.index(*id).unwrap();
                println!("bad {} {:?}\n  has {:?}\n want {:?} conns {}", node0, id, ss, want, w.connections(node0));
                for l in w.recent(node0).iter().rev().take(12) {
                    println!("     {}", &l[..l.len().min(160)])
                }
            }
        }
        return;
    }
    let sides: Vec<u8> = (0..n).map(|i| (i % u32::from(ways)) as u8).collect();
    w.act(Act::Network(Box::new(Network { sides, ..Network::default() })));
    now = now + Duration::from_secs(cut);
    while w.step(now) {}
    println!("cut {:?}", score(&w));
    w.act(Act::Network(Box::new(Network::default())));
    let t0 = now;
    for _ in 0..600 {
        now = now + Duration::from_millis(1000);
        while w.step(now) {}
        let s = score(&w);
        let st: u64 = nodes.iter().map(|x| w.node(*x).unwrap().ring().stats().stabilize_rounds).sum();
        println!("{:>3} s {:?} rounds {st}", now.since(t0).as_secs(), s);
        if s.1 == s.0 && s.2 == s.0 && s.3 == s.0 && s.4 == s.0 {
            break;
        }
    }
    let _ = Time::ZERO;
}
