//! The report as one HTML page that refers to no other file or address.

use std::fmt::Write;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::error::FileError;
use crate::excerpt::{EXCERPT_S, Excerpt};
use crate::levels::{FLOOR_DBFS, Levels};
use crate::report::{CleanReport, FileSummary};

const STYLE: &str = include_str!("html/style.css");

/// Creates the page. `path` is the page's own path, for errors.
pub(crate) fn page(
    report: &CleanReport,
    png: &[u8],
    [before, after]: &[Excerpt; 2],
    path: &Path,
) -> Result<String, FileError> {
    let flac = |excerpt: &Excerpt| {
        excerpt
            .flac()
            .map(|bytes| BASE64_STANDARD.encode(bytes))
            .map_err(|error| FileError::Encode {
                path: path.into(),
                reason: error.to_string(),
            })
    };
    let name = escape(&file_name(&report.input.path));
    let cut = if report.input.seconds > EXCERPT_S as f64 {
        format!("<p class=soft>The players hold the first {EXCERPT_S} seconds only.</p>")
    } else {
        String::new()
    };
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}: noise report</title>\n<style>\n{STYLE}</style>\n<main>\n\
         <h1>{name}</h1>\n<p class=soft>{summary}</p>\n\
         <section class=key>{key}</section>\n\
         <section><h2>Listen</h2>\n{cut}<div class=players>\n\
         <figure><figcaption>Before</figcaption>\
         <audio controls src=\"data:audio/flac;base64,{audio_before}\"></audio></figure>\n\
         <figure><figcaption>After</figcaption>\
         <audio controls src=\"data:audio/flac;base64,{audio_after}\"></audio></figure>\n\
         </div></section>\n\
         <section><h2>Spectrograms</h2>\n<div class=wide>\
         <img alt=\"Spectrograms before and after, on one color scale\" \
         src=\"data:image/png;base64,{picture}\"></div></section>\n\
         <section><h2>Levels</h2>\n<div class=wide><table>\n\
         <thead><tr><th><th>before<th>after<th>change, dB</thead>\n<tbody>\n{rows}</tbody></table></div>\n\
         </section>\n<footer>{footer}</footer>\n</main>\n</html>\n",
        summary = escape(&summary(report)),
        key = key_numbers(report),
        audio_before = flac(before)?,
        audio_after = flac(after)?,
        picture = BASE64_STANDARD.encode(png),
        rows = rows(&report.input, &report.output),
        footer = footer(report),
    ))
}

fn summary(report: &CleanReport) -> String {
    let FileSummary { info, seconds, .. } = &report.input;
    format!(
        "{} · {} · {} Hz · {} · {} · speech: {:.0} % of the length",
        info.container,
        info.codec,
        info.rate_hz,
        match info.channels {
            1 => "mono".into(),
            2 => "stereo".into(),
            more => format!("{more} channels"),
        },
        clock(*seconds),
        100.0 * report.speech_share,
    )
}

fn key_numbers(report: &CleanReport) -> String {
    let (before, after) = (&report.input.levels, &report.output.levels);
    let floor = before.noise_floor_dbfs - after.noise_floor_dbfs;
    let mut html = format!("<div><b>{} dB</b>noise floor</div>", signed(-floor));
    if let (Some(from), Some(to)) = (before.snr_db, after.snr_db) {
        let _ = write!(
            html,
            "<div><b>{} dB</b>signal to noise</div>",
            signed(to - from)
        );
    }
    if let (Some(from), Some(to)) = (before.speech_dbfs, after.speech_dbfs) {
        let _ = write!(
            html,
            "<div><b>{} dB</b>speech level</div>",
            signed(to - from)
        );
    }
    let _ = write!(html, "<div><b>{:.0}×</b>real time</div>", report.speed);
    html
}

/// The rows of the table of levels.
fn rows(before: &FileSummary, after: &FileSummary) -> String {
    // Label with unit, and value.
    type Read = fn(&Levels) -> Option<f32>;
    let levels: [(&str, Read); 5] = [
        ("Noise floor (10th percentile of 50 ms), dBFS", |l| {
            Some(l.noise_floor_dbfs)
        }),
        ("Speech level, dBFS", |l| l.speech_dbfs),
        ("Signal to noise, estimated, dB", |l| l.snr_db),
        ("Mean level, dBFS", |l| Some(l.rms_dbfs)),
        ("Peak, dBFS", |l| Some(l.peak_dbfs)),
    ];
    let mut html = String::new();
    for (name, read) in levels {
        let (from, to) = (read(&before.levels), read(&after.levels));
        let change = match (from, to) {
            (Some(from), Some(to)) => signed(to - from),
            _ => "–".into(),
        };
        let (from, to) = (level(from), level(to));
        let _ = writeln!(html, "<tr><th>{name}<td>{from}<td>{to}<td>{change}");
    }
    let _ = writeln!(
        html,
        "<tr><th>Clipped samples<td>{}<td>{}<td>\n<tr><th>Samples<td>{}<td>{}<td>",
        before.clipped_samples,
        after.clipped_samples,
        before.info.sample_format,
        after.info.sample_format
    );
    if before.non_finite_samples > 0 {
        let _ = writeln!(
            html,
            "<tr><th>Samples that were not finite<td>{}<td>{}<td>",
            before.non_finite_samples, after.non_finite_samples
        );
    }
    html
}

fn footer(report: &CleanReport) -> String {
    let model = &report.model;
    let limit = match model.attenuation_db {
        Some(limit) => format!("attenuation limit {limit} dB"),
        None => "no attenuation limit".into(),
    };
    format!(
        "quietwire {}, model {} {}, {}, {} channels; processed in {:.2} s; latency of a live stream {:.1} ms. 0 dBFS is the power of a full-scale square wave.",
        report.quietwire,
        escape(&model.id),
        escape(&model.version),
        limit,
        model.channel_mode,
        report.processing_s,
        model.latency_ms,
    )
}

fn level(value: Option<f32>) -> String {
    match value {
        Some(value) if value <= FLOOR_DBFS => "silence".into(),
        Some(value) => format!("{value:.1}").replace('-', "−"),
        None => "–".into(),
    }
}

fn signed(value: f32) -> String {
    // No sign before a value that is printed as 0.0.
    let value = if value.abs() < 0.05 { 0.0 } else { value };
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{value:.1}").replace('-', "−")
}

fn clock(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.1} s"),
        _ => {
            let total_s = seconds.round() as u64;
            format!("{}:{:02} min", total_s / 60, total_s % 60)
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_is_escaped() {
        assert_eq!(escape("<b a=\"'&\">"), "&lt;b a=&quot;&#39;&amp;&quot;&gt;");
    }
}
