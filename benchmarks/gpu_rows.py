"""The rows of `make bench-gpu`, one a call: `python -m benchmarks.gpu_rows ROW [--tiny] [--out DIR]`.

Random weights and drawn pictures, or the pets where they are: nothing is fetched. `--tiny` is the smallest
form, for any machine; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.bare import BareStep
from benchmarks.contest import Terms, hold
from benchmarks.gpu import SWEEP, idle
from benchmarks.machine import ROOT
from benchmarks.options import Common, common_of, parser_of, report_of, workshop
from benchmarks.ours import PETBENCH, Rounds
from benchmarks.peers.loop_side import LoopSide
from benchmarks.pictures import draw_folder
from benchmarks.report import Report, Row, Table
from benchmarks.throughput import AIM, MUST
from benchmarks.turns import Spread, ratios
from workbench.compute import accelerator_of, computes_in
from workbench.recipe import Recipe
from workbench.recipe.plan import passes, plan
from workbench.recipe.sweep import load_sweep
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.results import read_results

PETS_TRAINED = 2944
"""The paper's 80 %."""
_FEW = "import sys, torch; torch.cuda.set_per_process_memory_fraction({share}); "
_PETBENCH = "from workbench.cli.entry import main; sys.argv = ['petbench', *{words}]; main()"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a row is told."""

    common: Common
    tiny: bool

    def terms(self, backbone: str, batch: int = 64) -> Terms:
        """Steps enough to tell, or two of them."""
        if self.tiny:
            return Terms(backbone, 64, 16, 8, 8, random_weights=True)
        return Terms(backbone, 224, 16 * batch, batch, batch, random_weights=True)

    @property
    def is_gpu(self) -> bool:
        """Whether there is one to measure."""
        return accelerator_of(self.common.device).runs_ahead


def bare(backbone: str) -> Callable[[Ground, Report], None]:
    """petbench's images/s over the bare step's, in each arithmetic that the device computes in."""

    def row(ground: Ground, report: Report) -> None:
        table = Table(
            f"{backbone} beside its bare step", ["arithmetic", "petbench, images/s", "bare", "share"]
        )
        report.tables.append(table)
        for dtype in ("fp32",) if ground.tiny else ("bf16", "fp16", "fp32"):
            if not computes_in(dtype, ground.common.device):  # type: ignore[arg-type]
                report.not_measured.append(f"{backbone} in {dtype}: the device has none of its own")
                continue
            terms = replace(ground.terms(backbone), precision=dtype)  # type: ignore[arg-type]
            with workshop() as folder:
                contest = hold(terms, ground.common, folder)
                found = Rounds(1 if ground.tiny else 3).take(contest, [BareStep(contest)])
            ours, theirs = ([one.training.rate for one in found[side]] for side in (PETBENCH, BareStep.name))
            share = ratios(ours, theirs)
            table.rows.append([dtype, Spread.of(ours).text(0), Spread.of(theirs).text(0), share.text(3)])
            measure = f"throughput over the bare step, {terms.label}, {dtype}"
            report.rows.append(Row(measure, share, MUST, AIM, "higher", f"batch {terms.batch_size}"))

    return row


def against(kind: str) -> Callable[[Ground, Report], None]:
    """A whole epoch with validation of another tool's pipeline, a worker a core, over petbench's."""

    def row(ground: Ground, report: Report) -> None:
        terms = ground.terms("resnet18" if ground.tiny else "resnet50")
        with workshop() as folder:
            contest = hold(terms, ground.common, folder)
            side = LoopSide(kind, contest.start, folder)
            try:
                found = Rounds(1 if ground.tiny else 2).take(contest, [side])
            finally:
                side.close()
        gain = ratios(*([one.seconds for one in found[name]] for name in (side.name, PETBENCH)))
        measure = f"epoch, {terms.label}: {side.name} / petbench"
        report.rows.append(Row(measure, gain, 1.0, 3.0, "higher", "seconds with validation"))
        report.notes.append(contest.about)

    return row


def gpu_idle(ground: Ground, report: Report) -> None:
    """How long the GPU has nothing to do."""
    if not ground.is_gpu:
        report.not_measured.append("GPU idle share: no GPU here")
        return
    for backbone in ("resnet18", "resnet152"):
        with workshop() as folder:
            idle(hold(ground.terms(backbone), ground.common, folder), report)


def table1(ground: Ground, report: Report) -> None:
    """Table 1's wall time, from the rate of its own batches of 4 and the images that its plan trains on."""
    terms = replace(ground.terms("resnet18" if ground.tiny else "resnet152", 4), batch_size=4)
    with workshop() as folder:
        found = Rounds(1).take(hold(terms, ground.common, folder), [])[PETBENCH]
    rate = found[0].training.rate
    images = sum(trained_on(run.recipe) for run in load_sweep(SWEEP).runs)
    hours, at = images / rate / 3600, f"{rate:.0f} images/s ({terms.label}, batch 4, all layers)"
    report.notes.append(
        f"Table 1 would train for {hours:.1f} hours on one such device: {images:,.0f} images in the plans of "
        f"its runs at {at}; extrapolated from one epoch; validation and the store come on top"
    )


def trained_on(recipe: Recipe) -> float:
    """Images that a run of the sweep takes steps on, of the pets."""
    assert recipe.pseudo_label is not None
    labelled = round((recipe.pseudo_label.labelled_fraction or 0) * PETS_TRAINED)
    return passes(plan(recipe), labelled, PETS_TRAINED - labelled).counting


@dataclass(frozen=True, slots=True)
class Drill:
    """A small recipe on drawn pictures, and petbench as a command."""

    folder: Path
    device: str

    @classmethod
    def made(cls, folder: Path, ground: Ground, *knobs: str) -> Drill:
        """With its pictures and its recipe."""
        side, count = (32, 24) if ground.tiny else (224, 512)
        draw_folder(folder / "pictures", count, 4, (2 * side, 2 * side))
        tables: dict[str, list[str]] = {
            "data": ['dataset = "folder"', f'root = "{folder / "pictures"}"', f"image_size = {side}"],
            "model": ['backbone = "resnet18"', 'weights = "none"'],
            "training": ["epochs = 3", "deterministic = true", "checkpoint_seconds = 0", *knobs],
        }
        head = 'schema = 1\nname = "drill"\n[finetune]\nlayers = "all"\n'
        text = head + "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in tables.items())
        (folder / "drill.toml").write_text(text, encoding="utf-8")
        return cls(folder, str(ground.common.device))

    def begin(self, runs: str, *words: str, share: float | None = None) -> subprocess.Popen[bytes]:
        """`petbench WORDS`, with so large a share of the GPU's memory."""
        said = [*words, "--runs-dir", str(self.folder / runs), "--device", self.device]
        code = ("import sys; " if share is None else _FEW.format(share=share)) + _PETBENCH.format(words=said)
        environment = {**os.environ, "PETBENCH_CACHE": str(self.folder / "cache")}
        log = (self.folder / f"{runs}.log").open("ab")
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=log, stderr=log
        )

    def run(self, runs: str, *words: str, share: float | None = None) -> RunDirectory:
        """Its only run, done.

        Raises:
            RuntimeError: it failed, with the last that it said.
        """
        if code := self.begin(runs, *words, share=share).wait():
            raise RuntimeError(f"exit code {code}: " + (self.folder / f"{runs}.log").read_text()[-1500:])
        return self.only(runs)

    def only(self, runs: str) -> RunDirectory:
        """The run in that directory."""
        return run_directories(self.folder / runs)[0]

    @property
    def recipe(self) -> str:
        """Its file."""
        return str(self.folder / "drill.toml")


def out_of_memory(ground: Ground, report: Report) -> None:
    """A batch that does not fit is halved, and the run ends well."""
    if not ground.is_gpu:
        report.not_measured.append("out-of-memory drill: no GPU whose memory could end")
        return
    total = torch.cuda.get_device_properties(ground.common.device).total_memory
    with workshop() as folder:
        drill = Drill.made(folder, ground, "batch_size = 256", 'precision = "fp32"')
        log = drill.run("small", "run", drill.recipe, share=4 * 2**30 / total).log.read_text(encoding="utf-8")
    halved = [line for line in log.splitlines() if "out of device memory" in line]
    report.notes.append(f"Out of memory with 4 GiB: {len(halved)} times made do with less, and finished")
    report.notes += [f"- {line.strip()}" for line in halved[:6]]
    if not halved:
        raise RuntimeError("nothing was out of memory: the drill is too small for this card")


def kill_and_resume(ground: Ground, report: Report) -> None:
    """Killed -9 after its first checkpoint and resumed, a deterministic run ends in the same weights."""
    with workshop() as folder:
        drill = Drill.made(folder, ground, "batch_size = 8")
        whole = read_results(drill.run("whole", "run", drill.recipe).results).weights_sha256
        child = drill.begin("killed", "run", drill.recipe)
        while child.poll() is None and not any((folder / "killed").glob("*/checkpoint/*.sha256")):
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        ended = child.wait()
        resumed = (
            read_results(drill.run("killed", "resume", "latest").results).weights_sha256 if ended else whole
        )
    if resumed != whole:
        raise RuntimeError(f"other weights after kill -9 and resume: {resumed[:12]}, not {whole[:12]}")
    report.notes.append(
        f"Killed after its first checkpoint ({ended}), resumed: the same weights, {whole[:12]}"
    )


def ranks(ground: Ground, report: Report) -> None:
    """Images/s on all GPUs over those on one, by `petbench run --devices N`."""
    count = accelerator_of(ground.common.device).count()
    if not ground.is_gpu or count < 2:
        report.not_measured.append(f"DDP: {count if ground.is_gpu else 'no'} GPU here, two are wanted")
        return
    with workshop() as folder:
        drill = replace(Drill.made(folder, ground, "batch_size = 128"), device="cuda")
        runs = [drill.run(f"of{n}", "run", drill.recipe, "--devices", str(n)) for n in (1, count)]
        rates = [read_results(run.results).images_per_second for run in runs]
    gain, measure = Spread.of([rates[1] / rates[0]]), f"images/s of {count} GPUs over one"
    report.rows.append(Row(measure, gain, 0.7 * count, 0.9 * count, "higher", "ResNet-18"))


BACKBONES = ("resnet18", "resnet50", "resnet152", "vit_b_16", "efficientnet_lite0")
ROWS: dict[str, Callable[[Ground, Report], None]] = {
    **{f"bare-{name}": bare(name) for name in BACKBONES},
    "idle": gpu_idle,
    "references": against("plain"),
    "timm": against("timm"),
    "out-of-memory": out_of_memory,
    "kill-resume": kill_and_resume,
    "table1": table1,
    "ranks": ranks,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """One row."""
    parser: argparse.ArgumentParser = parser_of(__doc__)
    parser.add_argument("row", choices=tuple(ROWS))
    parser.add_argument("--tiny", action="store_true", help="the smallest form; its figures mean nothing")
    options = parser.parse_args(arguments)
    report = report_of("gpu_rows")
    report.name = options.row
    ground = Ground(common_of(options), options.tiny)
    ROWS[options.row](ground, report)
    peak = accelerator_of(ground.common.device).peak_bytes(ground.common.device)
    report.notes.append(f"Most memory of this process on the device: {peak / 2**30:.2f} GiB")
    report.finish(options.out)


if __name__ == "__main__":
    main()
