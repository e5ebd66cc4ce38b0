"""RESULTS.md from the kept results."""
import json

from measure import ROOT

HEAD = """# Side by side

Rendered by `bench/run.py` from `bench/results/*.json`: do not edit. Each row alternates both sides on an otherwise idle machine and
takes medians. The ratio is ours over the peer's (for seconds and memory, the peer's over ours): above 1 we win. `owed` is what was
promised; a figure of ours alone has a limit instead.

Five rounds are the rule; a row that says three is preliminary. The host's own speed wandered by a quarter within hours, so only the
ratio of one row's two sides says something, and figures of different rows should not be compared. Rows that were measured at different
times name different machines below: it is one, whose measured limits differ from hour to hour.
"""


def number(value, unit):
    if value is None:
        return ""
    if unit in ("tokens/s", "MiB"):
        return f"{value:,.0f} {unit}"
    if unit == "points":
        return f"{value:+.2f} points"
    return f"{value:.2f} {unit}".strip()


def line(entry):
    if entry["ratio"] is not None:
        ratio = f"**{entry['ratio']:.2f}x**"
        owed = "" if entry["owed"] is None else f"{entry['owed']:g}x"
    else:
        ratio = ""
        sign = "at least" if entry.get("at_least", True) else "at most"
        owed = "" if entry["owed"] is None else f"{sign} {number(entry['owed'], entry['unit'])}"
    verdict = {True: "yes", False: "**no**", None: ""}[entry["met"]]
    cells = [entry["what"], number(entry["ours"], entry["unit"]), number(entry["peer"], entry["unit"]), ratio, owed, verdict, entry["note"]]
    return "| " + " | ".join(cells) + " |"


def table(result):
    head = ["| | ours | peer | ratio | owed | met | |", "|---|---|---|---|---|---|---|"]
    return "\n".join(head + [line(entry) for entry in result["comparisons"]])


def describe(machine):
    measured = ", ".join(f"{name} {value:,.1f}" for name, value in (machine.get("measured") or {}).items())
    lines = [
        f"- processor: {machine['cpu']}, {machine['cores']} cores; memory: {machine['memory_mb']:,} MiB; {machine['os']}",
        f"- ours: {machine['tunesmith']}, {machine['rustc']}",
        f"- peers: {machine['peers']}; {machine['llama.cpp']}; built with {machine['cc']}",
        f"- measured in the run by `tunesmith doctor`: {measured}",
    ]
    return "\n".join(lines)


def accuracies(result):
    """The real job's runs one by one."""
    rows = ["", "| seed | what | seconds | tokens/s | peak MiB | accuracy |", "|---|---|---|---|---|---|"]
    known = result.get("reference", {}).get("accuracy", {})
    for entry in result["our_runs"]:
        rows.append(f"| {entry['seed']} | ours, {entry['dtype']} | {entry['train_s']:.1f} | {entry['tokens_per_s']:.0f} | "
                    f"{entry['peak_rss_mb']} | {entry['accuracy']:.4f} |")
    for entry in result.get("peer_runs", []):
        rows.append(f"| {entry['seed']} | peer, bf16 | {entry['train_s']:.1f} | {entry['tokens_per_s']:.0f} | {entry['peak_rss_mb']} | "
                    f"{entry['accuracy']:.4f} |")
    for seed, value in known.items():
        rows.append(f"| {seed} | peer, reference value | | | | {value:.4f} |")
    return "\n".join(rows)


def render(folder, rows):
    found = [(name, json.loads((folder / f"{name}.json").read_text(encoding="utf8"))) for name in rows if (folder / f"{name}.json").exists()]
    parts = [HEAD]
    machines = []
    for name, result in found:
        about = describe(result["machine"])
        key = about.rsplit("\n", 1)[0]
        if key not in machines:
            machines.append(key)
            parts.append(f"## Machine{'' if len(machines) == 1 else f' {len(machines)}'}, {result['machine']['when']}\n\n{about}\n")
    for name, result in found:
        which = machines.index(describe(result["machine"]).rsplit("\n", 1)[0]) + 1
        busy = f"; other programs took {result['busy_before']:.0%} of the processors" if result["busy_before"] >= 0.1 else ""
        on = f"; machine {which}" if len(machines) > 1 else ""
        parts.append(f"## {result['title']}\n\n`bench/run.py {name}`: {result['rounds']} rounds, {result['seconds']:.0f} s{on}{busy}\n")
        parts.append(table(result))
        if name.startswith("job"):
            parts.append(accuracies(result))
        parts.append("")
    missing = [name for name in rows if name not in dict(found)]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    (ROOT / "bench/RESULTS.md").write_text("\n".join(parts), encoding="utf8")
