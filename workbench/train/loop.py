"""One stage of training, read top to bottom: for each epoch train, evaluate, record, checkpoint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from workbench.loader import Ahead, Batch, PoolBatch, Samples
from workbench.runs.events import Reporter
from workbench.support.errors import RunFailed
from workbench.support.spans import Part, each, span, spanned
from workbench.train.feed import Feed
from workbench.train.guidance import guiding_heads, say_guidance
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.interval import Interval
from workbench.train.learner import Learner
from workbench.train.network import Network
from workbench.train.objectives import Clock
from workbench.train.record import StageRecord, memory_bytes
from workbench.train.schedule import rate_multiplier
from workbench.train.seeding import seed_device, seed_of
from workbench.train.stage import Stage
from workbench.train.state import Best, RunState, Weights
from workbench.train.step import Stepper
from workbench.train.threads import one_thread
from workbench.train.validation import Validation, validate

# Steps between two looks at the losses: the only time that the host waits for the device.
INTERVAL = 20


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a stage talks to beside its network."""

    reporter: Reporter
    stop: StopRequest
    heartbeat: Callable[[], None]
    save: Callable[[Weights], None]
    """Write a checkpoint: these tensors and the run's state."""


class StageRun:
    """A stage under way. `run` trains it from wherever `state.progress` says it stands.

    Args:
        samples: what the stage trains on.
        labelled: how many of them (for the record).
        state: the run's state; `progress`, `micro_batch` and the totals are kept current.
        restored: tensors of a checkpoint taken within this stage, as `save` got them; None to begin.
        offsets: (C,) float32, what the loss adds to the logits; None: nothing.
    """

    def __init__(
        self,
        stage: Stage,
        network: Network,
        samples: Samples,
        labelled: int,
        state: RunState,
        around: Surroundings,
        restored: Weights | None,
        offsets: NDArray[np.float32] | None = None,
    ) -> None:
        self.stage, self.network, self.state, self.around = stage, network, state, around
        self.setup = network.setup
        self.progress = state.progress
        self.learner = learner = Learner(stage, network, samples, offsets)
        self.on_features = learner.on_features
        heads = guiding_heads(self.setup, stage, samples, labelled)
        self.feed = Feed(
            stage,
            network,
            samples,
            heads,
            on_features=learner.on_features,
            is_compiled=state.compilation is not None and state.compilation.is_on,
        )
        self.steps = self.feed.steps
        self.stepper = Stepper(
            learner.module,
            learner.optimizer,
            network.precision,
            self.setup.device,
            around.reporter,
            learner.objective,
            on_features=learner.on_features,
            micro_batch=state.micro_batch,
            forward=self.feed.forward(learner.module),
        )
        self.record = StageRecord(stage, around.reporter, self.setup.device)
        # On a CPU the next batch would only take cores from the step.
        self._prepares_ahead = self.setup.device.type == "cuda" and not self.on_features
        self._saved_at = time.monotonic()
        if restored is not None:
            learner.restore(restored)
        self._announce(len(samples), labelled, heads)

    def _announce(self, samples: int, labelled: int, heads: NDArray[np.float32] | None) -> None:
        """Say what the stage trains on, and in which ways it differs from the plainest."""
        recipe, feed, record = self.setup.recipe, self.feed, self.record
        beside = samples - labelled if feed.pool is None else len(self.setup.split.unlabelled)
        record.begun(labelled, beside, on_features=self.on_features)
        record.online(self.steps, feed.batch, trunk_fixed=self.learner.trunk_fixed)
        if feed.prefix is not None:
            record.prefix(feed.prefix.cut.groups, is_kept=feed.keeps_maps)
        if not self.on_features:
            record.views(recipe.training.view_sides(recipe.data.image_size, self.stage.epochs))
        say_guidance(self.stage, heads, recipe.training.saliency_weight, self.around.reporter)

    def run(self) -> Best:
        """Train to the end of the stage; the network is left with the best epoch's weights.

        Raises:
            Interrupted: after a checkpoint, when a signal has come.
            RunFailed: the loss is not finite.
        """
        try:
            with one_thread() if self.on_features else contextlib.nullcontext():
                return self._run()
        except Interrupted:
            self._checkpoint()
            raise

    def _run(self) -> Best:
        if self.stage.falls_back and self.progress.best is None:
            self._evaluate(epoch=0)
        for epoch in range(self.progress.epoch + 1, self.stage.epochs + 1):
            if self._stopped_early():
                break
            with span(Part.OTHER, f"{self.stage.label} epoch {epoch}"):
                self._train_epoch(epoch)
            self._evaluate(epoch)
            self._checkpoint_if_due()
        best = self.progress.best
        assert best is not None  # every stage has at least one epoch
        self.network.load(best.weights)
        return best

    def _train_epoch(self, epoch: int) -> None:
        self.learner.begin_epoch(epoch)
        batches = self.feed.epoch(epoch, self.progress.step)
        if self._prepares_ahead:
            with contextlib.closing(Ahead(batches)) as ahead:
                self._train_on(epoch, each(Part.WAITING, ahead))
        else:
            self._train_on(epoch, each(Part.DATA, batches))

    def _train_on(self, epoch: int, batches: Iterator[tuple[Batch, PoolBatch | None]]) -> None:
        """Take the epoch's steps from where progress stands."""
        interval = Interval()
        of_run = self.stage.first_epoch + epoch
        seed = self.setup.recipe.seed
        for batch, unlabelled in batches:
            step = self.progress.step
            total_step = (epoch - 1) * self.steps + step
            # Dropout masks are a function of the step, like order and augmentation: resuming needs no
            # generator state.
            if not self.on_features or self.stage.dropout:
                seed_device(seed_of(seed, of_run, step), self.setup.device)
            rate = rate_multiplier(self.stage.optimizer, total_step, self.steps, self.stage.epochs)
            self.learner.set_rates(rate)
            stepped = self.stepper.step(batch, unlabelled, Clock(total_step, self.steps, rate))
            self.learner.follow()
            interval.add(stepped, batch, unlabelled)
            self.progress.step = step + 1
            if len(interval) == INTERVAL or step + 1 == self.steps or self._due() or self.around.stop:
                self._settle(epoch, total_step + 1, interval)
                interval = Interval()
                self._checkpoint_if_due()
                self.around.stop.raise_if_set()
            if not self.on_features:
                self.around.reporter.progress(f"{self.stage.label} epoch {epoch}", step + 1, self.steps)

    def _settle(self, epoch: int, steps_done: int, interval: Interval) -> None:
        """Wait for the device, count the interval's steps, and stop the run where a loss is not finite."""
        seen = interval.look()
        for step, (loss, taken) in enumerate(
            zip(seen.losses, seen.steps, strict=True), start=steps_done - len(seen.steps) + 1
        ):
            if not np.isfinite(loss):
                self._fail_on_loss(loss, step, taken.labelled)
        seen.count_into(self.progress, self.setup.labels)
        seconds = interval.seconds
        self.progress.seconds += seconds
        self.state.images_trained += seen.images
        self.state.training_seconds += seconds
        self.around.heartbeat()
        self.record.steps(epoch, steps_done, seen.loss, self.learner.rate, seen.images, seconds)

    def _fail_on_loss(self, loss: float, step: int, positions: NDArray[np.int64]) -> None:
        ids = [self.setup.catalogue.records[p].id for p in positions[:8]]
        more = f" and {len(positions) - 8} more" if len(positions) > 8 else ""
        raise RunFailed(
            f"the loss is {loss} at step {step} of {self.stage.label}, images {', '.join(ids)}{more}",
            advice=self._calmer(),
        )

    def _calmer(self) -> str:
        """What to do about numbers that run away."""
        advice = f"lower optimizer.learning_rate (now {self.learner.rate:g}), add optimizer.warmup_epochs"
        return advice + (
            ', or set training.precision = "fp32"' if self.network.precision.training != "fp32" else ""
        )

    @spanned(Part.EVALUATION)
    def _evaluate(self, epoch: int) -> None:
        """Validate, record the epoch, and keep its weights if they are the best so far.

        Raises:
            RunFailed: the validation loss is not finite: the last step may have spoilt weights whose loss was
            sound.
        """
        started = time.monotonic()
        module = self.learner.evaluated(epoch)
        task = f"{self.stage.label} validation"
        seen = validate(self.network, module, trunk_fixed=self.learner.trunk_fixed, task=task)
        if not np.isfinite(seen.loss):
            raise RunFailed(
                f"the validation loss is {seen.loss} after epoch {epoch} of {self.stage.label}",
                advice=self._calmer(),
            )
        self._keep_if_best(epoch, module, seen)
        seconds = time.monotonic() - started
        self._record(epoch, seen, seconds)
        self.progress.end_epoch(epoch)
        self.state.training_seconds += seconds
        self.state.peak_memory_bytes = max(self.state.peak_memory_bytes, memory_bytes(self.setup.device))
        self.around.heartbeat()

    def _keep_if_best(self, epoch: int, module: nn.Module, seen: Validation) -> None:
        best = self.progress.best
        if best is not None and best.better_than(seen.accuracy, seen.loss):
            self.progress.stale_epochs += 1
            return
        weights = self.learner.weights_of(module)
        self.progress.best = Best(self.stage.name, self.stage.round, epoch, seen.accuracy, seen.loss, weights)
        self.progress.stale_epochs = 0

    def _record(self, epoch: int, seen: Validation, seconds: float) -> None:
        """Write down what the epoch came to, before the next one is counted; 0 trains nothing."""
        progress, thresholds = self.progress, self.learner.objective.thresholds
        if epoch:
            self.record.trained(epoch, progress, self.learner.rate)
        if progress.pool_images:
            self.record.pool(epoch, progress, [] if thresholds is None else thresholds.tolist())
        self.record.validated(epoch, seen, self.learner.rate, seconds)

    def _stopped_early(self) -> bool:
        patience = self.setup.recipe.training.early_stop
        if not patience or self.progress.stale_epochs < patience:
            return False
        self.record.stopped_early(patience)
        return True

    def _due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.setup.recipe.training.checkpoint_seconds

    def _checkpoint_if_due(self) -> None:
        if self._due():
            self._checkpoint()

    @spanned(Part.CHECKPOINT)
    def _checkpoint(self) -> None:
        self.state.micro_batch = self.stepper.micro_batch
        self.around.save(self.learner.tensors())
        self._saved_at = time.monotonic()
