"""Families of backbones: who makes the networks of some names, has their weights, and says what there is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from workbench.model.classifier import Architecture, Tensors
from workbench.recipe.model import NO_NAMED_WEIGHTS, is_weights_file
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.plugins import Registry


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """One backbone.

    Args:
        name: for `model.backbone`.
        source: who defines it: its family's.
        parameters: scalars in the published network, with its head of old; None if not known unbuilt.
        accuracy: ImageNet top-1 of its default weights as published, a share of 1; None if not known.
        giga_operations: multiply-adds for an image of the native size, in 10^9; None if not known.
        native_size: side in pixels of the images that the default weights are evaluated with.
        weights: the published weights' names, the default first.
    """

    name: str
    source: str
    parameters: int | None = None
    accuracy: float | None = None
    giga_operations: float | None = None
    native_size: int | None = None
    weights: tuple[str, ...] = ()


class BackboneFamily(ABC):
    """Networks that one file knows how to make. It registers itself: `FAMILIES.add("name", ItsFamily())`."""

    source: str
    """Who defines the networks, in a word, for lists."""

    @abstractmethod
    def names(self) -> Collection[str]:
        """Of its networks, for `model.backbone`."""

    @abstractmethod
    def architecture(
        self, name: str, weights: str, *, image_size: int | None, initialise: bool
    ) -> Architecture:
        """The network with random weights; torch's default generator is seeded.

        Args:
            weights: as in `model.weights`, which may decide the native size, mean and std. A name that the
                family does not have is refused here (`refuse_weights`).
            image_size: pixels a side that it will be fed, for networks that are built for one size; None: the
                native one.
            initialise: False where weights will be loaded, so that slow initialisations may be left out.

        Raises:
            UserError: it cannot be built so.
        """

    def knows(self, name: str) -> bool:
        """Whether the name is one of the family's."""
        return name in self.names()

    def tensors(self, name: str, weights: str) -> Tensors:
        """The published weights of that name, "default" for the best; under names that `translate` knows.

        Raises:
            UserError: there are none, or they cannot be had.
        """
        raise UserError(
            f"there are no published weights of {clean(name, 80)}",
            where="model.weights",
            allowed='"none", or a .safetensors, .pth or .pt path',
        )

    def facts(self, pattern: str) -> Iterator[BackboneFacts]:
        """What is known, without building or fetching, of those whose name contains `pattern`."""
        for name in self.names():
            if pattern.lower() in name:
                yield BackboneFacts(name, self.source)

    def licence(self, name: str) -> str:
        """Under which terms the published weights are."""
        return f"not told by {self.source}"

    def timm_name(self, name: str) -> str:
        """What timm would call the same network."""
        return name


FAMILIES: Registry[BackboneFamily] = Registry(
    "family of backbones", ["workbench.model.families"], "petbench.backbones"
)


def family_of(name: str) -> BackboneFamily:
    """The family that knows a backbone.

    Raises:
        UserError: none does.
    """
    for family in FAMILIES.values():
        if family.knows(name):
            return family
    near = nearest(name, (known for family in FAMILIES.values() for known in family.names()))
    raise UserError(
        f"unknown backbone {clean(name, 80)!r}",
        where="model.backbone",
        hint=(f"did you mean {near}? " if near else "") + "petbench backbones lists them all",
    )


def known_backbones(pattern: str = "") -> list[BackboneFacts]:
    """The backbones whose name contains `pattern`; timm's only where it begins with "timm:".

    Raises:
        UserError: if timm is asked for and not installed.
    """
    return [facts for family in FAMILIES.values() for facts in family.facts(pattern)]


def refuse_weights(name: str, weights: str, *, has_published: bool = True) -> None:
    """Refuse a name in `model.weights` for a network whose weights have none of their own.

    Args:
        has_published: whether "default" stands for some.

    Raises:
        UserError: it is not one of the words, and no path.
    """
    words = ("default", "none") if has_published else ("none",)
    if weights not in words and not is_weights_file(weights):
        raise UserError(
            f"{clean(name, 80)} has no weights named {clean(weights, 80)}",
            where="model.weights",
            allowed=NO_NAMED_WEIGHTS if has_published else '"none", or a .safetensors, .pth or .pt path',
        )
