//! Colours.

use plotters::style::RGBColor;

// The colours that Okabe and Ito ("Color Universal Design", 2008) chose so that everybody can tell them apart.
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const ORANGE: RGBColor = RGBColor(213, 94, 0);
pub(super) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(super) const PURPLE: RGBColor = RGBColor(204, 121, 167);

pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const GREY: RGBColor = RGBColor(110, 110, 110);
pub(super) const PALE: RGBColor = RGBColor(170, 170, 170);
pub(super) const GRID: RGBColor = RGBColor(226, 226, 226);

/// Points of the map "viridis" of matplotlib (van der Walt and Smith, 2015; public domain), at equal steps; its
/// yellow end is left out, which is hard to see on white.
const SCALE: [RGBColor; 6] = [
    RGBColor(68, 1, 84),
    RGBColor(65, 68, 135),
    RGBColor(42, 120, 142),
    RGBColor(34, 168, 132),
    RGBColor(122, 209, 81),
    RGBColor(189, 223, 38),
];

/// The colour of a share, 0 to 1: from dark violet over green to lime.
pub(super) fn scale(share: f64) -> RGBColor {
    let at = share.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let below = (at as usize).min(SCALE.len() - 2);
    let (RGBColor(r0, g0, b0), RGBColor(r1, g1, b1)) = (SCALE[below], SCALE[below + 1]);
    let mix = |from: u8, to: u8| {
        let part = at - below as f64;
        (f64::from(from) * (1.0 - part) + f64::from(to) * part).round() as u8
    };
    RGBColor(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_from_its_first_colour_to_its_last() {
        assert_eq!((scale(0.0), scale(1.0)), (SCALE[0], SCALE[5]));
        assert_eq!((scale(-1.0), scale(9.0)), (SCALE[0], SCALE[5]));
        assert_eq!(scale(0.2), SCALE[1]);
    }
}
