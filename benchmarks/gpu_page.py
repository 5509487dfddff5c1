"""All that only a GPU can show, on one page: `make bench-gpu`.

    python -m benchmarks.gpu_page [--out build/bench-gpu] [--minutes 8] [--only ROW …] [--tiny]

Each row is a process of its own with a budget of seconds; one that fails, or takes longer, is told with its
last words, and the others go on. Nothing is fetched. Leaves GPU.md and GPU.json.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.gpu_rows import ROWS
from benchmarks.machine import ROOT, describe
from benchmarks.options import parser_of
from benchmarks.report import ROW_HEADER, rows_of, table_of

SECONDS = {"bare-resnet152": 45, "bare-vit_b_16": 45, "references": 45, "timm": 45, "kill-resume": 45}
"""What a row may take, where it is not `USUAL`."""
USUAL = 35
MINUTES = 8.0
"""All of them fit."""
LAST_CHARACTERS = 1200
State = Literal["done", "not here", "failed", "too long", "no time left"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A row."""

    row: str
    state: State
    seconds: float
    said: str = ""
    """Its last words, where it failed; what it did not measure, where it could not."""


def main() -> None:
    """Run the rows and write the page; exit code 1 if one failed."""
    parser = parser_of(__doc__)
    parser.set_defaults(out=Path("build") / "bench-gpu")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="begin nothing that might end later")
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), default=list(ROWS))
    parser.add_argument(
        "--tiny", action="store_true", help="smallest sizes, any time; figures that mean nothing"
    )
    options = parser.parse_args()
    out: Path = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    passed_on = ["--device", options.device, "--out", str(out), *(["--tiny"] if options.tiny else [])]
    if options.data_dir is not None:
        passed_on += ["--data-dir", str(options.data_dir.absolute())]
    end, ended = time.monotonic() + 60 * options.minutes, []
    for row in options.only:
        ended.append(run(row, passed_on, out, end - time.monotonic()))
        print(f"{row}: {ended[-1].state} in {ended[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    write(out, ended)
    raise SystemExit(1 if any(one.state in ("failed", "too long") for one in ended) else 0)


def run(row: str, arguments: list[str], out: Path, left: float) -> Ended:
    """One row in its process, which is ended with all that it started once its seconds are over."""
    found = out / f"{row}.json"
    budget = left if "--tiny" in arguments else min(SECONDS.get(row, USUAL), left)
    found.unlink(missing_ok=True)
    if left < 1:
        return Ended(row, "no time left", 0.0)
    command, started = command_of(row, arguments), time.monotonic()
    log = out / f"{row}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
        try:
            code: int | None = process.wait(timeout=budget)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    seconds = time.monotonic() - started
    if code is None:
        return Ended(row, "too long", seconds, f"over its {budget:.0f} s")
    if code:
        said = log.read_text(encoding="utf-8", errors="replace")
        return Ended(row, "failed", seconds, said[-LAST_CHARACTERS:])
    told = json.loads(found.read_text(encoding="utf-8"))
    if told["not_measured"] and not told["rows"]:
        return Ended(row, "not here", seconds, "; ".join(told["not_measured"]))
    return Ended(row, "done", seconds)


def command_of(row: str, arguments: list[str]) -> list[str]:
    """What measures it."""
    return [sys.executable, "-m", "benchmarks.gpu_rows", row, *arguments]


def write(out: Path, ended: list[Ended]) -> None:
    """GPU.md and GPU.json; prints the page."""
    machine = describe()
    done = [one.row for one in ended if one.state in ("done", "not here")]
    reports: dict[str, Any] = {row: json.loads((out / f"{row}.json").read_text()) for row in done}
    last = [one.said.strip().rpartition("\n")[2] for one in ended]
    states = [[one.row, one.state, f"{one.seconds:.0f}", said] for one, said in zip(ended, last, strict=True)]
    parts = ["# On this GPU", "\n".join(f"- {line}" for line in machine.lines())]
    parts.append(table_of(["row", "state", "seconds", "said"], states))
    parts.append(table_of(ROW_HEADER, (row.cells() for row in rows_of(out, done))))
    parts += [(out / f"{row}.md").read_text(encoding="utf-8").strip() for row in done]
    failed = [one for one in ended if one.row not in done]
    parts += [f"## {one.row}: {one.state}\n\n```\n{one.said.strip()}\n```" for one in failed]
    (out / "GPU.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    content = {"machine": asdict(machine), "rows": [asdict(one) for one in ended], "reports": reports}
    (out / "GPU.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    print("\n\n".join(parts), flush=True)


if __name__ == "__main__":
    main()
