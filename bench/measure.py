"""Running both sides in turn, and what the machine is. No third-party packages."""
import contextlib
import fcntl
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Saves PyTorch 9-18 % of its time in page faults: the fair peer has it.
TUNED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.top_pad=268435456"
THREADS = os.cpu_count() or 1


class Setting:
    """Where things are and how often to measure."""

    def __init__(self, tunesmith, peers, rounds, turns=None):
        self.tunesmith, self.peers, self.rounds, self.turns = str(tunesmith), pathlib.Path(peers), rounds, turns

    def gguf(self, kind):
        return str(self.peers / "gguf" / f"{kind}.gguf")


@contextlib.contextmanager
def turn(setting):
    """Each measurement waits for the lock that other work on this machine takes too (`flock FILE make`), if there is one."""
    if not setting.turns:
        yield
        return
    with open(setting.turns, "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        wait_until_idle(10)
        yield


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **more):
    """Runs to the end; its standard output. What it said is shown if it failed."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nfailed with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def ours(setting, *args):
    """One of our commands that prints one JSON object."""
    return json.loads(run([setting.tunesmith, *args, "--json", "--quiet"]))


class Torch:
    """A PyTorch process that waits for orders (peers/torch_train_step.py)."""

    def __init__(self, setting, *args):
        command = [setting.peers / "venv/bin/python", ROOT / "bench/peers/torch_train_step.py", *args, "--threads", str(THREADS)]
        env = dict(os.environ, GLIBC_TUNABLES=TUNED)
        with turn(setting):
            self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True, env=env)
            self.about = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended: {self.process.args}")
        return json.loads(line)

    def steps(self, n):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        return self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def alternate(setting, peer, variants):
    """`peer()` and each of `variants` in turn, `rounds` times: the lists of what they gave."""
    theirs, our = [], {name: [] for name in variants}
    for number in range(setting.rounds):
        # One turn for the pair: both sides see the same moment of the machine.
        with turn(setting):
            theirs.append(peer())
            for name, variant in variants.items():
                our[name].append(variant())
        say(f"    round {number + 1} of {setting.rounds}")
    return theirs, our


def wait_until_idle(seconds=60, share=0.1):
    """Waits for other programs to finish; the share of the processors that they still take."""
    begun = time.monotonic()
    while True:
        busy = busy_share()
        if busy < share or time.monotonic() - begun > seconds:
            if busy >= share:
                say(f"    other programs take {busy:.0%} of the processors: these numbers are not to be quoted")
            return round(busy, 3)


def busy_share():
    def ticks():
        with open("/proc/stat", encoding="ascii") as f:
            fields = [int(x) for x in f.readline().split()[1:]]
        return sum(fields), fields[3] + fields[4]

    (all_before, idle_before) = ticks()
    time.sleep(1.0)
    (all_after, idle_after) = ticks()
    return 1.0 - (idle_after - idle_before) / max(all_after - all_before, 1)


def median(values):
    return statistics.median(values)


def machine(setting):
    """What stands beside every number."""
    def line(*command):
        try:
            return run(command).strip().splitlines()[0]
        except (OSError, SystemExit, IndexError):
            return "unknown"

    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf8") as f:
        about = dict(part.split(":", 1) for part in f.read().split("\n\n")[0].splitlines() if ":" in part)
        about = {k.strip(): v.strip() for k, v in about.items()}
        cpu = f"{about.get('model name')} (family {about.get('cpu family')}, model {about.get('model')})"
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(f.readline().split()[1]) // 1024
    python = setting.peers / "venv/bin/python"
    wanted = "torch transformers peft accelerate"
    versions = "import importlib.metadata as m\nprint(', '.join(n + ' ' + m.version(n) for n in '%s'.split()))" % wanted
    llama = setting.peers / "llama.cpp-build/bin/llama-bench"
    changed = run(["git", "-C", ROOT, "status", "--porcelain", "--", "crates", "Cargo.lock"]).strip()
    return {
        "cpu": cpu,
        "cores": THREADS,
        "memory_mb": memory,
        "os": f"{platform.system()} {platform.release()}, {line('sh', '-c', '. /etc/os-release; echo $PRETTY_NAME')}",
        "rustc": line("rustc", "--version"),
        "cc": line("cc", "--version"),
        "tunesmith": line(setting.tunesmith, "--version") + " at " + line("git", "-C", ROOT, "rev-parse", "--short", "HEAD")
        + (" with changes" if changed else ""),
        "peers": line(python, "-c", versions),
        "llama.cpp": line("sh", "-c", f"{llama} --version 2>&1"),
        "measured": json.loads(run([setting.tunesmith, "doctor", "--json"])).get("measured"),
        "when": time.strftime("%Y-%m-%d"),
    }
