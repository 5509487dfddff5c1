"""`petbench export` as a user types it, on runs that were really trained."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from tests.cli.commands import run_command
from tests.cli.conftest import World
from workbench.cli.export import export
from workbench.export import bundle, formats
from workbench.export.formats import open_onnx
from workbench.runs.calibration import fit_temperature
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import load_predictions
from workbench.runs.results import read_results, write_results
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.support.units import in_percent


def told(*arguments: str) -> str:
    """What the command prints, exit code 0."""
    result = run_command(export, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def copied(run: RunDirectory, folder: Path) -> RunDirectory:
    """A copy of a run whose files may be changed: without checksums, as runs were written before them."""
    copy = RunDirectory(folder / run.id)
    shutil.copytree(run.path, copy.path, ignore=shutil.ignore_patterns("SHA256SUMS"))
    return copy


def test_one_folder_holds_the_model_its_labels_its_card_and_its_check(world: World, tmp_path: Path) -> None:
    run, out = world.pseudo_labelled, tmp_path / "model"
    said = told(run.handle, "--to", "safetensors,timm", "--out", str(out))
    assert "16 of 16" in said
    assert not list(tmp_path.glob(".model*"))  # nothing half made beside it
    config = json.loads((out / "model.json").read_text())
    assert (out / "labels.txt").read_text().splitlines() == config["classes"]
    card = (out / "model-card.md").read_text()
    assert [one["sure"] for one in config["promises"]] == [0.9, 0.95, 0.99]
    assert config["promises"][2]["threshold"] is None  # so few validation images
    assert "| 99 % | too few images to promise it |" in card
    assert "](reliability.svg)" in card
    assert (out / "reliability.svg").read_text().startswith("<svg")
    for words in ("labelled images", "95 % interval", "network: efficientnet\\_lite0", "taken for"):
        assert words in card
    check = json.loads((out / "check.json").read_text())
    assert check["of_validation"]
    validation = set(load_predictions(run.predictions("val")).ids)
    assert len(check["images"]) == 16
    assert validation.issuperset(check["images"])
    for one in check["formats"]:
        assert one["difference"] <= 1e-4
    assert np.abs(np.array(check["answers"]["timm"]) - np.array(check["petbench"])).max() < 1e-4


def test_onnx_from_pixels_says_of_test_pictures_what_the_run_said(world: World, tmp_path: Path) -> None:
    run, out = world.pseudo_labelled, tmp_path / "model"
    told(run.handle, "--to", "onnx", "--with-preprocessing", "--int8", "--out", str(out))
    answers = open_onnx(out / "model.onnx")
    recorded = load_predictions(run.predictions("test"))
    pictures = [np.asarray(Image.open(world.images / f"{name}.jpg").convert("RGB")) for name in recorded.ids]
    found = np.concatenate([answers(picture) for picture in pictures])
    assert np.array_equal(found.argmax(1), recorded.probabilities.argmax(1))
    assert np.abs(found - recorded.probabilities).max() < 0.03
    size = (out / "model.onnx").stat().st_size
    assert (out / "model.int8.onnx").stat().st_size < size / 2
    assert "in eight-bit integers" in (out / "model-card.md").read_text()
    graph = onnx.load(str(out / "model.int8.onnx")).graph
    made_of = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised = [made_of.get(node.input[1]) == "DequantizeLinear" for node in convolutions]
    assert quantised == [False] + [True] * (len(convolutions) - 1)  # what sees the picture stays in floats


def test_a_file_that_answers_otherwise_is_refused_and_nothing_is_kept(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        noisy = {name: value + 0.01 if "head" in name else value for name, value in tensors.items()}
        noisy["head.linear.weight"][0] += 0.5
        safetensors.torch.save_file(noisy, path, metadata)

    monkeypatch.setattr(formats, "save_file", spoilt)
    with pytest.raises(UserError, match="answers otherwise than petbench") as raised:
        told(world.pseudo_labelled.handle, "--to", "safetensors", "--out", str(tmp_path / "model"))
    assert "nothing was kept" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_without_its_data_a_run_is_checked_on_made_up_pictures(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise UserError("the data are gone")

    monkeypatch.setattr("workbench.cli.export.open_catalogue", gone)
    out = tmp_path / "model"
    result = run_command(export, world.supervised.handle, "--to", "safetensors", "--out", str(out), "--json")
    assert result.exit_code == 0
    assert "made-up pictures are the check" in result.stderr
    assert json.loads(result.stdout)["of_validation"] is False
    with pytest.raises(UserError, match="validation images"):
        told(world.supervised.handle, "--int8", "--out", str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "tflite"), "no format tflite"),
        (("--to", ","), "no format nothing"),
        (("--to", "pt2", "--int8"), "add --to onnx"),
        (("--to", "timm", "--with-preprocessing"), "holds weights alone"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(
    world: World, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        told(world.supervised.handle, *arguments, "--out", str(tmp_path / "model"))


def test_a_missing_package_is_named_with_the_extra_that_has_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    with pytest.raises(UserError, match="onnxscript is not installed") as raised:
        told(world.supervised.handle, "--to", "onnx", "--out", str(tmp_path / "model"))
    assert "petbench[export]" in str(raised.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("full", "is there already, and not empty"),
        ("file", "is a file"),
        ("file/below", "is no directory"),
        ("link", "is a link"),
        ("dangling", "is a file"),
        ("locked/below", "is not yours to write to"),
        ("locked/below/further", "is not yours to write to"),
    ],
)
def test_an_unfit_out_is_refused_in_one_clear_message_before_any_work(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, words: str
) -> None:
    for name in ("full", "locked"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("full")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    allowed = os.access  # root may write anywhere

    def access(path: Path, mode: int) -> bool:
        return path.name != "locked" and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr("workbench.train.predict.load_predictor", None)  # no work has begun
    with pytest.raises(UserError, match=words) as raised:
        told(world.supervised.handle, "--to", "safetensors", "--out", str(tmp_path / place))
    assert raised.value.where == f"--out {tmp_path / place}"
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_takes_nothing_is_told_in_words_and_nothing_is_kept(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "model_card", full)
    with pytest.raises(UserError, match="cannot be written: No space left") as raised:
        told(world.supervised.handle, "--to", "safetensors", "--out", str(tmp_path / "a" / "b" / "model"))
    assert "nothing was kept" in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_an_empty_folder_is_filled_with_files_of_the_modes_that_the_umask_asks_for(
    world: World, tmp_path: Path, umask: int
) -> None:
    out = tmp_path / "model"
    out.mkdir()
    before = os.umask(umask)
    try:
        told(world.supervised.handle, "--to", "safetensors", "--out", str(out))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o666 & ~umask}
    assert out.stat().st_mode & 0o777 == 0o777 & ~umask


def test_killed_in_the_middle_it_leaves_nothing_at_out_and_works_when_asked_again(
    world: World, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    code = (
        "import os, signal, sys\n"
        "from workbench.export import bundle\n"
        "bundle.model_card = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from workbench.cli.main import main\n"
        "main()"
    )
    arguments = ["export", world.supervised.handle, "--to", "safetensors", "--out", str(out)]
    killed = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    assert len(list(tmp_path.iterdir())) == 1  # hidden, and swept by the next
    told(*arguments[1:])
    assert list(tmp_path.iterdir()) == [out]


def test_a_teacher_is_told_by_its_own_figures(world: World, tmp_path: Path) -> None:
    run, out = world.pseudo_labelled, tmp_path / "model"
    results = read_results(run.results)
    assert results.teacher_val is not None
    assert results.teacher_test is not None
    assert results.student_val is None  # the student is its final model
    printed = told(run.handle, "--teacher", "--to", "safetensors", "--out", str(out))
    assert "its teacher" in printed
    card = (out / "model-card.md").read_text()
    for on, other in ((results.teacher_val, results.val), (results.teacher_test, results.test)):
        assert on.macro_f1 != other.macro_f1
        assert f"| {100 * on.accuracy:.2f} % |" in card
        assert f"| {in_percent(on.macro_f1)} |" in card
        assert f"| {in_percent(other.macro_f1)} |" not in card
    assert "images without a label" not in card
    weights = file_sha256(run.checkpoint / "teacher.safetensors")
    config, check = (json.loads((out / name).read_text()) for name in ("model.json", "check.json"))
    assert {told["model"] for told in (config, check)} == {"teacher"}
    assert {told["weights_sha256"] for told in (config, check)} == {weights}
    said = load_predictions(run.predictions("teacher-val"))
    assert config["temperature"] == pytest.approx(fit_temperature(said.probabilities, said.labels))
    by_id = dict(zip(said.ids, said.probabilities, strict=True))
    expected = np.array([by_id[name] for name in check["images"]])
    assert np.abs(np.array(check["answers"]["safetensors"]) - expected).max() < 1e-3


def test_a_teacher_that_no_student_beat_is_told_as_what_it_is(world: World, tmp_path: Path) -> None:
    run, out = copied(world.pseudo_labelled, tmp_path), tmp_path / "model"
    results = read_results(run.results)
    assert results.teacher_val is not None
    assert results.teacher_test is not None
    # As a run says whose students were all worse.
    kept = replace(
        results,
        val=results.teacher_val,
        test=results.teacher_test,
        student_val=results.val,
        student_test=results.test,
    )
    run.results.unlink()
    write_results(run.results, kept)
    shutil.copy(run.checkpoint / "teacher.safetensors", run.checkpoint / "final.safetensors")
    shutil.copy(run.checkpoint / "teacher.sha256", run.checkpoint / "final.sha256")
    for split in ("val", "test"):
        shutil.copy(run.predictions(f"teacher-{split}"), run.predictions(split))
    told(str(run.path), "--to", "safetensors", "--out", str(out))
    card = (out / "model-card.md").read_text()
    assert "of the teacher, which no student beat on validation, of its run" in card
    assert f"| {in_percent(results.teacher_test.macro_f1)} |" in card
    assert f"| {in_percent(results.test.macro_f1)} |" not in card
    assert "images without a label" not in card


def test_a_run_whose_predictions_are_gone_is_told_how_it_gets_them_back(world: World, tmp_path: Path) -> None:
    run = copied(world.supervised, tmp_path)
    run.predictions("val").unlink()
    with pytest.raises(UserError, match="its predictions are gone") as raised:
        told(str(run.path), "--to", "safetensors", "--out", str(tmp_path / "a" / "model"))
    assert raised.value.hint.startswith(f"petbench resume {run.handle}")
    assert not (tmp_path / "a").exists()


def test_of_several_formats_the_card_tells_each_ones_usage(world: World, tmp_path: Path) -> None:
    out = tmp_path / "model"
    told(world.pseudo_labelled.handle, "--to", "timm,safetensors", "--out", str(out))
    card = (out / "model-card.md").read_text()
    usage = card[card.index("## How to use it") : card.index("## The files, tried")]
    assert re.findall("^### (.*)$", usage, re.MULTILINE) == ["timm", "safetensors"]
    assert usage.count("def images_of(path)") == 1
    assert "timm.create_model" in usage
    assert "load_file" in usage


def test_several_trunks_are_refused_for_timm_before_any_work_with_the_formats_that_take_them(
    world: World, tmp_path: Path
) -> None:
    run = copied(world.supervised, tmp_path)
    text = run.recipe.read_text().replace(
        'backbone = "mobilenet_v3_small"', 'backbone = ["resnet18", "mobilenet_v3_small"]'
    )
    run.recipe.write_text(text.replace('layers = "all"', 'layers = "head"'))
    with pytest.raises(UserError, match="several trunks") as raised:
        told(str(run.path), "--to", "onnx,timm", "--out", str(tmp_path / "model"))
    assert raised.value.allowed == "onnx, pt2, safetensors"


def test_the_exported_program_runs_without_petbench(world: World, tmp_path: Path) -> None:
    out = tmp_path / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # none reaches the console
        told(world.supervised.handle, "--to", "pt2", "--with-preprocessing", "--out", str(out))
    program = torch.export.load(out / "model.pt2").module()
    said = program(torch.zeros(50, 70, 3, dtype=torch.uint8))
    assert said.sum().item() == pytest.approx(1, abs=1e-5)
