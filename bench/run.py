#!/usr/bin/env python3
"""Side by side with the peers: every row alternates ours and the peer's on an otherwise idle machine and keeps its numbers.

  bench/run.py all --peers DIR             all rows that have no result yet (see bench/setup-peers.sh for DIR)
  bench/run.py lora-bf16-4x256 --peers DIR one row anew
  bench/run.py list                        the rows
  bench/run.py render                      RESULTS.md again from the kept results

--quick: three rounds instead of five. --again: `all` measures rows anew that have a result.
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from measure import ROOT, Setting, machine, say, turn, wait_until_idle  # noqa: E402
from render import render, table  # noqa: E402
from rows import ROWS  # noqa: E402

RESULTS = ROOT / "bench/results"


def write(path, value, setting):
    """Whole or not at all; where a machine keeps its files is nobody's business."""
    temporary = path.with_suffix(".tmp")
    text = json.dumps(value, indent=1)
    for folder, name in ((setting.peers.absolute(), "peers"), (setting.tunesmith, "tunesmith"), (ROOT, "."), (tempfile.gettempdir(), "tmp")):
        text = text.replace(str(folder), name)
    temporary.write_text(text + "\n", encoding="utf8")
    os.replace(temporary, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", help="rows, or all, list, render")
    parser.add_argument("--peers", default=os.environ.get("TUNESMITH_PEERS"), help="the folder of setup-peers.sh")
    parser.add_argument("--tunesmith", default=ROOT / "target/release/tunesmith", help="the binary to measure")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--turns", metavar="FILE", help="take turns, by a lock on FILE, with other work on this machine")
    parser.add_argument("--again", action="store_true", help="measure rows that have a result, too")
    args = parser.parse_args()
    if args.rows == ["list"]:
        for name, (title, _) in ROWS.items():
            print(f"{name:<18} {title}")
        return
    RESULTS.mkdir(exist_ok=True)
    if args.rows == ["render"]:
        render(RESULTS, ROWS)
        return
    everything = args.rows == ["all"]
    unknown = [name for name in args.rows if name not in ROWS and not everything]
    if unknown:
        raise SystemExit(f"unknown rows: {', '.join(unknown)}; known: {', '.join(ROWS)}, all, list, render")
    if not args.peers:
        raise SystemExit("where are the peers? --peers DIR (made by bench/setup-peers.sh)")
    setting = Setting(args.tunesmith, args.peers, 3 if args.quick else 5, args.turns)
    for name in ROWS if everything else args.rows:
        path = RESULTS / f"{name}.json"
        if everything and path.exists() and not args.again:
            say(f"{name}: has a result (--again measures it anew)")
            continue
        title, measure = ROWS[name]
        say(f"{name}: {title}")
        with turn(setting):
            busy = wait_until_idle()
            begun = time.monotonic()
            about = machine(setting)
        result = {"row": name, "title": title, "rounds": setting.rounds, **measure(setting), "machine": about, "busy_before": busy}
        result["seconds"] = round(time.monotonic() - begun, 1)
        write(path, result, setting)
        print(table(result), flush=True)
    render(RESULTS, ROWS)


if __name__ == "__main__":
    main()
