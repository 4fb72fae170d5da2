//! `quietwire live devices`.

use std::io::Write;

use anyhow::Result;
use quietwire_live::list_devices;

pub(crate) fn run(json: bool) -> Result<()> {
    let devices = list_devices()?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&devices)?)?;
        return Ok(());
    }
    for direction in ["input", "output"] {
        writeln!(out, "{direction} devices (* is the default):")?;
        let mut count = 0;
        for device in devices.iter().filter(|d| d.direction == direction) {
            count += 1;
            let mark = if device.is_default { '*' } else { ' ' };
            writeln!(
                out,
                "{mark} {}  [{}]  {} Hz, {} channels",
                device.name, device.id, device.rate_hz, device.channels
            )?;
        }
        if count == 0 {
            writeln!(out, "  none")?;
        }
    }
    Ok(())
}
