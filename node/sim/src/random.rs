//! Randomness that gives the same bits on any machine.
//!
//! Samples come from integers, or from floating-point additions, multiplications and divisions in a fixed order, which
//! IEEE 754 defines to the last bit. Nothing here calls the platform's mathematical library.

use core::time::Duration;

/// A generator: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator; equal seeds give equal numbers.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, `end`); zero where `end` is. Lemire's multiplication without its rejection: the bias is below
    /// `end` / 2^64.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(end)) >> 64) as u64
    }

    /// Uniform in [0, 1), of 53 bits.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.fraction() < probability
    }

    /// About normal, with mean 0 and deviation 1, within ±3.47: the sum of four uniform numbers (Irwin and Hall).
    pub fn normal(&mut self) -> f64 {
        let number = self.number();
        let sum: u32 = [0, 16, 32, 48].into_iter().map(|shift| (number >> shift) as u32 & 0xffff).sum();
        // Four uniform numbers in [0, 65536) have the mean 131070 and the deviation 65536 / √3.
        (f64::from(sum) - 131_070.0) / 37_837.2
    }

    /// Lognormal with the median 1 and this deviation of its logarithm.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        exp(sigma * self.normal())
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        let uniform = 1.0 - self.fraction();
        Duration::from_micros((-ln(uniform) * mean.as_micros() as f64) as u64)
    }

    /// One of these, each as likely; none of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

/// e to the power of `x`, for -30 to 30, to a relative error of about 10^-9: the first terms of the series for x / 2^k,
/// squared k times.
pub fn exp(x: f64) -> f64 {
    const SQUARINGS: u32 = 10;
    let part = x.clamp(-30.0, 30.0) / f64::from(1 << SQUARINGS);
    let mut power = 1.0;
    for term in [6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        power = 1.0 + power * part / term;
    }
    for _ in 0..SQUARINGS {
        power *= power;
    }
    power
}

/// The natural logarithm of a positive normal number, to a relative error of about 10^-9; for others the lowest number.
pub fn ln(x: f64) -> f64 {
    if !x.is_normal() || x < 0.0 {
        return f64::MIN;
    }
    let bits = x.to_bits();
    let exponent = f64::from((bits >> 52) as i32 - 1023);
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    // ln m = 2 artanh((m - 1) / (m + 1)), with an argument of at most 1/3.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for odd in [17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * square + 1.0 / odd;
    }
    exponent * core::f64::consts::LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_function_and_the_logarithm_are_right() {
        for step in -300..300 {
            let x = f64::from(step) / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-8, "exp {x}");
            let y = x.exp();
            assert!((ln(y) - y.ln()).abs() < 1e-8, "ln {y}");
        }
    }

    #[test]
    fn samples_have_the_moments_that_they_promise() {
        let mut random = Random::new(7);
        let count = 200_000;
        let mean = |sample: &mut dyn FnMut() -> f64| (0..count).map(|_| sample()).sum::<f64>() / f64::from(count);
        assert!(mean(&mut || random.normal()).abs() < 0.01);
        assert!((mean(&mut || random.normal().powi(2)) - 1.0).abs() < 0.02);
        assert!((mean(&mut || random.fraction()) - 0.5).abs() < 0.005);
        let second = Duration::from_secs(1);
        assert!((mean(&mut || random.exponential(second).as_secs_f64()) - 1.0).abs() < 0.02);
        // The mean of a lognormal factor is exp(sigma² / 2).
        assert!((mean(&mut || random.lognormal(0.5)) / 0.125f64.exp() - 1.0).abs() < 0.02);
    }

    #[test]
    fn numbers_below_a_bound_fill_it_and_stay_below() {
        let mut random = Random::new(3);
        let mut seen = [0u32; 10];
        (0..10_000).for_each(|_| seen[random.below(10) as usize] += 1);
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert!(!random.chance(0.0) && random.chance(1.0));
    }
}
