"""What the form says of a network's norms, and when it refuses a switch that the network does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.tui.screens.compose.draft import checked_on, draft_of
from workbench.tui.screens.compose.knob_fields import Values
from workbench.tui.screens.compose.networks import LayerGroup, Network, norm_story

RESNET = Network("resnet18", 11, 224, (LayerGroup("layer4", 10, 4, 0), LayerGroup("head", 1, 0, 0)))
VIT = Network(
    "vit_b_16",
    30,
    224,
    (LayerGroup("stem", 9, 0, 0), LayerGroup("block1", 20, 0, 2), LayerGroup("head", 1, 0, 0)),
)
NO_BATCH_NORM = "This network has no batch norm: its two switches do nothing."


@pytest.mark.parametrize(
    ("finetune", "story"),
    [
        ({"layers": "head"}, "Layer norms stay as pretrained."),
        ({"layers": ["block1", "head"]}, "Layer norms learn scale and shift in block1."),
        ({"layers": "head", "layer_norm": "all"}, "Layer norms learn scale and shift in every group."),
        ({"layers": "all", "layer_norm": "frozen"}, "Layer norms stay as pretrained."),
        ({"layers": "head", "layer_norm": ["block1"]}, "Layer norms learn scale and shift in block1."),
    ],
)
def test_a_transformers_layer_norms_are_told(finetune: dict[str, object], story: str) -> None:
    assert norm_story(Values({"finetune": finetune}), VIT) == f"{story} {NO_BATCH_NORM}"


def test_a_network_with_batch_norms_alone_tells_of_those() -> None:
    values = Values({"finetune": {"layers": ["layer4", "head"]}})
    told = "Batch norms learn scale and shift, and follow the new images' statistics, in layer4."
    assert norm_story(values, RESNET) == told
    assert "layer4 + head" in norm_story(values, None)


@pytest.mark.parametrize(("network", "refused"), [(RESNET, True), (VIT, False)])
def test_a_draft_that_asks_for_layer_norms_is_refused_where_there_are_none(
    network: Network, refused: bool
) -> None:
    text = f'schema = 1\nname = "x"\n[model]\nbackbone = "{network.name}"\n[finetune]\nlayer_norm = "all"\n'
    draft = checked_on(draft_of(text, "x.toml", Path("x.toml")), network)
    assert draft.is_valid is not refused
    problems = [problem.what for problem in draft.problems_at("finetune.layer_norm")]
    assert problems == (["resnet18 has no layer norms"] if refused else [])
