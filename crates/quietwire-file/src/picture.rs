//! Draws two spectrograms above each other, with axes, as PNG.

mod font;

use self::font::GLYPH_WIDTH;
use crate::spectrogram::{HEIGHT, Spectrogram, WIDTH, hz_row};

const LEFT: usize = 62;
const RIGHT: usize = 74;
const TOP: usize = 34;
const GAP: usize = 40;
const BOTTOM: usize = 44;

const IMAGE_WIDTH: usize = LEFT + WIDTH + RIGHT;
const IMAGE_HEIGHT: usize = TOP + HEIGHT + GAP + HEIGHT + BOTTOM;

/// Entries of the palette: first the color map, then three more colors.
const LEVELS: usize = 253;
const BACKGROUND: u8 = 253;
const TEXT: u8 = 254;
const AXIS: u8 = 255;
const OTHER_COLORS: [[u8; 3]; 3] = [[16, 16, 22], [214, 214, 222], [120, 120, 132]];

/// Range of the color map, dB.
const RANGE_DB: f32 = 80.0;

/// A picture of palette entries, which takes a third of the size of RGB.
struct Canvas {
    pixels: Vec<u8>,
}

impl Canvas {
    fn set(&mut self, x: usize, y: usize, color: u8) {
        if x < IMAGE_WIDTH && y < IMAGE_HEIGHT {
            self.pixels[y * IMAGE_WIDTH + x] = color;
        }
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, color: u8) {
        for y in y..y + height {
            for x in x..x + width {
                self.set(x, y, color);
            }
        }
    }

    /// Writes text with its top left corner at a point. A dot of a glyph is `scale` pixels wide.
    fn text(&mut self, text: &str, x: usize, y: usize, scale: usize) {
        for (at, letter) in text.chars().enumerate() {
            let left = x + at * (GLYPH_WIDTH + 1) * scale;
            for (row, bits) in font::glyph(letter).into_iter().enumerate() {
                for column in 0..GLYPH_WIDTH {
                    if bits >> (GLYPH_WIDTH - 1 - column) & 1 == 1 {
                        self.fill(left + column * scale, y + row * scale, scale, scale, TEXT);
                    }
                }
            }
        }
    }

    fn text_right(&mut self, text: &str, right: usize, y: usize) {
        self.text(text, right.saturating_sub(font::width(text, 2)), y, 2);
    }

    fn text_centered(&mut self, text: &str, center: usize, y: usize) {
        self.text(text, center.saturating_sub(font::width(text, 2) / 2), y, 2);
    }
}

/// Draws both spectrograms with one color scale and returns the PNG.
pub(crate) fn before_and_after(
    before: &Spectrogram,
    after: &Spectrogram,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut canvas = Canvas {
        pixels: vec![BACKGROUND; IMAGE_WIDTH * IMAGE_HEIGHT],
    };
    let loudest = before
        .columns
        .iter()
        .chain(&after.columns)
        .flatten()
        .fold(f32::NEG_INFINITY, |top, &level| top.max(level));
    // A multiple of 10 dB for the labels. Silence has a scale too.
    let top_db = ((loudest.max(-100.0) - 3.0) / 10.0).ceil() * 10.0;
    panel(&mut canvas, before, TOP, "before", top_db);
    panel(&mut canvas, after, TOP + HEIGHT + GAP, "after", top_db);
    time_axis(&mut canvas, before.seconds());
    scale_bar(&mut canvas, top_db);

    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, IMAGE_WIDTH as u32, IMAGE_HEIGHT as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette());
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    encoder.write_header()?.write_image_data(&canvas.pixels)?;
    Ok(png)
}

fn panel(canvas: &mut Canvas, data: &Spectrogram, top: usize, title: &str, top_db: f32) {
    canvas.text(title, LEFT, top - 22, 2);
    canvas.text_right("kHz", LEFT - 22, top - 22);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let level = data.level((x as f32 + 0.5) / WIDTH as f32, HEIGHT - 1 - y);
            canvas.set(LEFT + x, top + y, entry((level - top_db) / RANGE_DB + 1.0));
        }
    }
    let nyquist = data.rate_hz as f32 / 2.0;
    let mut above = f32::INFINITY;
    for khz in [32.0f32, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0] {
        let row = hz_row(khz * 1000.0, data.rate_hz);
        // Labels that would touch the label above are left out.
        if khz * 1000.0 > nyquist || above - row < 18.0 {
            continue;
        }
        above = row;
        let y = top + HEIGHT - row.round() as usize;
        canvas.fill(LEFT - 8, y.min(top + HEIGHT - 1), 6, 1, AXIS);
        let label = format!("{khz}");
        canvas.text_right(&label, LEFT - 12, (y - 6).min(top + HEIGHT - 12));
    }
}

fn time_axis(canvas: &mut Canvas, seconds: f64) {
    let y = TOP + HEIGHT + GAP + HEIGHT;
    let step = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
        60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0,
    ]
    .into_iter()
    .find(|step| seconds / step <= 12.0)
    .unwrap_or(86400.0);
    let mut tick = 0;
    while f64::from(tick) * step <= seconds {
        let time = f64::from(tick) * step;
        let x = LEFT + (time / seconds.max(1e-9) * (WIDTH - 1) as f64) as usize;
        for panel in [TOP + HEIGHT, y] {
            canvas.fill(x, panel + 2, 1, 6, AXIS);
        }
        canvas.text_centered(&time_label(time, step, seconds), x, y + 14);
        tick += 1;
    }
    canvas.text(
        if seconds < 120.0 { "s" } else { "" },
        LEFT + WIDTH + 22,
        y + 14,
        2,
    );
}

/// `4`, `0.05`, `2:30` or `1:02:30`, depending on the length of the axis.
fn time_label(time: f64, step: f64, seconds: f64) -> String {
    let decimals = (-step.log10()).ceil().max(0.0) as usize;
    let total_s = time.round() as u64;
    let (h, m, s) = (total_s / 3600, total_s / 60 % 60, total_s % 60);
    match seconds {
        ..120.0 => format!("{time:.decimals$}"),
        ..3600.0 => format!("{}:{s:02}", total_s / 60),
        _ => format!("{h}:{m:02}:{s:02}"),
    }
}

fn scale_bar(canvas: &mut Canvas, top_db: f32) {
    let x = LEFT + WIDTH + 12;
    canvas.text("dB", x, TOP - 22, 2);
    for y in 0..HEIGHT {
        canvas.fill(x, TOP + y, 10, 1, entry(1.0 - y as f32 / HEIGHT as f32));
    }
    for step in 0..=4 {
        let y = TOP + (HEIGHT - 1) * step / 4;
        let label = format!("{:.0}", top_db - RANGE_DB * step as f32 / 4.0 + 0.0);
        canvas.text(
            &label,
            x + 14,
            y.saturating_sub(6).min(TOP + HEIGHT - 12),
            2,
        );
    }
}

/// The palette entry of a level between 0 and 1.
fn entry(level: f32) -> u8 {
    (level.clamp(0.0, 1.0) * (LEVELS - 1) as f32).round() as u8
}

fn palette() -> Vec<u8> {
    let levels = (0..LEVELS).map(|level| color(level as f32 / (LEVELS - 1) as f32));
    levels.chain(OTHER_COLORS).flatten().collect()
}

/// Magma, a perceptually uniform color map of matplotlib (CC0), interpolated from nine points.
fn color(level: f32) -> [u8; 3] {
    const MAGMA: [[f32; 3]; 9] = [
        [0.0, 0.0, 4.0],
        [28.0, 16.0, 68.0],
        [79.0, 18.0, 123.0],
        [129.0, 37.0, 129.0],
        [181.0, 54.0, 122.0],
        [229.0, 80.0, 100.0],
        [251.0, 135.0, 97.0],
        [254.0, 194.0, 135.0],
        [252.0, 253.0, 191.0],
    ];
    let at = level.clamp(0.0, 1.0) * (MAGMA.len() - 1) as f32;
    let low = (at as usize).min(MAGMA.len() - 2);
    let part = at - low as f32;
    let mix = |channel: usize| MAGMA[low][channel] * (1.0 - part) + MAGMA[low + 1][channel] * part;
    [mix(0), mix(1), mix(2)].map(|value| value.round() as u8)
}
