"""Which layer groups learn, the two separate facts about their batch norms, and the one of layer norms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from workbench.model.backbones import build, skeleton
from workbench.model.classifier import ImageClassifier, check_size, noisy_modules, outputs_at
from workbench.recipe import Finetune, Optimizer, Recipe
from workbench.recipe.layer_groups import GroupChoice, LayerGroups, choose_groups, rates_of
from workbench.support.errors import UserError

# Weights with several dimensions that are no matrix: tokens, position embeddings and biases, layer scales.
_SPARED = frozenset(
    {"class_token", "cls_token", "reg_token", "dist_token", "pos_embedding", "pos_embed"}
    | {"relative_position_bias_table", "layer_scale", "logit_scale"}
)


def group_rates(
    classifier: ImageClassifier, optimizer: Optimizer, finetune: Finetune | None = None
) -> dict[str, float]:
    """The highest learning rate of every layer group, as `rates_of` tells it."""
    return rates_of(layer_groups(classifier), optimizer, finetune)


def parameter_groups(
    classifier: ImageClassifier, optimizer: Optimizer, finetune: Finetune | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser: every parameter once, also those that are frozen now.

    Frozen parameters have no gradient, so optimisers skip them at no cost, and the optimiser's state keeps
    its shape when groups unlock later. Clear gradients with `set_to_none=True`.

    Returns:
        torch's keys "params", "lr", "weight_decay", and for reports "group" (the layer group's name) and
        "tensors" (dotted names). A layer group comes twice, with decay and without, only where the recipe
        has a decay.

    Raises:
        UserError: as `group_rates`.
    """
    rates = group_rates(classifier, optimizer, finetune)
    spared_by_name = _names_spared_by_network(classifier.trunk)
    entries: list[dict[str, Any]] = []
    for group in classifier.groups:
        named = list(group.named_parameters(classifier))
        spared = {
            name: parameter
            for name, parameter in named
            if optimizer.weight_decay > 0 and (_is_spared(name, parameter) or name in spared_by_name)
        }
        decayed = {name: parameter for name, parameter in named if name not in spared}
        for members, decay in ((decayed, optimizer.weight_decay), (spared, 0.0)):
            if members:
                entries.append(
                    {
                        "params": list(members.values()),
                        "lr": rates[group.name],
                        "weight_decay": decay,
                        "group": group.name,
                        "tensors": list(members),
                    }
                )
    return entries


def _is_spared(name: str, parameter: nn.Parameter) -> bool:
    """Biases, norms, tokens, position embeddings: decay would shrink what has no reason to be small."""
    return parameter.ndim <= 1 or name.rsplit(".", 1)[-1] in _SPARED


def _names_spared_by_network(trunk: nn.Module) -> frozenset[str]:
    """timm's networks name further tensors that were trained without decay."""
    named = getattr(trunk, "no_weight_decay", None)
    return frozenset(f"trunk.{name}" for name in named()) if callable(named) else frozenset()


@dataclass(frozen=True, slots=True)
class GroupTuning:
    """What happens to one layer group while training.

    Args:
        learns: its weights other than norms' scale and shift change.
        batch_norm_learns: its batch norms' scale and shift change.
        statistics_update: its batch norms use the batch's statistics and update the running ones; else they
            use the running ones and leave them.
        layer_norm_learns: its layer, group and RMS norms' scale and shift change; they keep no statistics.
        batch_norms: how many batch norms it has; without any, both batch-norm facts are False.
        layer_norms: how many of the others; without any, their fact is False.
        parameters, trainable: scalars in all its parameters, and in those that change.
    """

    name: str
    learns: bool
    batch_norm_learns: bool
    statistics_update: bool
    layer_norm_learns: bool
    batch_norms: int
    layer_norms: int
    parameters: int
    trainable: int

    @property
    def is_frozen(self) -> bool:
        """Nothing in the group changes."""
        return not (self.trainable or self.statistics_update)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `tune` did, group by group, input to output.

    Args:
        trunk_fixed: a given image has the same features all through training, so they may be computed once:
            no tensor of the trunk changes and nothing in it adds noise. `set_noise` may change that
            afterwards: `is_trunk_fixed` tells what holds now.
    """

    groups: tuple[GroupTuning, ...]
    trunk_fixed: bool

    @property
    def parameters(self) -> int:
        """Scalars in all parameters."""
        return sum(group.parameters for group in self.groups)

    @property
    def trainable(self) -> int:
        """Scalars in the parameters that change."""
        return sum(group.trainable for group in self.groups)


def tune(classifier: ImageClassifier, finetune: Finetune, *, unlocked: int | None = None) -> Tuning:
    """Set `requires_grad` of every parameter and the lasting mode of every batch norm.

    A group in `layers` whose batch norm is not in `batch_norm` learns its weights but no scale and shift; a
    group only in `batch_norm` learns those alone; likewise `layer_norm`. A wholly frozen group also keeps its
    own dropouts (VGG's) quiet, as they only disturb fixed features; stochastic depth, which the recipe asks
    for, stays on.

    Args:
        unlocked: while unfreezing gradually, how many of the groups in `layers`, from the head downwards, are
            open by now; all below the lowest open one is wholly frozen. None: no such boundary.

    Raises:
        UserError: if a name is not a group's, a group named in a list of norms has none, `layer_norm` is set
            for a network without any, or nothing would learn.
    """
    groups = layer_groups(classifier)
    choice, order = choose_groups(groups, finetune), groups.names
    tuned = [name for name in order if name in choice.layers]
    if unlocked is not None and 0 < unlocked < len(tuned):
        choice = choice.above(order[order.index(tuned[-unlocked]) :])
    _apply(classifier, choice)
    if not any(parameter.requires_grad for parameter in classifier.parameters()):
        raise UserError("nothing would learn", where="finetune.layers", allowed=order)
    return Tuning(_facts(classifier, choice), is_trunk_fixed(classifier))


def unlocked_groups(finetune: Finetune, epoch: int) -> int | None:
    """How many groups are open in `epoch` (from 0): the highest first, then one more at a time.

    None when unfreezing is off. The number may exceed the groups there are; `tune` takes that as all.
    """
    if not finetune.gradual_unfreeze:
        return None
    return 1 + epoch // finetune.gradual_unfreeze


def is_trunk_fixed(classifier: ImageClassifier) -> bool:
    """Whether the trunk's features of an image stay the same while training, as things are set now."""
    trunk = classifier.trunk
    if any(parameter.requires_grad for parameter in trunk.parameters()):
        return False
    updating = (
        module
        for module in trunk.modules()
        if isinstance(module, _BatchNorm) and not classifier.is_held(module)
    )
    noisy = (module for module in noisy_modules(trunk) if not classifier.is_held(module))
    return next(updating, None) is None and next(noisy, None) is None


def layer_groups(classifier: ImageClassifier) -> LayerGroups:
    """What a recipe may name of the network."""
    return LayerGroups(
        classifier.backbone,
        tuple(group.name for group in classifier.groups),
        tuple(group.name for group in classifier.groups if group.batch_norms(classifier)),
        tuple(group.name for group in classifier.groups if group.layer_norms(classifier)),
    )


def _apply(classifier: ImageClassifier, choice: GroupChoice) -> None:
    held: list[nn.Module] = []
    for group in classifier.groups:
        for _, parameter in group.named_parameters(classifier):
            parameter.requires_grad_(group.name in choice.layers)
        norms = [norm for _, norm in group.batch_norms(classifier)]
        for norm in norms:
            for parameter in norm.parameters(recurse=False):
                parameter.requires_grad_(group.name in choice.batch_norm)
        for _, layer_norm in group.layer_norms(classifier):
            for parameter in layer_norm.parameters(recurse=False):
                parameter.requires_grad_(group.name in choice.layer_norm)
        if group.name not in choice.statistics:
            held += norms
        if group.name not in choice.learning | choice.statistics:
            held += [
                module for _, module in group.named_modules(classifier) if isinstance(module, _DropoutNd)
            ]
    classifier.hold_in_eval(held)


def _facts(classifier: ImageClassifier, choice: GroupChoice) -> tuple[GroupTuning, ...]:
    facts = []
    for group in classifier.groups:
        parameters = [parameter for _, parameter in group.named_parameters(classifier)]
        facts.append(
            GroupTuning(
                name=group.name,
                learns=group.name in choice.layers,
                batch_norm_learns=group.name in choice.batch_norm,
                statistics_update=group.name in choice.statistics,
                layer_norm_learns=group.name in choice.layer_norm,
                batch_norms=len(group.batch_norms(classifier)),
                layer_norms=len(group.layer_norms(classifier)),
                parameters=sum(parameter.numel() for parameter in parameters),
                trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            )
        )
    return tuple(facts)


def check_network(recipe: Recipe) -> None:
    """Refuse names and sizes that the recipe's backbone does not have; loads no weights.

    Raises:
        UserError: as `look_at_network`, or an unknown layer group, norms that it lacks, rates for groups that
            never learn.
    """
    rates_of(look_at_network(recipe), recipe.optimizer, recipe.finetune)


def look_at_network(recipe: Recipe) -> LayerGroups:
    """The layer groups of the recipe's network, built without weights.

    Raises:
        UserError: unknown backbone or weights name, an image size it cannot take, residual blocks that it
            lacks, views that grow though it is built for one size.
    """
    classifier = skeleton(recipe.model, classes=2, image_size=recipe.data.image_size)
    _check_progressive(classifier, recipe)
    return layer_groups(classifier)


def check_weights(recipes: Iterable[Recipe]) -> None:
    """See that pretrained weights are at hand and fit; published ones that are not are fetched.

    Raises:
        UserError: of all networks whose weights cannot be had, in one message.
    """
    models = {(recipe.model, recipe.data.image_size): None for recipe in recipes}
    failures: dict[str, UserError] = {}  # by what they say: one file may be asked for at several sizes
    for model, size in models:
        if model.weights != "none":
            try:
                build(model, 2, seed=0, image_size=size)
            except UserError as failure:
                failures.setdefault(str(failure), failure)
    errors = list(failures.values())
    if len(errors) > 1:
        raise UserError(
            f"the weights of {len(errors)} networks cannot be had: "
            + "; ".join(f"{error.what} ({error.hint})" if error.hint else error.what for error in errors),
            where=errors[0].where,
        )
    if errors:
        raise errors[0]


def check_batch(recipe: Recipe, labelled: int) -> None:
    """Refuse batches of one image for a network whose batch norms would see a single value a channel.

    Args:
        labelled: how many images the first stage trains on.

    Raises:
        UserError: there is such a norm.
    """
    if recipe.training.batch_of(labelled) > 1:
        return  # and the last batch of an epoch is never a single image
    classifier = skeleton(recipe.model, classes=2, image_size=recipe.data.image_size)
    if tune(classifier, recipe.finetune).trunk_fixed:
        return
    for side in sorted(recipe.view_sides):
        try:
            outputs_at(classifier, side, training=True)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"one image of {side} pixels a side leaves batch norms of {classifier.backbone} a single "
                "value a channel, whose spread nobody can tell",
                where="training.batch_size" if labelled > 1 else "[pseudo_label]",
                allowed="2 or more" if labelled > 1 else "two or more labelled images",
                hint='or finetune.batch_norm_statistics = "frozen", or a larger data.image_size',
            ) from error


def _check_progressive(classifier: ImageClassifier, recipe: Recipe) -> None:
    if not recipe.training.progressive:
        return
    for side in sorted(recipe.view_sides):
        try:
            check_size(classifier, side)
        except (RuntimeError, AssertionError, ValueError) as error:
            size = recipe.data.image_size
            raise UserError(
                f"{classifier.backbone}, built for {size} pixels a side, cannot take views of {side}",
                where="training.progressive",
                hint="raise training.progressive, or leave it off: not every network takes views of any size",
            ) from error
