//! The plate as a picture: colours for temperatures, with lines of equal ones, axes and a colour bar.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use phalanx::distribution::BlockDistribution;

type Rgb = [u8; 3];

const WHITE: Rgb = [255; 3];
const INK: Rgb = [38, 38, 44];
const FAINT: Rgb = [112, 112, 122];

/// Pixels along each side of the plate.
const SIDE: usize = 800;
const LEFT: usize = 96;
const TOP: usize = 100;
const WIDTH: usize = LEFT + SIDE + 170;
const HEIGHT: usize = TOP + SIDE + 84;

/// The temperatures at the ends of the colour bar, and between two lines, in °C.
const COLDEST: f64 = 0.0;
const HOTTEST: f64 = 100.0;
const BETWEEN_LINES: f64 = 10.0;

/// Points in a pixel along each side: the lines are drawn finer than pixels are.
const FINE: usize = 3;

pub struct Picture {
    pixels: Vec<Rgb>,
}

/// Where a text stands, seen from its point.
#[derive(Clone, Copy)]
enum Align {
    Left,
    Center,
    Right,
}

/// How a text looks.
#[derive(Clone, Copy)]
struct Style {
    weight: FontWeight,
    size: RasterHeight,
    color: Rgb,
}

const TITLE: Style = Style { weight: FontWeight::Bold, size: RasterHeight::Size24, color: INK };
const SMALL: Style =
    Style { weight: FontWeight::Regular, size: RasterHeight::Size20, color: FAINT };
const LABEL: Style = Style { weight: FontWeight::Regular, size: RasterHeight::Size20, color: INK };

/// A colour between black and pale yellow for 0 to 1, of which equal steps look equally large: the map
/// "inferno" of Nathaniel Smith and Stéfan van der Walt, as a polynomial.
fn inferno(value: f64) -> Rgb {
    const TERMS: [[f64; 3]; 7] = [
        [0.000_218_940_4, 0.001_651_004_6, -0.019_480_898_4],
        [0.106_513_419_5, 0.563_956_436_8, 3.932_712_388_9],
        [11.602_493_082_5, -3.972_853_965_7, -15.942_394_106_3],
        [-41.703_996_131_4, 17.436_398_882_1, 44.354_145_198_7],
        [77.162_935_699_4, -33.402_358_942_1, -81.807_309_257_4],
        [-71.319_428_245, 32.626_064_264, 73.209_519_858],
        [25.131_126_224_8, -12.242_668_952_4, -23.070_325_002_9],
    ];
    let value = value.clamp(0.0, 1.0);
    let channel = |channel: usize| {
        let sum = TERMS.iter().rev().fold(0.0, |sum, term| sum * value + term[channel]);
        (255.0 * sum).round().clamp(0.0, 255.0) as u8
    };
    [channel(0), channel(1), channel(2)]
}

fn mix(below: Rgb, above: Rgb, share: f64) -> Rgb {
    let channel = |it: usize| {
        (f64::from(below[it]) * (1.0 - share) + f64::from(above[it]) * share).round() as u8
    };
    [channel(0), channel(1), channel(2)]
}

fn heat(temperature: f64) -> f64 {
    (temperature - COLDEST) / (HOTTEST - COLDEST)
}

/// The plate after so many steps, whose dimensions were divided among the ranks like this.
pub fn draw(plate: &[f64], size: usize, steps: u64, parts: &[BlockDistribution]) -> Picture {
    let mut picture = Picture { pixels: vec![WHITE; WIDTH * HEIGHT] };
    picture.plate(plate, size);
    picture.shares(parts);
    picture.frame(LEFT, TOP, SIDE, SIDE);
    picture.axes();
    picture.color_bar();
    picture.text(LEFT, 28, "Heat on a square plate", Align::Left, TITLE);
    let ranks = match [parts[0].ranks(), parts[1].ranks()] {
        [1, 1] => "1 rank".to_owned(),
        [rows, columns] => format!("{rows} × {columns} ranks"),
    };
    let caption = format!("{size} × {size} cells, {steps} steps, {ranks}");
    picture.text(LEFT, 60, &caption, Align::Left, SMALL);
    picture
}

impl Picture {
    fn blend(&mut self, x: usize, y: usize, color: Rgb, share: f64) {
        if x < WIDTH && y < HEIGHT {
            let pixel = &mut self.pixels[y * WIDTH + x];
            *pixel = mix(*pixel, color, share);
        }
    }

    fn line(&mut self, from: (usize, usize), to: (usize, usize), color: Rgb, share: f64) {
        for y in from.1..=to.1 {
            for x in from.0..=to.0 {
                self.blend(x, y, color, share);
            }
        }
    }

    fn frame(&mut self, left: usize, top: usize, width: usize, height: usize) {
        let (right, bottom) = (left + width, top + height);
        self.line((left - 1, top - 1), (right, top - 1), INK, 1.0);
        self.line((left - 1, bottom), (right, bottom), INK, 1.0);
        self.line((left - 1, top), (left - 1, bottom - 1), INK, 1.0);
        self.line((right, top), (right, bottom - 1), INK, 1.0);
    }

    /// The colours, and lines of equal temperature.
    fn plate(&mut self, plate: &[f64], size: usize) {
        // Cells hold the temperature of their centres; between them it changes evenly.
        let at = |position: usize| {
            let cell = (position as f64 + 0.5) * size as f64 / (SIDE * FINE) as f64 - 0.5;
            let cell = cell.clamp(0.0, (size - 1) as f64);
            let first = (cell as usize).min(size.saturating_sub(2));
            (first, (first + 1).min(size - 1), cell - first as f64)
        };
        let places: Vec<_> = (0..=SIDE * FINE).map(at).collect();
        let row = |y: usize| -> Vec<f64> {
            let (north, south, down) = places[y];
            let value = |&(west, east, right): &(usize, usize, f64)| {
                let along = |row: usize| {
                    let line = &plate[row * size..(row + 1) * size];
                    line[west] * (1.0 - right) + line[east] * right
                };
                along(north) * (1.0 - down) + along(south) * down
            };
            places.iter().map(value).collect()
        };
        let band = |temperature: f64| (temperature / BETWEEN_LINES).floor();
        let mut here = row(0);
        for y in 0..SIDE {
            let mut sums = vec![0.0; SIDE];
            let mut crossings = vec![0; SIDE];
            for fine in 0..FINE {
                let below = row(y * FINE + fine + 1);
                for x in 0..SIDE * FINE {
                    sums[x / FINE] += here[x];
                    let level = band(here[x]);
                    if band(here[x + 1]) != level || band(below[x]) != level {
                        crossings[x / FINE] += 1;
                    }
                }
                here = below;
            }
            for x in 0..SIDE {
                let mean = sums[x] / (FINE * FINE) as f64;
                let color = inferno(heat(mean));
                let line = f64::from(crossings[x]) / FINE as f64;
                self.pixels[(TOP + y) * WIDTH + LEFT + x] = mix(color, WHITE, 0.32 * line.min(1.0));
            }
        }
    }

    /// Which rank computed what, faintly.
    fn shares(&mut self, parts: &[BlockDistribution]) {
        let borders = |along: &BlockDistribution| {
            let first = (1..along.ranks()).map(|at| along.range(at).start);
            first.map(|cell| cell * SIDE / along.items()).collect::<Vec<_>>()
        };
        const DASH: usize = 6;
        for y in borders(&parts[0]) {
            for x in (0..SIDE).filter(|x| (x / DASH).is_multiple_of(2)) {
                self.blend(LEFT + x, TOP + y, WHITE, 0.45);
            }
        }
        for x in borders(&parts[1]) {
            for y in (0..SIDE).filter(|y| (y / DASH).is_multiple_of(2)) {
                self.blend(LEFT + x, TOP + y, WHITE, 0.45);
            }
        }
    }

    fn axes(&mut self) {
        for quarter in 0..=4 {
            let along = quarter * (SIDE - 1) / 4;
            let number = format!("{:.2}", quarter as f64 / 4.0);
            let below = TOP + SIDE;
            self.line((LEFT + along, below), (LEFT + along, below + 6), INK, 1.0);
            self.text(LEFT + along, below + 12, &number, Align::Center, LABEL);
            self.line((LEFT - 7, TOP + along), (LEFT - 1, TOP + along), INK, 1.0);
            // Rows are counted from above, y from below.
            let height = format!("{:.2}", 1.0 - quarter as f64 / 4.0);
            self.text(LEFT - 14, TOP + along - 10, &height, Align::Right, LABEL);
        }
        self.text(LEFT + SIDE / 2, TOP + SIDE + 44, "x", Align::Center, LABEL);
        self.text(16, TOP + SIDE / 2 - 10, "y", Align::Left, LABEL);
    }

    fn color_bar(&mut self) {
        const BAR: usize = 28;
        let left = LEFT + SIDE + 36;
        for y in 0..SIDE {
            let value = 1.0 - (y as f64 + 0.5) / SIDE as f64;
            self.line((left, TOP + y), (left + BAR - 1, TOP + y), inferno(value), 1.0);
        }
        self.frame(left, TOP, BAR, SIDE);
        let ticks = ((HOTTEST - COLDEST) / BETWEEN_LINES) as usize;
        for tick in 0..=ticks {
            let temperature = HOTTEST - tick as f64 * BETWEEN_LINES;
            let y = TOP + tick * (SIDE - 1) / ticks;
            self.line((left + BAR, y), (left + BAR + 6, y), INK, 1.0);
            if tick % 2 == 0 {
                self.text(
                    left + BAR + 14,
                    y - 10,
                    &format!("{temperature:.0}"),
                    Align::Left,
                    LABEL,
                );
            }
            if tick > 0 && tick < ticks {
                // As on the plate.
                self.line((left, y), (left + BAR - 1, y), WHITE, 0.32);
            }
        }
        self.text(left + BAR / 2, TOP - 34, "°C", Align::Center, LABEL);
    }

    fn text(&mut self, x: usize, y: usize, text: &str, align: Align, style: Style) {
        let Style { weight, size, color } = style;
        let wide = get_raster_width(weight, size);
        let length = wide * text.chars().count();
        let mut x = match align {
            Align::Left => x,
            Align::Center => x.saturating_sub(length / 2),
            Align::Right => x.saturating_sub(length),
        };
        for character in text.chars() {
            let glyph =
                get_raster(character, weight, size).or_else(|| get_raster('?', weight, size));
            for (row, line) in glyph.iter().flat_map(|glyph| glyph.rows()).enumerate() {
                for (column, &cover) in line.iter().enumerate() {
                    self.blend(x + column, y + row, color, f64::from(cover) / 255.0);
                }
            }
            x += wide;
        }
    }

    /// Writes the picture as a PNG file. When this returns without an error, all of it is on its way to
    /// the disk.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut encoder = png::Encoder::new(&mut file, WIDTH as u32, HEIGHT as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(io_error)?;
        writer.write_image_data(self.pixels.as_flattened()).map_err(io_error)?;
        writer.finish().map_err(io_error)?;
        file.flush()?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

fn io_error(error: png::EncodingError) -> io::Error {
    match error {
        png::EncodingError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_get_brighter_with_the_temperature() {
        let brightness = |value: f64| {
            let [red, green, blue] = inferno(value).map(f64::from);
            0.299 * red + 0.587 * green + 0.114 * blue
        };
        let steps: Vec<f64> = (0..=50).map(|step| brightness(f64::from(step) / 50.0)).collect();
        assert!(steps.is_sorted(), "{steps:?}");
        assert!(steps[0] < 5.0 && steps[50] > 230.0);
    }

    #[test]
    fn plates_of_any_size_are_drawn() {
        for size in [1, 2, 3, 801] {
            let picture =
                draw(&vec![100.0; size * size], size, 0, &[BlockDistribution::new(size, 1); 2]);
            assert_eq!(picture.pixels[(TOP + 1) * WIDTH + LEFT + 1], inferno(1.0));
        }
    }
}
