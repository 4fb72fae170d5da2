//! The terminal view of a running path.

use std::time::Duration;

use anyhow::Result;
use quietwire::Strength;
use quietwire_live::{Settings, Status};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Gauge, Paragraph, Wrap};
use ratatui::{DefaultTerminal, Frame};

use crate::live::compare;
use crate::live::paths::{Paths, PathsStatus};
use crate::live::print::{line, source, xruns};
use crate::live::spectrogram::Spectrogram;

/// Time between two pictures.
const EVERY: Duration = Duration::from_millis(100);
/// Bands of a spectrogram, one for each line.
const BANDS: usize = 10;
/// Level of an empty meter, dBFS.
const METER_FLOOR_DB: f32 = -80.0;
const KEYS: &str = "space on/off (compare)   m mute   1 2 3 strength, 4 auto   o monitor   q quit";

/// Shows the paths until `must_end` or the key q. With `ab` the space key shows the numbers of both sides.
pub(crate) fn run(paths: &Paths, ab: bool, must_end: impl Fn() -> bool) -> Result<()> {
    // Restores the terminal, after a panic too.
    let mut terminal = ratatui::try_init()?;
    let result = show(&mut terminal, paths, ab, must_end);
    ratatui::restore();
    result
}

fn show(
    terminal: &mut DefaultTerminal,
    paths: &Paths,
    ab: bool,
    must_end: impl Fn() -> bool,
) -> Result<()> {
    let mut display = paths.main().display(2.0);
    let mut numbers = None;
    let mut spectrograms = [Spectrogram::new(BANDS), Spectrogram::new(BANDS)];
    while !must_end() {
        let samples = display.slots() / 2 * 2;
        if let Ok(chunk) = display.read_chunk(samples) {
            for (n, sample) in chunk.into_iter().enumerate() {
                spectrograms[n % 2].push(sample);
            }
        }
        let status = paths.status();
        terminal.draw(|frame| draw(frame, &status, numbers.as_deref(), &spectrograms))?;
        if event::poll(EVERY)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            let is_interrupt =
                key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            if ab && key.code == KeyCode::Char(' ') {
                numbers = Some(compare::numbers(&status.main));
            }
            if is_interrupt || !handle(key.code, paths.main().settings()) {
                break;
            }
        }
    }
    Ok(())
}

/// Changes a setting. Returns false for the key that ends the view.
fn handle(key: KeyCode, settings: &Settings) -> bool {
    match key {
        KeyCode::Char(' ') => settings.set_bypass(!settings.bypass()),
        KeyCode::Char('m') => settings.set_muted(!settings.muted()),
        KeyCode::Char('o') => settings.set_monitor(!settings.monitor()),
        KeyCode::Char('1') => settings.set_attenuation_db(Strength::Low.attenuation_db()),
        KeyCode::Char('2') => settings.set_attenuation_db(Strength::Medium.attenuation_db()),
        KeyCode::Char('3') => settings.set_attenuation_db(Strength::High.attenuation_db()),
        KeyCode::Char('4') => settings.set_auto_attenuation(),
        KeyCode::Char('q') | KeyCode::Esc => return false,
        _ => {}
    }
    true
}

fn draw(
    frame: &mut Frame,
    paths: &PathsStatus,
    numbers_of_both: Option<&str>,
    spectrograms: &[Spectrogram; 2],
) {
    let status = &paths.main;
    let [head, meters, pictures, numbers, message, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Length(BANDS as u16 + 2),
        Constraint::Length(6),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(status), head);
    draw_meters(frame, meters, status);
    let halves =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas::<2>(pictures);
    for ((area, spectrogram), name) in halves.into_iter().zip(spectrograms).zip(["in", "out"]) {
        let block = Block::bordered().title(format!(" {name}, 0.1 to 16 kHz "));
        let width = usize::from(block.inner(area).width);
        let lines = spectrogram.lines(width).into_iter().map(Line::from);
        let text = Text::from(lines.collect::<Vec<_>>());
        frame.render_widget(Paragraph::new(text).block(block), area);
    }
    frame.render_widget(Paragraph::new(measurements(status)), numbers);
    let texts = [
        numbers_of_both.map(|numbers| format!("before the latest swap: {numbers}")),
        paths
            .speaker
            .as_ref()
            .map(|speaker| format!("speaker {}", line(speaker).trim_start())),
        (!status.message.is_empty()).then(|| status.message.clone()),
        Some(status.model_choice.clone()),
    ];
    let lines: Vec<Line> = texts.into_iter().flatten().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), message);
    frame.render_widget(Paragraph::new(KEYS).dim(), keys);
}

fn title(status: &Status) -> Paragraph<'static> {
    let what = source(status);
    let color = match what.as_str() {
        "off" | "raw" | "loading" => Color::Yellow,
        "muted" => Color::Red,
        _ => Color::Green,
    };
    let strength = status
        .attenuation_db
        .map_or("no limit".into(), |db| format!("{db:.0} dB"));
    let auto = if status.auto_attenuation {
        "auto, "
    } else {
        ""
    };
    let device = |name: &str, device: &quietwire_live::DeviceStatus| {
        format!("{name}: {} ({})", device.name, device.state)
    };
    let first = Line::from(vec![
        "quietwire live  ".bold(),
        what.to_uppercase().fg(color).bold(),
        format!("  strength {auto}{strength}").into(),
    ]);
    let devices = format!(
        "{}   {}",
        device("in", &status.input),
        device("out", &status.output)
    );
    Paragraph::new(vec![first, Line::from(devices)])
}

fn draw_meters(frame: &mut Frame, area: Rect, status: &Status) {
    let rows = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas::<2>(area);
    let levels = status.levels;
    let meters = [
        ("in ", levels.input_dbfs, levels.input_floor_dbfs),
        ("out", levels.output_dbfs, levels.output_floor_dbfs),
    ];
    for (row, (name, level, floor)) in rows.into_iter().zip(meters) {
        let filled = ((level - METER_FLOOR_DB) / -METER_FLOOR_DB).clamp(0.0, 1.0);
        let gauge = Gauge::default()
            .ratio(f64::from(filled))
            .label(format!(
                "{name} {level:6.1} dBFS   noise floor {floor:6.1} dBFS"
            ))
            .gauge_style(Style::new().fg(Color::Cyan).bg(Color::DarkGray));
        frame.render_widget(gauge, row);
    }
}

fn measurements(status: &Status) -> Vec<Line<'static>> {
    let (levels, latency, playout) = (status.levels, status.latency, status.playout);
    let speech = levels
        .speech_probability
        .map_or("-".into(), |p| format!("{:3.0} %", 100.0 * p));
    let echo = match latency.echo_canceller_ms {
        0.0 => String::new(),
        ms => format!(" + echo canceller {ms:.1}"),
    };
    vec![
        Line::from(format!(
            "SNR {:5.1} dB   speech {speech}   gain {:6.1} dB",
            levels.snr_db, levels.gain_db
        )),
        Line::from(format!(
            "latency {:.1} ms = input device {:.1} + queue {:.1}{} + denoiser {:.1} + resampler {:.1} + output device {:.1}",
            latency.total_ms,
            latency.input_device_ms,
            latency.queue_ms,
            echo,
            latency.denoiser_ms,
            latency.resampler_ms,
            latency.output_device_ms
        )),
        Line::from(format!(
            "cost {:.2} of {:.0} ms a hop   priority {}",
            status.hop_cost_ms, status.hop_ms, status.realtime
        )),
        Line::from(format!(
            "xruns {}   missed deadlines {}   steps down {} up {}",
            xruns(status),
            status.deadline_misses,
            status.step_downs,
            status.step_ups
        )),
        Line::from(format!(
            "clocks {:+.0} ppm apart   queue {:.1} of {:.1} ms   dropped {} inserted {} frames",
            playout.drift_ppm,
            playout.queue_ms,
            playout.target_ms,
            playout.dropped_frames,
            playout.inserted_frames
        )),
        Line::from(format!("running for {:.0} s", status.uptime_s)),
    ]
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn the_view_shows_levels_latency_and_keys() {
        let mut status = Status::default();
        status.model = Some("base".into());
        status.levels.input_dbfs = -30.5;
        status.latency.total_ms = 36.4;
        let spectrograms = [Spectrogram::new(BANDS), Spectrogram::new(BANDS)];
        let paths = PathsStatus {
            main: status,
            speaker: Some(Status::default()),
        };
        for (width, height) in [(100, 28), (40, 10), (1, 1)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal
                .draw(|frame| draw(frame, &paths, Some("raw: 1"), &spectrograms))
                .unwrap();
            if width == 100 {
                let text = terminal.backend().to_string();
                for part in [
                    "BASE",
                    "-30.5 dBFS",
                    "latency 36.4 ms",
                    "raw: 1",
                    "speaker",
                    "q quit",
                ] {
                    assert!(text.contains(part), "{part}: {text}");
                }
            }
        }
    }

    #[test]
    fn keys_change_the_settings() {
        let settings = Settings::new(40.0, quietwire_live::WhileLoading::Raw);
        for key in [' ', 'm', '1', 'x'] {
            assert!(handle(KeyCode::Char(key), &settings));
        }
        assert!(settings.bypass() && settings.muted());
        assert_eq!(settings.attenuation_db(), 12.0);
        assert!(!handle(KeyCode::Char('q'), &settings));
    }
}
