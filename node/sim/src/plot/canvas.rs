//! From a drawing to its two files.

use std::fs;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::prelude::{BitMapBackend, DrawingBackend, SVGBackend};

use super::{PlotError, font};

/// Width and height of a picture as it is shown, in pixels.
const SHOWN: (u32, u32) = (1200, 800);
/// Units of the canvas for each pixel: edges become smooth when the drawing is made smaller.
const FINE: u32 = 2;
/// Width and height of the canvas.
const CANVAS: (u32, u32) = (SHOWN.0 * FINE, SHOWN.1 * FINE);

/// The part of a canvas that is drawn on.
pub(super) type Area<B> = DrawingArea<B, Shift>;

/// Why a drawing failed.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for Fault {
    fn from(error: DrawingAreaErrorKind<E>) -> Fault {
        Fault(error.to_string())
    }
}

/// Something to be drawn on a canvas of 2400 by 1600 units.
pub(super) trait Picture {
    /// The name of its files, without an ending.
    const NAME: &'static str;

    /// Draws it.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Fault>;
}

/// Writes a picture as SVG and as PNG; returns the files.
pub(super) fn save<P: Picture>(dir: &Path, picture: &P) -> Result<[PathBuf; 2], PlotError> {
    let failed = |cause: String| PlotError::Draw { name: P::NAME, cause };
    font::register().map_err(|cause| failed(cause.to_owned()))?;
    fs::create_dir_all(dir).map_err(|error| PlotError::Write { path: dir.to_owned(), error })?;
    let [svg, png] = ["svg", "png"].map(|ending| dir.join(format!("{}.{ending}", P::NAME)));
    let text = svg_text(picture).map_err(|Fault(cause)| failed(cause))?;
    fs::write(&svg, text).map_err(|error| PlotError::Write { path: svg.clone(), error })?;
    let pixels = pixels(picture).map_err(|Fault(cause)| failed(cause))?;
    write_png(&png, &pixels).map_err(failed)?;
    Ok([svg, png])
}

fn svg_text<P: Picture>(picture: &P) -> Result<String, Fault> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, CANVAS).into_drawing_area();
        picture.draw(&area)?;
        area.present()?;
    }
    // The view box keeps the canvas; only the size at which it is shown is another.
    let size = |(width, height): (u32, u32)| format!("width=\"{width}\" height=\"{height}\"");
    Ok(text.replacen(&size(CANVAS), &size(SHOWN), 1))
}

/// The picture in rows of red, green and blue.
fn pixels<P: Picture>(picture: &P) -> Result<Vec<u8>, Fault> {
    let mut fine = vec![0; (CANVAS.0 * CANVAS.1 * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut fine, CANVAS).into_drawing_area();
        picture.draw(&area)?;
        area.present()?;
    }
    Ok(shrink(&fine, SHOWN, FINE))
}

/// An image whose pixels are the means of squares of a finer one.
fn shrink(fine: &[u8], (width, height): (u32, u32), factor: u32) -> Vec<u8> {
    let stride = (width * factor * 3) as usize;
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..(height * factor) as usize {
        if !y.is_multiple_of(factor as usize) {
            continue;
        }
        for x in 0..width as usize {
            for channel in 0..3 {
                let square = (0..factor as usize * factor as usize).map(|at| {
                    let (row, column) = (y + at / factor as usize, x * factor as usize + at % factor as usize);
                    u32::from(fine[row * stride + column * 3 + channel])
                });
                pixels.push(((square.sum::<u32>() + factor * factor / 2) / (factor * factor)) as u8);
            }
        }
    }
    pixels
}

fn write_png(path: &Path, pixels: &[u8]) -> Result<(), String> {
    let mut image = BitMapBackend::new(path, SHOWN);
    image.blit_bitmap((0, 0), SHOWN, pixels).map_err(|error| error.to_string())?;
    image.present().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::shrink;

    #[test]
    fn a_pixel_is_the_mean_of_its_square() {
        // Two pixels next to each other, from two rows of four.
        let grey = |value: u8| [value; 3];
        let fine: Vec<u8> = [0, 255, 10, 10, 255, 0, 10, 12].into_iter().flat_map(grey).collect();
        assert_eq!(shrink(&fine, (2, 1), 2), [grey(128), grey(11)].concat());
    }
}
