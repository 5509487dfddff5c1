"""One stage of training, read top to bottom: for each epoch train, evaluate, record, checkpoint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workbench.loader import (
    Ahead,
    Batch,
    FeatureBatches,
    ImageBatches,
    PoolBatch,
    PoolBatches,
    Samples,
    paired,
)
from workbench.model import parameter_groups, set_noise, tune, unlocked_groups
from workbench.runs.events import Message, Reporter, StageStarted
from workbench.support.errors import RunFailed
from workbench.support.spans import Part, each, span, spanned
from workbench.train.average import MovingAverage
from workbench.train.compiled import FullBatches, usual_sizes
from workbench.train.guidance import guiding_heads, say_guidance
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.metrics import confusion_matrix, negative_log_likelihood
from workbench.train.network import Network, changing_weights, clone_weights
from workbench.train.objectives import Beginning, Clock, Objective, SaliencyGuided, Supervised, make_objective
from workbench.train.optim import make_optimizer, optimizer_tensors, restore_optimizer, set_rates
from workbench.train.prefix import Above, Prefix
from workbench.train.record import StageRecord, memory_bytes
from workbench.train.schedule import rate_multiplier
from workbench.train.seeding import seed_device, seed_of
from workbench.train.stage import Stage
from workbench.train.state import Best, RunState, Weights
from workbench.train.step import Stepped, Stepper
from workbench.train.threads import one_thread

Pending = tuple[Stepped, NDArray[np.int64], NDArray[np.int64]]
"""A step that the host has not looked at yet, the positions of its labelled and of its unlabelled images."""

# Steps between two looks at the losses: the only time that the host waits for the device.
INTERVAL = 20
NOBODY = np.zeros(0, dtype=np.int64)


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
        restored: tensors of a checkpoint taken within this stage, as `tensors` gave them; None to begin.
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
    ) -> None:
        self.stage, self.network, self.state, self.around = stage, network, state, around
        self.setup = network.setup
        self.progress = state.progress
        classifier = network.classifier
        set_noise(classifier, dropout=stage.dropout, stochastic_depth=stage.stochastic_depth)
        tuning = tune(classifier, stage.finetune)
        self.trunk_fixed = tuning.trunk_fixed
        self.on_features = tuning.trunk_fixed and stage.sees_plain_views
        self._prefix = "head." if self.on_features else ""
        self.module: nn.Module = classifier.head if self.on_features else classifier
        self._unlocked: int | None = None
        self._changing = frozenset(changing_weights(classifier, tuning))
        self.prefix = self._usable_prefix()
        heads = guiding_heads(self.setup, stage, samples, labelled)
        self.batches = self._batches(samples, heads)
        self.pool = self._pool()
        self.steps = self.batches.steps if self.pool is None else self.pool.steps
        self.optimizer = make_optimizer(stage.optimizer, parameter_groups(classifier, stage.optimizer))
        self.average = MovingAverage(self.module, stage.ema) if stage.ema else None
        self.objective = self._objective(samples)
        self.stepper = Stepper(
            self.module,
            self.optimizer,
            network.precision,
            self.setup.device,
            around.reporter,
            self.objective,
            on_features=self.on_features,
            micro_batch=state.micro_batch,
            forward=self._forward(),
        )
        self.record = StageRecord(stage, around.reporter, self.setup.device)
        # On a CPU the next batch would only take cores from the step.
        self._prepares_ahead = self.setup.device.type == "cuda" and not self.on_features
        self._saved_at = time.monotonic()
        if restored is not None:
            self._restore(restored)
        beside = len(samples) - labelled if self.pool is None else len(self.setup.split.unlabelled)
        around.reporter.event(
            StageStarted(stage.name, stage.round, stage.epochs, labelled, beside, self.on_features)
        )
        self._say_how_the_pool_is_seen()
        if self.prefix is not None:
            self.record.prefix(self.prefix.cut.groups, is_kept=isinstance(self.batches, FeatureBatches))
        if not self.on_features:
            recipe = self.setup.recipe
            self.record.views(recipe.training.view_sides(recipe.data.image_size, stage.epochs))
        say_guidance(stage, heads, self.setup.recipe.training.saliency_weight, around.reporter)

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
        self._unlock(epoch)
        self._train_mode()
        batches = self._epoch(epoch, self.progress.step)
        if self._prepares_ahead:
            with contextlib.closing(Ahead(batches)) as ahead:
                self._train_on(epoch, each(Part.WAITING, ahead))
        else:
            self._train_on(epoch, each(Part.DATA, batches))

    def _train_on(self, epoch: int, batches: Iterator[tuple[Batch, PoolBatch | None]]) -> None:
        """Take the epoch's steps from where progress stands."""
        pending: list[Pending] = []
        interval_started = time.monotonic()
        of_run = self.stage.first_epoch + epoch
        seed = self.setup.recipe.seed
        for batch, unlabelled in batches:
            step = self.progress.step
            total_step = (epoch - 1) * self.steps + step
            # Dropout masks are a function of the step, like order and augmentation: resuming needs no
            # generator state.
            if not self.on_features or self.stage.dropout:
                seed_device(seed_of(seed, of_run, step), self.setup.device)
            rate = self._multiplier(total_step)
            set_rates(self.optimizer, rate)
            stepped = self.stepper.step(batch, unlabelled, Clock(total_step, self.steps, rate))
            if self.average is not None:
                with span(Part.OPTIMISER, "average"):
                    self.average.update_parameters(self.module)
            pending.append((stepped, batch.positions, NOBODY if unlabelled is None else unlabelled.positions))
            self.progress.step = step + 1
            if len(pending) == INTERVAL or step + 1 == self.steps or self._due() or self.around.stop:
                self._settle(epoch, total_step + 1, pending, interval_started)
                pending, interval_started = [], time.monotonic()
                self._checkpoint_if_due()
                self.around.stop.raise_if_set()
            if not self.on_features:
                self.around.reporter.progress(f"{self.stage.label} epoch {epoch}", step + 1, self.steps)

    def _settle(self, epoch: int, steps_done: int, pending: list[Pending], started: float) -> None:
        """Wait for the device, add up the interval's losses, and stop the run where one is not finite."""
        with span(Part.WAITING):
            losses = torch.stack([stepped.loss for stepped, _, _ in pending]).tolist()
            right = float(torch.stack([stepped.right for stepped, _, _ in pending]).sum())
        for offset, (loss, (_, positions, _)) in enumerate(zip(losses, pending, strict=True)):
            if not np.isfinite(loss):
                self._fail_on_loss(loss, steps_done - len(pending) + 1 + offset, positions)
        images = sum(len(positions) for _, positions, _ in pending)
        self.progress.loss_sum += sum(
            loss * len(positions) for loss, (_, positions, _) in zip(losses, pending, strict=True)
        )
        self.progress.right_sum += right
        self.progress.images += images
        for stepped, _, positions in pending:
            self._score(stepped, positions)
        images += sum(len(positions) for _, _, positions in pending)
        self.state.images_trained += images
        seconds = time.monotonic() - started
        self.progress.seconds += seconds
        self.state.training_seconds += seconds
        self.around.heartbeat()
        mean = sum(losses) / len(losses)
        self.record.steps(epoch, steps_done, mean, self._rate(), images, seconds)

    def _score(self, stepped: Stepped, positions: NDArray[np.int64]) -> None:
        """Count how right a batch's pseudo-labels were: here alone the pool's truth is read, to score."""
        if stepped.pseudo is None:
            return
        weights = stepped.pseudo.weights.cpu().numpy().astype(np.float64)
        truth = self.setup.labels[positions]
        right = stepped.pseudo.labels.cpu().numpy() == truth
        unknown = truth < 0
        progress = self.progress
        progress.pool_images += len(positions)
        progress.pool_weight += float(weights.sum())
        progress.pool_unknown += int(unknown.sum())
        progress.pool_unknown_weight += float(weights[unknown].sum())
        progress.pool_right += int(right.sum())
        progress.pool_right_weight += float(weights[right].sum())

    def _fail_on_loss(self, loss: float, step: int, positions: NDArray[np.int64]) -> None:
        ids = [self.setup.catalogue.records[p].id for p in positions[:8]]
        more = f" and {len(positions) - 8} more" if len(positions) > 8 else ""
        raise RunFailed(
            f"the loss is {loss} at step {step} of {self.stage.label}, images {', '.join(ids)}{more}",
            advice=self._calmer(),
        )

    def _calmer(self) -> str:
        """What to do about numbers that run away."""
        advice = f"lower optimizer.learning_rate (now {self._rate():g}), add optimizer.warmup_epochs"
        return advice + (
            ', or set training.precision = "fp32"' if self.network.precision.training != "fp32" else ""
        )

    def _unlock(self, epoch: int) -> None:
        """Open the groups that learn in this epoch, where unfreezing is gradual."""
        unlocked = unlocked_groups(self.stage.finetune, epoch - 1)
        if unlocked != self._unlocked:
            tune(self.network.classifier, self.stage.finetune, unlocked=unlocked)
            self._unlocked = unlocked

    def _train_mode(self) -> None:
        if self.on_features:
            self.module.train()
        else:
            self.network.classifier.train()

    def _multiplier(self, step: int) -> float:
        return rate_multiplier(self.stage.optimizer, step, self.steps, self.stage.epochs)

    def _rate(self) -> float:
        return float(max(group["lr"] for group in self.optimizer.param_groups))

    @spanned(Part.EVALUATION)
    def _evaluate(self, epoch: int) -> None:
        """Validate, record the epoch, and keep its weights if they are the best so far.

        Raises:
            RunFailed: the validation loss is not finite: the last step may have spoilt weights whose loss was
            sound.
        """
        started = time.monotonic()
        progress, stage = self.progress, self.stage
        module = self._evaluated(epoch)
        validation = self.setup.split.validation
        seen = self.network.evaluated(module, trunk_fixed=self.trunk_fixed)
        probabilities = self.network.probabilities(validation, seen, task=f"{stage.label} validation")
        labels = self.setup.labels[validation]
        predicted = probabilities.argmax(axis=1)
        accuracy = float((predicted == labels).mean())
        loss = negative_log_likelihood(probabilities, labels)
        if not np.isfinite(loss):
            raise RunFailed(
                f"the validation loss is {loss} after epoch {epoch} of {stage.label}", advice=self._calmer()
            )
        if progress.best is None or not progress.best.better_than(accuracy, loss):
            weights = self._weights_of(module)
            progress.best = Best(stage.name, stage.round, epoch, accuracy, loss, weights)
            progress.stale_epochs = 0
        else:
            progress.stale_epochs += 1
        seconds = time.monotonic() - started
        if epoch:
            self.record.trained(epoch, progress, self._rate())
        if progress.pool_images:
            self._record_pool(epoch)
        matrix = confusion_matrix(predicted, labels, len(self.setup.classes)).tolist()
        self.record.validated(epoch, loss, accuracy, matrix, self._rate(), seconds)
        progress.epoch, progress.step = epoch, 0
        progress.loss_sum, progress.right_sum, progress.images, progress.seconds = 0.0, 0.0, 0, 0.0
        progress.pool_images, progress.pool_weight = 0, 0.0
        progress.pool_unknown, progress.pool_unknown_weight = 0, 0.0
        progress.pool_right, progress.pool_right_weight = 0, 0.0
        self.state.training_seconds += seconds
        self.state.peak_memory_bytes = max(self.state.peak_memory_bytes, memory_bytes(self.setup.device))
        self.around.heartbeat()

    def _evaluated(self, epoch: int) -> nn.Module:
        """What is worth evaluating: an objective's teacher, an average of the weights, or the weights."""
        if epoch == 0:
            return self.module
        if self.objective.evaluated is not None:
            return self.objective.evaluated
        return self.module if self.average is None else self.average.module

    def _record_pool(self, epoch: int) -> None:
        progress, thresholds = self.progress, self.objective.thresholds
        self.record.pool(epoch, progress, [] if thresholds is None else thresholds.tolist())
        progress.pool_share = progress.pool_weight / progress.pool_images
        progress.pool_accuracy = progress.accuracy_by_weight

    def _stopped_early(self) -> bool:
        patience = self.setup.recipe.training.early_stop
        if not patience or self.progress.stale_epochs < patience:
            return False
        self.around.reporter.event(
            Message(
                "info",
                f"{self.stage.label}: no better validation accuracy for {patience} epochs; stopping early",
            )
        )
        return True

    def _weights_of(self, module: nn.Module) -> Weights:
        entries = {self._prefix + name: tensor for name, tensor in module.state_dict().items()}
        return clone_weights({name: entries[name] for name in self._changing})

    def _due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.setup.recipe.training.checkpoint_seconds

    def _checkpoint_if_due(self) -> None:
        if self._due():
            self._checkpoint()

    @spanned(Part.CHECKPOINT)
    def _checkpoint(self) -> None:
        self.state.micro_batch = self.stepper.micro_batch
        self.around.save(self.tensors())
        self._saved_at = time.monotonic()

    def tensors(self) -> Weights:
        """Weights, average and optimiser state, by name, for a checkpoint."""
        tensors = {f"model/{name}": tensor for name, tensor in self._weights_of(self.module).items()}
        if self.average is not None:
            tensors |= {f"average/{name}": t for name, t in self.average.state_dict().items()}
        tensors |= {f"objective/{name}": t for name, t in self.objective.state().items()}
        tensors |= {f"optimizer/{name}": t for name, t in optimizer_tensors(self.optimizer).items()}
        return tensors

    def _restore(self, tensors: Weights) -> None:
        def part(prefix: str) -> Weights:
            return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}

        self.network.load(part("model/"))
        restore_optimizer(self.optimizer, part("optimizer/"))
        self.objective.restore(part("objective/"))
        if self.average is not None:
            self.average.load_state_dict(part("average/"))

    def _usable_prefix(self) -> Prefix | None:
        """The frozen groups, where this stage's steps may take them apart from the rest.

        Not where a loss needs gradients of the images, keeps networks of its own, or runs compiled code.
        """
        prefix, stage, chosen = self.network.training_prefix, self.stage, self.state.compilation
        is_compiled = chosen is not None and chosen.is_on
        if prefix is None or self.on_features or stage.online or stage.saliency_weight or is_compiled:
            return None
        return prefix if prefix.cut.is_quiet(self.network.classifier) else None

    def _batches(self, samples: Samples, heads: NDArray[np.float32] | None) -> ImageBatches | FeatureBatches:
        training, seed = self.setup.recipe.training, self.setup.recipe.seed
        if self.on_features:
            features, rows = self.network.sample_features(samples, self.stage.augmentation)
            return FeatureBatches(features, rows, samples, batch_size=training.batch_size, seed=seed)
        if self.prefix is not None and self.stage.sees_plain_views and not training.progressive:
            maps = self.network.sample_maps(samples, self.stage.augmentation)
            if maps is not None:
                return FeatureBatches(maps, np.arange(len(samples)), samples, training.batch_size, seed)
        return self.network.image_batches(samples, self.stage.augmentation, training.batch_size, heads)

    def _pool(self) -> PoolBatches | None:
        knobs = self.stage.online
        if knobs is None:
            return None
        weak = self.stage.augmentation.model_copy(update={"mixing": "none"})
        return self.network.pool_batches(
            self.setup.split.unlabelled,
            weak,
            knobs.second_view(weak),
            knobs.unlabelled_ratio * self.setup.recipe.training.batch_size,
        )

    def _epoch(self, epoch: int, first_step: int) -> Iterator[tuple[Batch, PoolBatch | None]]:
        """What the stage's `epoch` trains on, from one of its steps on."""
        of_run, batches, pool = self.stage.first_epoch + epoch, self.batches, self.pool
        if isinstance(batches, ImageBatches):
            recipe = self.setup.recipe
            side = recipe.training.view_side(recipe.data.image_size, epoch, self.stage.epochs)
            batches, pool = batches.at(side), None if pool is None else pool.at(side)
        if pool is None:
            return ((batch, None) for batch in batches.epoch(of_run, first_step))
        assert isinstance(batches, ImageBatches)  # views of the pool are never cached
        return paired(batches, pool, of_run, first_step)

    def _objective(self, samples: Samples) -> Objective:
        smoothing = self.setup.recipe.training.label_smoothing
        if self.stage.online is None:
            supervised = Supervised(smoothing, negative_labels=bool(samples.rules_out.any()))
            weight = self.stage.saliency_weight
            return SaliencyGuided(supervised, weight) if weight else supervised
        beginning = Beginning(
            module=self.module,
            classes=len(self.setup.classes),
            pool=len(self.setup.split.unlabelled),
            device=self.setup.device,
            label_smoothing=smoothing,
            optimizer=self.stage.optimizer,
        )
        return make_objective(self.stage.online, beginning)

    def _forward(self) -> nn.Module:
        """What computes the loss's outputs: the module, its part above the prefix, or its compiled twin."""
        if self.prefix is not None:
            on_maps = isinstance(self.batches, FeatureBatches)
            return Above(self.network.classifier, self.prefix, on_maps=on_maps)
        chosen = self.state.compilation
        if self.on_features or chosen is None or not chosen.is_on:
            return self.module
        labelled = self.setup.recipe.training.batch_size
        pool = self.stage.online.unlabelled_ratio * labelled if self.stage.online else 0
        return FullBatches(self.module, self.network.compiled, usual_sizes(labelled, pool))

    def _say_how_the_pool_is_seen(self) -> None:
        knobs = self.stage.online
        if knobs is None:
            return
        batch = self.setup.recipe.training.batch_size
        cost = ", though it is frozen" if self.trunk_fixed else ""
        self.around.reporter.event(
            Message(
                "info",
                f"{self.stage.label}: {knobs.strategy}, {self.steps} steps an epoch of {batch} labelled and "
                f"{knobs.unlabelled_ratio * batch} unlabelled images; their views are drawn anew and "
                f"cannot be cached, so each goes through the trunk{cost}",
            )
        )
