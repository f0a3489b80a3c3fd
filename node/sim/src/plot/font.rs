//! The font of the pictures, which comes with the program: no machine has to have one.

use plotters::style::{Color, FontStyle, IntoFont, RGBColor, TextStyle, register_font};

/// The family that pictures ask for. A viewer of an SVG file takes its own.
const FAMILY: &str = "sans-serif";

/// Makes DejaVu Sans known to the drawing library.
pub(super) fn register() -> Result<(), &'static str> {
    register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular()).map_err(|_| "the font is damaged")
}

/// Text of a size in units of the canvas.
pub(super) fn text(size: i32, colour: RGBColor) -> TextStyle<'static> {
    TextStyle { color: colour.to_backend_color(), ..TextStyle::from((FAMILY, size).into_font()) }
}
