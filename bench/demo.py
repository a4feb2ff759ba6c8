"""`kernos demo` again and again: how long it takes, how soon a drift leads to a new live version, how many requests fail.

    python bench/demo.py [--rounds 5]

Each demo has a fresh home: a kernel, the diabetes data, a build with 8 trials, 2,000 requests, patients who change, a
retraining nobody asked for, a model refused by the gate, a model taken back from the canary, and the journal's check. The
figures are the demo's own verdict; the wall time is the command's. Odd and even demos are A and B: the noise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from typing import Any

from home import KERNOS
from machine import Arguments, Goal, fingerprint, middle, noise, show, show_goals, versions, write

LIMIT_S = 300.0
CAVEATS = [
    "Drift to live counts from the first shifted patient; at 120 patients a second, rows and not compute decide most of it.",
    "A demo that fails stays among the samples, with its exit code.",
]
Said = dict[str, Any]


def demo() -> Said:
    with tempfile.TemporaryDirectory(prefix="kernos-bench-") as home:
        begin_s = time.perf_counter()
        done = subprocess.run(
            [*KERNOS, "demo", "--json", "--home", home],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        wall_s = round(time.perf_counter() - begin_s, 2)
    try:
        said: Said = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise SystemExit(f"The demo said nothing:\n{done.stdout}{done.stderr}") from None
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return {"exit_code": done.returncode, "wall_s": wall_s, **said}


def main() -> int:
    given = Arguments(__doc__, "demo", rounds=5).parse_args()
    machine = fingerprint()
    samples = [demo() for _ in range(given.rounds)]
    names = [
        "exit_code",
        "seconds",
        "drift_to_live_seconds",
        "requests",
        "failed_requests",
        "rescued_requests",
    ]
    show(
        ["demo", *names], [(number, *(one[name] for name in names)) for number, one in enumerate(samples, 1)]
    )
    seconds = [one["seconds"] for one in samples]
    to_live = [one["drift_to_live_seconds"] for one in samples]
    failed = sum(one["failed_requests"] for one in samples)
    broken = sum(one["exit_code"] != 0 for one in samples)
    goals = [
        Goal("the demo, longest", "<= 90 s", f"{max(seconds):.0f} s", max(seconds) <= 90),
        Goal("drift to live, longest", "<= 60 s", f"{max(to_live):.0f} s", max(to_live) <= 60),
        Goal("failed requests, all demos", "0", str(failed), failed == 0),
        Goal("demos that failed", "0", str(broken), broken == 0),
    ]
    show_goals(goals)
    write(
        given.out,
        {
            "versions": versions(["kernos"]),
            "caveats": CAVEATS,
            "noise": noise(seconds[::2], seconds[1::2] or seconds),
            "goals": [asdict(goal) for goal in goals],
            "median": {"seconds": middle(seconds), "drift_to_live_seconds": middle(to_live)},
            "demos": samples,
        },
        machine=machine,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
