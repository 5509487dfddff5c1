"""What a stage says of itself while it trains: steps, epochs, confusions, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from workbench.compute import accelerator_of
from workbench.recipe.fields import unmet_condition
from workbench.recipe.plan import Stage
from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Message,
    PoolTaught,
    RanksSeen,
    Reporter,
    Resumed,
    StageStarted,
    StepDone,
)
from workbench.train.evaluation import Validation
from workbench.train.state import StageProgress

MOSTLY = 0.5
"""Share of its first weights from which on an average says little of what was learned."""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """Writes a stage's events; knows the stage so that the loop need not repeat it."""

    stage: Stage
    reporter: Reporter
    device: torch.device

    def begun(self, labelled: int, beside: int, *, on_features: bool) -> None:
        """The stage trains on so many labelled images, and others `beside` them."""
        stage = self.stage
        self.reporter.event(
            StageStarted(stage.name, stage.round, stage.epochs, labelled, beside, on_features)
        )

    def skipped(self, steps: int, of: int, factor: float) -> None:
        """So many steps changed nothing; the loss is scaled by `factor` from now on."""
        self._say(
            f"{steps} of {of} steps were left out, as gradients overflowed in fp16: loss scale {factor:g}"
        )

    def resumed(self, epochs: int, steps: int) -> None:
        """An attempt goes on with the stage where so many epochs and steps of it are done."""
        self.reporter.event(Resumed(self.stage.name, self.stage.round, epochs, steps))

    def online(
        self, steps: int, batch_size: int, *, trunk_fixed: bool, keeps_maps: bool, pace: Mapping[str, float]
    ) -> None:
        """What an epoch of an online student is made of; nothing for another stage."""
        knobs = self.stage.online
        if knobs is None:
            return
        if keeps_maps:
            views = f"{knobs.views} views of either kind an image come in turn, as the frozen groups see them"
        else:
            cost = ", though it is frozen: pseudo_label.views keeps some" if trunk_fixed else ""
            views = f"their views are drawn anew and cannot be cached, so each goes through the trunk{cost}"
        self._say(
            f"{knobs.strategy}, {steps} steps an epoch of {batch_size} labelled and "
            f"{knobs.unlabelled_ratio * batch_size} unlabelled images; {views}"
        )
        if pace:
            counts = {name: value for name, value in pace.items() if unmet_condition(knobs, name) is None}
            told = ", ".join(f"{name} {value:.4g}" for name, value in counts.items())
            self._say(f"{told}: by its {steps * self.stage.epochs} steps")

    def slow_average(self, steps: int) -> None:
        """Warn where the average that is evaluated is still mostly what the stage's `steps` began with."""
        ema = self.stage.ema
        if not ema or ema ** max(0, steps - 1) <= MOSTLY:
            return
        text = (
            f"{self.stage.label}: ema = {ema:g} averages over {1 / (1 - ema):.0f} steps and this stage has "
            f"{steps}: what is evaluated stays near where it began"
        )
        self.reporter.event(Message("warning", text))

    def views(self, sides: dict[int, int]) -> None:
        """How training views grow: {epoch: pixels a side from then on}; nothing where they do not."""
        (_, first), *later = sides.items()
        if later:
            grown = ", ".join(f"{side} from epoch {epoch}" for epoch, side in later)
            self._say(f"training views of {first} pixels a side, {grown}")

    def prefix(self, groups: tuple[str, ...], *, is_kept: bool) -> None:
        """Which groups never change, and whether their work is done once an image."""
        how = "computed once an image" if is_kept else "computed without a backward pass"
        self._say(f"{', '.join(groups)} never change and are {how}")

    def stopped_early(self, patience: int) -> None:
        """So many epochs were no better than the best."""
        self._say(f"no better validation accuracy for {patience} epochs; stopping early")

    def steps(self, epoch: int, step: int, loss: float, rate: float, images: int, seconds: float) -> None:
        """An interval of steps has ended at `step`, counted from 1 through the stage; `loss` is its mean."""
        speed = images / max(1e-9, seconds)
        memory = memory_bytes(self.device)
        self.reporter.event(
            StepDone(self.stage.name, self.stage.round, epoch, step, loss, rate, speed, memory)
        )

    def trained(self, epoch: int, progress: StageProgress, rate: float) -> None:
        """The training part of an epoch is over; its sums stand in `progress`."""
        images = max(1, progress.images)
        self._epoch(
            epoch,
            "train",
            loss=progress.loss_sum / images,
            accuracy=progress.right_sum / images,
            rate=rate,
            images=progress.images,
            speed=(progress.images + progress.pool_images) / max(1e-9, progress.seconds),
            seconds=progress.seconds,
        )

    def pool(self, epoch: int, progress: StageProgress, thresholds: list[float]) -> None:
        """What the epoch's pseudo-labels were worth; the truth scores them only, where it is known."""
        known = progress.pool_images - progress.pool_unknown
        self.reporter.event(
            PoolTaught(
                self.stage.name,
                self.stage.round,
                epoch,
                images=progress.pool_images,
                used=progress.pool_weight / progress.pool_images,
                accuracy=progress.accuracy_by_weight,
                pool_accuracy=progress.pool_right / known if known else None,
                thresholds=[round(threshold, 6) for threshold in thresholds],
            )
        )

    def ranks(self, epoch: int, each: Sequence[tuple[float, int]]) -> None:
        """(images a second, bytes of memory) of every process in the epoch, by rank."""
        speeds, memory = [round(speed, 3) for speed, _ in each], [used for _, used in each]
        self.reporter.event(RanksSeen(self.stage.name, self.stage.round, epoch, speeds, memory))

    def validated(self, epoch: int, seen: Validation, rate: float, seconds: float) -> None:
        """The epoch is validated."""
        images = sum(map(sum, seen.confusion))  # seen.images are fewer where they are weighted
        self._epoch(
            epoch,
            "val",
            loss=seen.loss,
            accuracy=seen.accuracy,
            rate=rate,
            images=seen.images,
            speed=images / max(1e-9, seconds),
            seconds=seconds,
        )
        self.reporter.event(ConfusionSeen(self.stage.name, self.stage.round, epoch, seen.confusion))

    def _say(self, text: str) -> None:
        self.reporter.event(Message("info", f"{self.stage.label}: {text}"))

    def _epoch(
        self,
        epoch: int,
        split: Literal["train", "val"],
        *,
        loss: float,
        accuracy: float,
        rate: float,
        images: int,
        speed: float,
        seconds: float,
    ) -> None:
        self.reporter.event(
            EpochDone(
                self.stage.name,
                self.stage.round,
                epoch,
                split,
                loss,
                accuracy,
                learning_rate=rate,
                images_per_second=speed,
                seconds=seconds,
                images=images,
            )
        )


def memory_bytes(device: torch.device) -> int:
    """The most memory used so far: a GPU's by torch's allocator, else the process's resident memory."""
    return accelerator_of(device).peak_bytes(device)
