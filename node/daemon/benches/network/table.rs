//! Samples, their medians, and the table of ratios.

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const FORWARD: &str = "forwarded by a node";
pub(crate) const RELAY_STREAMS: &str = "quinn relay, a stream each";
pub(crate) const RELAY_FRAMES: &str = "quinn relay, frames in batches";
/// Requests one by one, both threads on one core: to a node, over quinn with a stream each, and framed.
pub(crate) const TOGETHER: [&str; 3] = ["node, one core", "quinn, a stream each, one core", "quinn, framed, one core"];
/// The same, on two cores.
pub(crate) const APART: [&str; 3] = ["node, two cores", "quinn, a stream each, two cores", "quinn, framed, two cores"];
/// The same, 64 in flight.
pub(crate) const MANY: [&str; 3] =
    ["node, 64 in flight", "quinn, a stream each, 64 in flight", "quinn, framed, 64 in flight"];

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Messages or requests.
    pub(crate) count: u64,
    /// From the first sent to the last ended.
    pub(crate) took: Duration,
    /// Processor time of the thread in the middle, or of the one that answers.
    pub(crate) cpu: Duration,
}

impl Sample {
    fn micros(&self) -> f64 {
        self.took.as_secs_f64() * 1e6 / self.count as f64
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }
}

/// What was measured so far, by name.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<&'static str, Vec<Sample>>);

impl Samples {
    pub(crate) fn add(&mut self, name: &'static str, sample: Sample) {
        self.0.entry(name).or_default().push(sample);
    }

    pub(crate) fn print(&self) {
        println!("{:<36}{:>14}{:>14}{:>14}", "one way, through the middle", "CPU us each", "per CPU s", "per s");
        for name in [FORWARD, RELAY_STREAMS, RELAY_FRAMES] {
            let Some((cpu, wall)) = self.medians(name) else { continue };
            println!("{name:<36}{cpu:>14.2}{:>14.0}{:>14.0}", 1e6 / cpu, 1e6 / wall);
        }
        self.ratio("  CPU, node / a stream each", FORWARD, RELAY_STREAMS, Sample::cpu_micros);
        self.ratio("  CPU, node / frames in batches", FORWARD, RELAY_FRAMES, Sample::cpu_micros);
        println!("\n{:<36}{:>14}{:>14}{:>14}", "request and response, one hop", "us each", "CPU us each", "per s");
        for names in [TOGETHER, APART, MANY] {
            for name in names {
                let Some((cpu, wall)) = self.medians(name) else { continue };
                println!("{name:<36}{wall:>14.2}{cpu:>14.2}{:>14.0}", 1e6 / wall);
            }
            self.ratio("  time, node / a stream each", names[0], names[1], Sample::micros);
            self.ratio("  time, node / framed", names[0], names[2], Sample::micros);
        }
    }

    /// The median of the ratios of each round, and between which they lie.
    fn ratio(&self, what: &str, name: &str, reference: &str, figure: fn(&Sample) -> f64) {
        let (Some(samples), Some(references)) = (self.0.get(name), self.0.get(reference)) else { return };
        let pairs = samples.iter().zip(references);
        let ratios = sorted(pairs.map(|(sample, reference)| figure(sample) / figure(reference)));
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!("{what:<36}{:>14.2} ({least:.2} to {most:.2})", ratios[ratios.len() / 2]);
    }

    /// Microseconds each: of processor time, and by the clock.
    fn medians(&self, name: &str) -> Option<(f64, f64)> {
        let samples = self.0.get(name)?;
        let median = |figure: fn(&Sample) -> f64| sorted(samples.iter().map(figure))[samples.len() / 2];
        Some((median(Sample::cpu_micros), median(Sample::micros)))
    }
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}
