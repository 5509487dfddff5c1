"""`petbench sweep`, `runs group`, `lr-find` and `paper`, as a shell would start them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from socket import gaierror
from typing import Any
from urllib.error import URLError

import pytest

from tests.cli.whole import Petbench, Said
from tests.jobs.pool_here import PoolHere
from tests.runs.making import finish, make_results
from tests.train.making import HEAD, recipe_text
from workbench.paper.recipes import paper_recipes, table1_sweep
from workbench.recipe import dump_recipe
from workbench.runs.layout import create_run, run_directories
from workbench.support.errors import UserError

TABLE = '[sweep]\nseeds = 2\n"optimizer.learning_rate" = [1e-3, 1e-2]\n'


@pytest.fixture
def swept(home: Path, sample: Path) -> Path:
    """A sweep of two points and two seeds on the tiny sample."""
    path = home / "swept.toml"
    path.write_text(recipe_text(HEAD, sample) + TABLE)
    return path


@pytest.fixture
def without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are trained in this process."""
    monkeypatch.setattr("workbench.cli.sweep.WorkerPool", PoolHere)


def _json(said: Said) -> Any:
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_a_sweep_runs_to_a_table_and_run_again_trains_nothing(
    petbench: Petbench, swept: Path, home: Path
) -> None:
    first = petbench("sweep", swept, "--device", "cpu")
    assert first.code == 0, first.err
    assert "4 of 4 runs finished" in first.out
    assert first.out.count(" ± ") >= 4
    assert "best by validation: learning_rate=" in first.out
    assert len(run_directories(home / "runs")) == 4
    again = _json(petbench("sweep", swept, "--device", "cpu", "--json"))["points"]
    assert len(run_directories(home / "runs")) == 4
    assert [point["point"] for point in again] == ["learning_rate=0.001", "learning_rate=0.01"]
    best = max(again, key=lambda point: point["val"]["mean"])
    assert best["best"] is True
    assert [run["status"] for run in best["runs"]] == ["finished", "finished"]


def test_collecting_trains_nothing_and_says_what_is_to_do(
    petbench: Petbench, swept: Path, home: Path
) -> None:
    said = petbench("sweep", swept, "--collect")
    assert said.code == 0
    assert "0 of 4 runs finished" in said.out
    assert said.out.count("2 to do") == 2
    assert run_directories(home / "runs") == []


def test_run_refuses_a_sweep_and_sweep_a_single_run(petbench: Petbench, swept: Path, sample: Path) -> None:
    refused = petbench("run", swept)
    assert refused.code == 2
    assert f"petbench sweep {swept}" in refused.err
    single = swept.with_name("single.toml")
    single.write_text(recipe_text(HEAD, sample))
    refused = petbench("sweep", single)
    assert refused.code == 2
    assert f"petbench run {single}" in refused.err


def test_pruning_in_the_background_is_refused_with_the_reason(petbench: Petbench, swept: Path) -> None:
    said = petbench("sweep", swept, "--background", "--set", "sweep.prune={epochs=1}")
    assert said.code == 2
    assert "decide on the way" in said.err


@pytest.mark.parametrize("way", [("sweep",), ("sweep", "--background")])
def test_a_sweep_that_its_data_refuse_begins_nothing_and_names_the_line(
    way: tuple[str, ...], petbench: Petbench, swept: Path, home: Path
) -> None:
    swept.write_text(
        swept.read_text().replace(
            "[sweep]", '[pseudo_label]\nstrategy = "one_shot"\nlabels_per_class = 900\n[sweep]'
        )
    )
    said = petbench(*way, swept)
    assert said.code == 2
    line = swept.read_text().splitlines().index("[pseudo_label]") + 1
    assert f"{swept}:{line}" in said.err
    assert run_directories(home / "runs") == []


def test_a_sweep_whose_network_is_refused_begins_nothing(petbench: Petbench, swept: Path, home: Path) -> None:
    said = petbench("sweep", swept, "--device", "cpu", "--set", "model.backbone=resnet_none")
    assert said.code == 2
    assert "model.backbone" in said.err
    assert run_directories(home / "runs") == []


def test_runs_that_could_not_begin_make_a_sweep_fail(
    petbench: Petbench, swept: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What every worker imports first: a network that was there a moment ago cannot be built.
    (home / "sitecustomize.py").write_text(_NO_NETWORK)
    monkeypatch.setenv("PYTHONPATH", str(home))
    said = petbench("sweep", swept, "--device", "cpu")
    assert said.code == 1
    assert "4 runs could not begin" in said.err
    assert run_directories(home / "runs") == []


_NO_NETWORK = """
import sys
if "workbench.train.worker" in sys.orig_argv:
    from workbench.support.errors import UserError
    from workbench.train import setup
    def refuse(*_, **__):
        raise UserError("no network here", where="model.weights")
    setup._build = refuse
"""


@pytest.mark.usefixtures("without_workers")
def test_a_grid_makes_a_sweep_of_a_recipe_that_has_none(
    petbench: Petbench, swept: Path, sample: Path, home: Path
) -> None:
    single = swept.with_name("single.toml")
    single.write_text(recipe_text(HEAD, sample))
    grid = ("--grid", "seed=0,1", "--grid", "training.epochs=1,2")
    said = petbench("sweep", single, *grid, "--device", "cpu", "--jobs", "2")
    assert said.code == 0, said.err
    assert "4 of 4 runs finished" in said.out
    points = _json(petbench("sweep", single, *grid, "--collect", "--json"))["points"]
    assert [point["point"] for point in points] == ["epochs=1", "epochs=2"]
    assert [[run["status"] for run in point["runs"]] for point in points] == [["finished"] * 2] * 2
    launched = _json(petbench("launch", single, *grid, "--json"))["runs"]
    assert launched == []  # they are done, whoever trained them


def test_a_device_that_is_not_there_is_refused_before_anything_begins(
    petbench: Petbench, swept: Path, home: Path
) -> None:
    said = petbench("sweep", swept, "--device", "cpu,cuda:9")
    assert said.code == 2
    assert "no device 'cuda:9' here" in said.err
    assert run_directories(home / "runs") == []


def test_recipe_check_checks_every_run_of_a_sweep(petbench: Petbench, swept: Path) -> None:
    (report,) = _json(petbench("recipe", "check", swept, "--json"))["recipes"]
    assert report["valid"]
    assert report["summary"].startswith("a sweep of 4 runs, 2 points")
    swept.write_text(swept.read_text() + '"finetune.layers" = [["head"], ["layer9"]]\n')
    said = petbench("recipe", "check", swept)
    assert said.code == 2
    assert "layer9" in said.err


@pytest.mark.usefixtures("without_workers")
def test_runs_group_prints_mean_and_spread_over_seeds(petbench: Petbench, swept: Path) -> None:
    assert petbench("sweep", swept, "--device", "cpu").code == 0
    groups = _json(petbench("runs", "group", "--json"))["groups"]
    assert [len(group["runs"]) for group in groups] == [2, 2]
    assert groups[0]["val.accuracy"]["mean"] >= groups[1]["val.accuracy"]["mean"]
    by_seed = _json(petbench("runs", "group", "--by", "seed", "--json"))["groups"]
    assert {group["by"]["seed"] for group in by_seed} == {0, 1}
    assert petbench("runs", "group", "--by", "sede").code == 2


def test_lr_find_draws_suggests_and_keeps_its_losses(petbench: Petbench, sample: Path, home: Path) -> None:
    path = home / "head.toml"
    path.write_text(recipe_text(HEAD, sample))
    said = petbench("lr-find", path, "--steps", "40", "--device", "cpu")
    assert said.code == 0, said.err
    assert "suggestion: optimizer.learning_rate = " in said.out
    (kept,) = (home / "runs" / "lr-find").glob("*-tiny.json")
    record = json.loads(kept.read_text())
    assert len(record["rates"]) == len(record["losses"]) == len(record["smoothed"])
    assert f"optimizer.learning_rate={record['suggestion']:g}" in said.out
    assert run_directories(home / "runs") == []


def test_paper_table1_collects_prints_and_writes_files(petbench: Petbench, home: Path) -> None:
    sweep = table1_sweep(backbone="efficientnet_lite0", seeds=1)
    for run in sweep.runs:
        directory = create_run(home / "runs", "cell", dump_recipe(run.recipe), datetime(2026, 1, 1))
        finish(directory, make_results(0.6, teacher_accuracy=0.7))
    arguments = ("paper", "table1", "--backbone", "efficientnet_lite0", "--seeds", "1", "--collect")
    said = petbench(*arguments)
    assert said.code == 0, said.err
    assert "BELOW ITS TEACHER" in said.out
    assert "41.56" in said.out
    stem = home / "runs" / "paper" / "table1-efficientnet_lite0-random"
    assert "| 1 % | teacher | 41.56 | 70.00 | +28.44 | 1 |" in stem.with_suffix(".md").read_text()
    assert stem.with_suffix(".svg").read_text().startswith("<svg")
    cells = _json(petbench(*arguments, "--json"))["cells"]
    assert len(cells) == 9


def test_paper_figures_says_where_there_is_nothing_to_draw(petbench: Petbench) -> None:
    drawn = _json(petbench("paper", "figures", "--only", "1,6", "--collect", "--json"))["figures"]
    assert [(one["figure"], one["lines"]) for one in drawn] == [("1", 0), ("6", 0)]
    said = petbench("paper", "figures", "--only", "4")
    assert said.code == 2
    assert "1, 2, 3, 5, 6, 7" in said.err


def test_paper_recipes_lists_every_shipped_one(petbench: Petbench) -> None:
    listed = {one["name"] for one in _json(petbench("paper", "recipes", "--json"))["recipes"]}
    assert listed == set(paper_recipes())
    assert len(listed) == len(list((Path(__file__).parents[2] / "recipes" / "paper").glob("*.toml")))


TINY_FIGURES = (
    "data.dataset=sample",
    "model.weights=none",
    "data.image_size=32",
    "training.epochs=1",
    "training.batch_size=32",
    "training.precision=fp32",
)


def _sets(*changes: str) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.mark.usefixtures("without_workers")
def test_paper_figures_trains_and_draws_another_backbones_own_layers(
    petbench: Petbench, sample: Path, home: Path
) -> None:
    changes = _sets(
        *TINY_FIGURES, f"data.root={sample}", "model.backbone=mobilenet_v3_small", "sweep.seeds=2"
    )
    said = petbench("paper", "figures", "--only", "3", *changes, "--device", "cpu", "--json")
    (drawn,) = _json(said)["figures"]
    assert "its groups: stem, stage1" in said.err
    assert drawn["lines"] > 5
    svg, png = map(Path, drawn["files"])
    assert "last 2: stage" in svg.read_text()
    assert "mean of 2 seeds" in svg.read_text()
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "data-dataset-sample" in svg.name
    again = petbench("paper", "figures", "--only", "3", *changes, "--collect", "--json")
    assert _json(again)["figures"] == [drawn]


@pytest.mark.usefixtures("without_workers")
def test_paper_figures_5_to_7_draw_teacher_students_and_rounds(
    petbench: Petbench, sample: Path, home: Path
) -> None:
    changes = _sets(
        *TINY_FIGURES[:-3],
        f"data.root={sample}",
        "model.backbone=efficientnet_lite0",
        "training.epochs=3",
        "sweep.cases.one_shot.pseudo_label.epochs_per_round=2",
        "sweep.cases.iterative.pseudo_label.epochs_per_round=1",
        "sweep.cases.iterative.pseudo_label.rounds=3",
    )
    said = petbench("paper", "figures", "--only", "7", "--seeds", "2", *changes, "--device", "cpu", "--json")
    (drawn,) = _json(said)["figures"]
    assert drawn["lines"] == 3
    text = Path(drawn["files"][0]).read_text()
    assert text.count('class="round-start"') == 3
    assert text.count('class="stage-start"') == 1
    assert text.count('class="level"') == 1
    assert text.count('class="band"') >= 2
    assert len(run_directories(home / "runs")) == 4


def test_paper_refuses_once_and_before_anything_begins_where_weights_cannot_be_had(
    petbench: Petbench, sample: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError(gaierror(-2, "Name or service not known"))

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    changes = _sets("data.dataset=sample", f"data.root={sample}", "data.image_size=32")
    shares = _sets('sweep."pseudo_label.labelled_fraction"=[0.1, 0.5]')  # 1 % of 40 images is none
    for command in (
        ("table1", "--seeds", "2", *shares),
        ("table1", "--seeds", "2", "--background", *shares),
        ("figures", "--only", "3,7"),
    ):
        said = petbench("paper", *command, "--backbone", "resnet18", *changes, "--device", "cpu")
        assert said.code == 2
        assert said.err.count("could not be downloaded") == 1
        assert "model.weights" in said.err
        assert run_directories(home / "runs") == []


def test_a_sweep_names_all_networks_whose_weights_cannot_be_had_at_once(
    petbench: Petbench, swept: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.model.families.torchvision_nets.published_tensors", _not_here)
    backbones = 'sweep."model.backbone"=["resnet18", "resnet34", "efficientnet_lite0"]'
    said = petbench("sweep", swept, "--device", "cpu", "--set", backbones, "--set", "model.weights=default")
    assert said.code == 2
    assert "no resnet18 here" in said.err
    assert "no resnet34 here" in said.err
    assert "lite0 here" not in said.err
    assert run_directories(home / "runs") == []


def _not_here(name: str, _weights: str) -> None:
    raise UserError(f"no {name} here", where="model.weights")


@pytest.mark.usefixtures("without_workers")
def test_what_is_trained_already_asks_for_no_weights(
    petbench: Petbench, swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = _sets("model.backbone=efficientnet_lite0", "model.weights=default")
    arguments = ("sweep", swept, "--device", "cpu", *changes)
    assert petbench(*arguments).code == 0
    monkeypatch.setattr("workbench.model.finetune.build", _not_here)
    assert petbench(*arguments).code == 0


def test_paper_refuses_a_point_of_another_figure_before_the_first_one_trains(
    petbench: Petbench, sample: Path, home: Path
) -> None:
    changes = _sets(
        *TINY_FIGURES,
        f"data.root={sample}",
        "model.backbone=mobilenet_v3_small",
        'sweep."finetune.layers"=[["head"], ["layer4"]]',
    )
    said = petbench("paper", "figures", "--only", "2,3", *changes, "--device", "cpu")
    assert said.code == 2
    assert "layer4" in said.err
    assert run_directories(home / "runs") == []
