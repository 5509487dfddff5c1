"""One stage of training, read top to bottom: for each epoch train, evaluate, record, checkpoint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workbench.compute import accelerator_of, runs_ahead
from workbench.loader import Ahead, Batch, PoolBatch, Samples, head_boxes
from workbench.recipe.plan import Stage
from workbench.runs.events import Message, Reporter
from workbench.support.errors import RunFailed
from workbench.support.spans import Part, each, span, spanned
from workbench.train.evaluation import Validation, validate, validation_of
from workbench.train.feed import Feed
from workbench.train.host import one_thread, seed_device, seed_of
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.learner import Learner
from workbench.train.loss_scale import LEAST
from workbench.train.memory import NoRoom, drawn, others_hold
from workbench.train.network import Network
from workbench.train.objectives import Clock
from workbench.train.optim import rate_multiplier
from workbench.train.out_of_fold import Fold, choosing_labels
from workbench.train.record import StageRecord, memory_bytes
from workbench.train.setup import Setup
from workbench.train.state import Best, RunState, StageProgress, Weights
from workbench.train.step import Stepped, Stepper
from workbench.train.world import World

NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that the host has not looked at yet."""

    stepped: Stepped
    labelled: NDArray[np.int64]
    """Positions of its labelled images."""
    pool: NDArray[np.int64]
    """And of its unlabelled ones."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an interval's steps came to."""

    steps: list[Taken]
    losses: list[float]
    right: float
    """How many first choices match the labelled targets'."""
    skipped: list[bool]
    """Which steps changed nothing, as a scaled gradient overflowed."""
    pseudo: list[tuple[NDArray[np.int64], NDArray[np.float64]]]
    """(U,) labels and weights that each step's unlabelled images were taught; empty where none are."""

    @property
    def images(self) -> int:
        """Labelled and unlabelled ones."""
        return sum(len(step.labelled) + len(step.pool) for step in self.steps)

    @property
    def counted(self) -> list[tuple[float, int]]:
        """(loss, labelled images) of steps whose loss is a number: that of one left out may not be."""
        each = [(loss, len(step.labelled)) for loss, step in zip(self.losses, self.steps, strict=True)]
        return [(loss, images) for loss, images in each if np.isfinite(loss)]

    @property
    def loss(self) -> float | None:
        """The steps' mean; None where none has one."""
        losses = [loss for loss, _ in self.counted]
        return sum(losses) / len(losses) if losses else None

    def count_into(self, progress: StageProgress, truth: NDArray[np.int64]) -> None:
        """Add the interval to its epoch.

        Args:
            truth: (N,) of all images; of the pool's it is read here alone, to score.
        """
        counted = self.counted
        progress.count([loss for loss, _ in counted], [images for _, images in counted], self.right)
        for step, (labels, weights) in zip(self.steps, self.pseudo, strict=False):
            progress.count_pool(labels, weights, truth[step.pool])


class Interval:
    """Steps one after another since the last look."""

    def __init__(self) -> None:
        self._steps: list[Taken] = []
        self._started = time.monotonic()

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def seconds(self) -> float:
        """Since the interval began."""
        return time.monotonic() - self._started

    def add(self, stepped: Stepped, batch: Batch, unlabelled: PoolBatch | None) -> None:
        """A step has been taken; nothing waits for it."""
        pool = NOBODY if unlabelled is None else unlabelled.positions
        self._steps.append(Taken(stepped, batch.positions, pool))

    def look(self) -> Seen:
        """Wait for the device, and read what the steps came to."""
        with span(Part.WAITING):
            losses = torch.stack([step.stepped.loss for step in self._steps]).tolist()
            right = float(torch.stack([step.stepped.right for step in self._steps]).sum())
            flags = [step.stepped.skipped for step in self._steps]
            given = [flag for flag in flags if flag is not None]
            skipped = torch.stack(given).tolist() if given else [False] * len(flags)
            return Seen(self._steps, losses, right, skipped, self._pseudo())

    def _pseudo(self) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """As in `Seen`; two reads for all steps, since the device has nothing to do meanwhile."""
        taught = [step.stepped.pseudo for step in self._steps if step.stepped.pseudo is not None]
        if not taught:
            return []
        labels = torch.cat([pseudo.labels for pseudo in taught]).cpu().numpy()
        weights = torch.cat([pseudo.weights for pseudo in taught]).cpu().numpy().astype(np.float64)
        ends = np.cumsum([len(pseudo.labels) for pseudo in taught])[:-1]
        return list(zip(np.split(labels, ends), np.split(weights, ends), strict=True))


def guiding_heads(setup: Setup, stage: Stage, samples: Samples, labelled: int) -> NDArray[np.float32] | None:
    """(K, 4) head boxes of a stage's samples as `Samples.boxes`, NaN without one; None: nothing is guided.

    Only labelled images lend theirs, the first `labelled` samples: of the pool nothing but the images is
    known.
    """
    if not stage.saliency_weight:
        return None
    heads = np.full((len(samples), 4), np.nan, dtype=np.float32)
    heads[:labelled] = head_boxes(setup.catalogue, samples.positions[:labelled])
    return heads


def say_guidance(stage: Stage, heads: NDArray[np.float32] | None, wanted: float, reporter: Reporter) -> None:
    """Tell how many images guide the stage; or that an online student is not guided though it is wanted."""
    if heads is not None:
        known = int((~np.isnan(heads[:, 0])).sum())
        text = f"{known} of {len(heads)} samples have a head box: gradients beside it weigh {wanted:g}"
    elif wanted and stage.online is not None:
        text = f"saliency_weight does not act here: {stage.online.strategy} has a loss of its own"
    else:
        return
    reporter.event(Message("info", f"{stage.label}: {text}"))


@dataclass(slots=True)
class OwnShare:
    """What this process did of an epoch that several share, since it took the epoch up."""

    images: int = 0
    seconds: float = 0.0

    def count(self, seen: Seen, world: World, seconds: float) -> None:
        """Add an interval."""
        for step in seen.steps:
            own = world.share(len(step.labelled) + len(step.pool))
            self.images += own.stop - own.start
        self.seconds += seconds

    @property
    def images_per_second(self) -> float:
        """Of its own."""
        return self.images / max(1e-9, self.seconds)


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
    fold: Fold | None = None
    """What every epoch says of these images is told. Nothing chooses: the stage keeps its last epoch."""
    goes_on: bool = False
    """An earlier attempt has recorded something: say where this one takes it up."""


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
        self.world = self.setup.world
        self.progress = state.progress
        # Whatever went before was the same work everywhere; not on all machines to the last bit.
        self.world.follow(network.classifier.state_dict().values())
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
            mixes_batch=learner.mixes_batch,
        )
        self.steps = self.feed.steps
        learner.objective.know_twins(self.feed.twin)
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
            scale=learner.scale,
            make_room=self._make_room,
            world=self.feed.world,
        )
        self.record = StageRecord(stage, around.reporter, self.setup.device)
        # On a CPU the next batch would only take cores from the step.
        self._prepares_ahead = runs_ahead(self.setup.device) and not self.on_features
        self._saved_at = time.monotonic()
        self._own = OwnShare()
        done = self.progress.epoch * self.steps + self.progress.step
        if restored is not None:
            learner.restore(restored)
            if done:  # the rate is recorded also where no step of the epoch is left
                learner.set_rates(self._rate_at(done - 1))
        if around.goes_on:
            self.record.resumed(self.progress.epoch, done)
        self._announce(len(samples), labelled, heads)

    def _announce(self, samples: int, labelled: int, heads: NDArray[np.float32] | None) -> None:
        """Say what the stage trains on, and in which ways it differs from the plainest."""
        recipe, feed, record = self.setup.recipe, self.feed, self.record
        beside = samples - labelled if feed.pool is None else len(self.setup.split.unlabelled)
        record.begun(labelled, beside, on_features=self.on_features)
        fixed = self.learner.trunk_fixed
        pace = self.state.pace or {}
        record.online(self.steps, feed.batch, trunk_fixed=fixed, keeps_maps=feed.keeps_maps, pace=pace)
        record.slow_average(self.steps * self.stage.epochs)
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
        while not self._took_all(epoch):
            self._draw_with_less()

    def _took_all(self, epoch: int) -> bool:
        """Take the epoch's steps from where progress stands; False: there was no room to draw a batch."""
        batches = self.feed.epoch(epoch, self.progress.step)
        try:
            if self._prepares_ahead:
                with contextlib.closing(Ahead(batches, self.setup.device)) as ahead:
                    self._train_on(epoch, drawn(each(Part.WAITING, ahead)))
            else:
                self._train_on(epoch, drawn(each(Part.DATA, batches)))
        except NoRoom:
            return False
        return True

    def _draw_with_less(self) -> None:
        """Out of memory between two steps: a batch is a function of its number, so none is lost."""
        device = self.setup.device
        if self._prepares_ahead:
            self._prepares_ahead = False
            text = "out of device memory: batches are drawn one at a time from now on"
            self.around.reporter.event(Message("warning", text))
        elif not self._make_room():
            raise RunFailed(
                f"out of device memory for a batch of {self.feed.batch} images",
                advice=f"lower training.batch_size or data.image_size{others_hold(device)}",
            )
        accelerator_of(device).release(device)

    def _make_room(self) -> bool:
        """Take the decoded images back from the device; False: there were none."""
        if not self.setup.store.withdraw():
            return False
        accelerator_of(self.setup.device).release(self.setup.device)
        text = "out of device memory: the decoded images go back to the host"
        self.around.reporter.event(Message("warning", text))
        return True

    def _train_on(self, epoch: int, batches: Iterator[tuple[Batch, PoolBatch | None]]) -> None:
        """Take the epoch's steps from where progress stands. Raises: NoRoom, after a look at what it took."""
        interval = Interval()
        of_run = self.stage.first_epoch + epoch
        seed = self.setup.recipe.seed
        try:
            for batch, unlabelled in batches:
                step = self.progress.step
                total_step = (epoch - 1) * self.steps + step
                # Dropout masks are a function of the step, like order and augmentation: resuming needs no
                # generator state.
                if not self.on_features or self.stage.dropout:
                    seed_device(seed_of(seed, of_run, step), self.setup.device)
                rate = self._rate_at(total_step)
                self.learner.set_rates(rate)
                stepped = self.stepper.step(batch, unlabelled, Clock(total_step, self.steps, rate))
                self.learner.follow()
                interval.add(stepped, batch, unlabelled)
                self.progress.step = step + 1
                if self._pauses(len(interval) == INTERVAL or step + 1 == self.steps):
                    self._settle(epoch, total_step + 1, interval)
                    interval = Interval()
                    self._checkpoint_if_due()
                    self._stop_if_asked()
                if not self.on_features:
                    self.around.reporter.progress(f"{self.stage.label} epoch {epoch}", step + 1, self.steps)
        except NoRoom:
            if len(interval):
                self._settle(epoch, (epoch - 1) * self.steps + self.progress.step, interval)
            raise

    def _pauses(self, over: bool) -> bool:
        """Whether to look at what the steps came to: the interval is over, or a process wants something."""
        if self.on_features and not self.world.is_alone:
            return over  # 20 such steps are over before the processes have met
        return self.world.any(over or self._due() or bool(self.around.stop))

    def _stop_if_asked(self) -> None:
        """Raises: Interrupted, in all processes, if any of them was asked."""
        if self.world.any(bool(self.around.stop)):
            self.around.stop.ask()
        self.around.stop.raise_if_set()

    def _rate_at(self, step: int) -> float:
        """What a step, counted from 0 through the stage, multiplies the learning rates by."""
        return rate_multiplier(self.stage.optimizer, step, self.steps, self.stage.epochs)

    def _settle(self, epoch: int, steps_done: int, interval: Interval) -> None:
        """Wait for the device, count the interval's steps, and stop the run where a loss is not finite."""
        seen = interval.look()
        for step, (loss, taken, was_skipped) in enumerate(
            zip(seen.losses, seen.steps, seen.skipped, strict=True), start=steps_done - len(seen.steps) + 1
        ):
            if not np.isfinite(loss) and not was_skipped:
                self._fail_on_loss(loss, step, taken.labelled)
        if any(seen.skipped):
            self._look_at_scale(seen)
        seen.count_into(self.progress, self.setup.labels)
        seconds = interval.seconds
        self.progress.seconds += seconds
        self._own.count(seen, self.feed.world, seconds)
        self.state.images_trained += seen.images
        self.state.training_seconds += seconds
        self.around.heartbeat()
        if seen.loss is not None:
            self.record.steps(epoch, steps_done, seen.loss, self.learner.rate, seen.images, seconds)

    def _look_at_scale(self, seen: Seen) -> None:
        """Say that steps were left out; stop the run where no scale makes their gradients fit fp16."""
        scale = self.learner.scale
        assert scale is not None  # nothing else leaves steps out
        factor = scale.factor
        self.record.skipped(sum(seen.skipped), len(seen.skipped), factor)
        if factor < LEAST:
            raise RunFailed(
                f"gradients overflow in fp16 in {self.stage.label}, however little the loss is scaled",
                advice=self._calmer(),
            )

    def _fail_on_loss(self, loss: float, step: int, positions: NDArray[np.int64]) -> None:
        ids = [self.setup.catalogue.ids[p] for p in positions[:8]]
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
        found = self._validation(epoch, module, task)
        seen = self.world.agree(lambda: found)
        if self.around.fold is not None:
            self.around.fold.hear(self.stage.label, epoch, seen.probabilities)
        if not np.isfinite(seen.loss):
            raise RunFailed(
                f"the validation loss is {seen.loss} after epoch {epoch} of {self.stage.label}",
                advice=self._calmer(),
            )
        self._keep_if_best(epoch, module, seen)
        seconds = time.monotonic() - started
        ranks = self._ranks()
        self._record(epoch, seen, seconds, ranks)
        self.progress.end_epoch(epoch)
        self.state.training_seconds += seconds
        self.around.heartbeat()

    def _ranks(self) -> list[tuple[float, int]]:
        """(images a second, bytes of memory) of the epoch in every process that shares it, by rank."""
        own = self._own.images_per_second, memory_bytes(self.setup.device)
        self._own = OwnShare()
        each = self.feed.world.values(own)
        self.state.peak_memory_bytes = max(self.state.peak_memory_bytes, *(memory for _, memory in each))
        return each

    def _validation(self, epoch: int, module: nn.Module, task: str) -> Validation:
        """What the epoch is worth, by the validation images or by the models of the folds."""
        folds, met = self.state.out_of_fold, self.state.met
        if folds is not None:
            return validation_of(folds.after(self.stage.label, epoch), choosing_labels(self.setup), met)
        fold, fixed = self.around.fold, self.learner.trunk_fixed
        on = self.setup.split.validation if fold is None else fold.positions
        return validate(self.network, module, on, trunk_fixed=fixed, task=task, met=met)

    def _keep_if_best(self, epoch: int, module: nn.Module, seen: Validation) -> None:
        best = self.progress.best
        may_choose = self.around.fold is None
        if best is not None and may_choose and best.better_than(seen.accuracy, seen.loss):
            self.progress.stale_epochs += 1
            return
        weights = self.learner.weights_of(module)
        self.progress.best = Best(self.stage.name, self.stage.round, epoch, seen.accuracy, seen.loss, weights)
        self.progress.stale_epochs = 0

    def _record(
        self, epoch: int, seen: Validation, seconds: float, ranks: Sequence[tuple[float, int]]
    ) -> None:
        """Write down what the epoch came to, before the next one is counted; 0 trains nothing."""
        progress, thresholds = self.progress, self.learner.objective.thresholds
        if epoch:
            self.record.trained(epoch, progress, self.learner.rate)
        if progress.pool_images:
            self.record.pool(epoch, progress, [] if thresholds is None else thresholds.tolist())
        if epoch and len(ranks) > 1:
            self.record.ranks(epoch, ranks)
        self.record.validated(epoch, seen, self.learner.rate, seconds)

    def _stopped_early(self) -> bool:
        patience = self.setup.recipe.training.early_stop
        if not patience or self.around.fold is not None or self.progress.stale_epochs < patience:
            return False
        self.record.stopped_early(patience)
        return True

    def _due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.setup.recipe.training.checkpoint_seconds

    def _checkpoint_if_due(self) -> None:
        if self.world.any(self._due()):
            self._checkpoint()

    @spanned(Part.CHECKPOINT)
    def _checkpoint(self) -> None:
        self.state.micro_batch = self.stepper.micro_batch
        self.around.save(self.learner.tensors())
        self._saved_at = time.monotonic()
