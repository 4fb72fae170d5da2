"""Quality: takes the means from a report of `quietwire-train score` and writes a result file.

Example:

    quietwire-train score PAIRS noisy base=model:base ... --out scores
    python benches/quality.py scores.json --command "quietwire-train score ..." --json quality.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))

from result_file import write_result

MEASURES = (
    "pesq",
    "stoi",
    "si_sdr_db",
    "ovrl",
    "clean_pesq",
    "low_cut_pesq",
    "twin_pesq",
    "attenuation_db",
    "wer",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="PREFIX.json of `quietwire-train score --out PREFIX`")
    parser.add_argument("--command", required=True, help="the command that made the report")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="result file to write")
    args = parser.parse_args()
    systems = json.loads(args.report.read_text(encoding="utf-8"))["systems"]
    failed = [system["system"] for system in systems if system.get("failures")]
    if failed:
        raise SystemExit(f"{args.report}: pairs failed for {', '.join(failed)}; score them again")
    rows = [
        {
            "name": system["system"],
            **{key: round(system[key], 4) for key in MEASURES if system.get(key) is not None},
        }
        for system in systems
    ]
    write_result(args.json, "scored at 16 kHz", args.command, rows, is_timed=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
