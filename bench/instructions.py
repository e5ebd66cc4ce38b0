#!/usr/bin/env python3
"""Counts the instructions of small steps under valgrind and compares them with instructions.json (see README.md).

  bench/instructions.py            compare; exit code 1 if a count moved by more than the tolerance
  bench/instructions.py --update   write the counts of this build

Another compiler gives other counts: with one that is not that of instructions.json nothing is compared.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASELINE = ROOT / "bench/instructions.json"
TUNESMITH = ROOT / "target/release/tunesmith"
TOLERANCE = 0.02

STEP = ["bench", "train-step", "--arch", "tiny", "--batch", "2", "--seq", "48", "--no-peak", "--threads", "1", "--json", "--quiet"]
CASES = {
    f"{method} {dtype}": [*STEP, "--method", method, "--dtype", dtype]
    for method, dtype in [("lora", "f32"), ("lora", "bf16"), ("lora", "int8"), ("full", "bf16")]
}
CASES["decode bf16"] = ["bench", "decode", "--arch", "tiny", "--tokens", "8", "--dtype", "bf16", "--no-peak", "--threads", "1", "--json",
                        "--quiet"]


def count(arguments):
    """Instructions of the whole process."""
    with tempfile.TemporaryDirectory() as work:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={work}/out", str(TUNESMITH), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        raise SystemExit(f"{' '.join(command)}\nfailed:\n{done.stderr[-2000:]}")
    return int(found.group(1))


def repeated(arguments):
    """Instructions of one further step: those of five steps less those of two, by three. Start-up does not count."""
    more = "--repeats" if arguments[1] == "decode" else "--steps"
    few, many = (count([*arguments, more, str(n)]) for n in (2, 5))
    return (many - few) // 3


def main():
    update = sys.argv[1:] == ["--update"]
    if sys.argv[1:] and not update:
        raise SystemExit(__doc__)
    before = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if not update and before and before["compiler"] != compiler:
        print(f"{BASELINE.name} was counted with {before['compiler']}, this is {compiler}: not compared")
        return
    before, after, moved = before.get("counts", {}), {}, []
    for name, arguments in CASES.items():
        after[name] = repeated(arguments)
        change = after[name] / before[name] - 1 if name in before else None
        print(f"{name:<12} {after[name]:>14,}" + ("" if change is None else f"  {change:+.2%}"), flush=True)
        if change is not None and abs(change) > TOLERANCE:
            moved.append(name)
    if update:
        BASELINE.write_text(json.dumps({"compiler": compiler, "counts": after}, indent=1) + "\n")
    elif moved:
        raise SystemExit(f"moved by more than {TOLERANCE:.0%}: {', '.join(moved)}. If that is meant: bench/instructions.py --update")
    elif set(before) != set(CASES):
        raise SystemExit("instructions.json has other cases: bench/instructions.py --update")


if __name__ == "__main__":
    main()
