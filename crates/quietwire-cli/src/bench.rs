//! `quietwire bench`.

use std::io::Write;

use anyhow::Result;

use crate::args::BenchArgs;
use crate::{cost, load};

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let model = load::model("--model", &args.model)?;
    let cost = cost::measure(&model, args.seconds)?;
    writeln!(
        std::io::stdout(),
        "model              {}\n\
         hop                {:.1} ms\n\
         time for one hop   median {:.0} us, 99 % within {:.0} us, worst {:.0} us\n\
         real-time factor   {:.4} ({:.0}x real time)\n\
         streams per core   {:.0}",
        model.manifest().id(),
        cost.hop_us / 1000.0,
        cost.p50_us,
        cost.p99_us,
        cost.max_us,
        1.0 / cost.speed,
        cost.speed,
        cost.speed.floor(),
    )?;
    Ok(())
}
