from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torchvision import models

from tests.model.small import images, random_network
from workbench.model import build, set_noise, skeleton, weights_id
from workbench.model.weights import read_tensors
from workbench.recipe import Model
from workbench.support.errors import UserError


def load(backbone: str, path: Path, classes: int = 5, **options: Any) -> Any:
    return build(Model(backbone=backbone, weights=str(path)), classes, seed=0, **options)


def original(name: str, **options: Any) -> Any:
    torch.manual_seed(3)
    return models.get_model(name, weights=None, **options).eval()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "fc"),
        ("mobilenet_v3_small", "classifier.3"),
        ("efficientnet_b0", "classifier.1"),
        ("mnasnet0_5", "classifier.1"),
        ("densenet121", "classifier"),
        ("shufflenet_v2_x0_5", "fc"),
    ],
)
def test_a_published_file_computes_what_the_published_network_does(
    name: str, head: str, tmp_path: Path
) -> None:
    network = original(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    classifier = load(name, tmp_path / "weights.pth").eval()
    batch = images(2)
    with torch.no_grad():
        expected = network(batch)
        features = classifier.features(batch)
        torch.testing.assert_close(network.get_submodule(head)(features), expected)
        published = classifier.published_head
        assert published is not None
        torch.testing.assert_close(features @ published.weight.T + published.bias, expected)


def test_auxiliary_heads_in_a_file_are_dropped(tmp_path: Path) -> None:
    network = original("googlenet", aux_logits=True, transform_input=True, init_weights=False)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    classifier = load("googlenet", tmp_path / "weights.pth").eval()
    with torch.no_grad():
        torch.testing.assert_close(network.fc(classifier.features(images())), network(images()))


def test_position_embeddings_are_resampled_to_the_recipes_image_size(tmp_path: Path) -> None:
    shapes = skeleton(Model(backbone="vit_b_32", weights="none"), 5).trunk.state_dict()
    published = {name: torch.zeros(value.shape) for name, value in shapes.items()}
    # A ramp from left to right over the 7 × 7 grid of 224 pixels, and 100 for the class token.
    ramp = torch.arange(7.0).repeat(7).reshape(49, 1)
    published["encoder.pos_embedding"][0] = torch.cat([torch.full((1, 1), 100.0), ramp])
    safetensors.torch.save_file(published, tmp_path / "vit.safetensors")
    smaller = load("vit_b_32", tmp_path / "vit.safetensors", image_size=96)
    embedding = smaller.state_dict()["trunk.encoder.pos_embedding"][0]
    assert embedding.shape == (1 + 3 * 3, 768)
    assert embedding[0, 0] == 100, "the class token has no place in the grid"
    grid = embedding[1:, 0].reshape(3, 3)
    torch.testing.assert_close(grid[0], grid[2])
    assert grid[0, 0] < grid[0, 1] < grid[0, 2]
    assert grid[0, 1] == pytest.approx(3.0), "the middle of the ramp stays"


def test_the_shared_mobilenet_file_loads_and_knows_its_breeds(real_data: Path) -> None:
    file = real_data / "weights" / "mobilenet_v2-imagenet.pth"
    if not file.exists():
        pytest.skip(f"no weights at {file}")
    classifier = load("mobilenet_v2", file, 37)
    published = read_tensors(file)
    assert torch.equal(classifier.state_dict()["trunk.features.0.0.weight"], published["features.0.0.weight"])
    assert classifier.linear.weight.shape == (37, 1280)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_petbench_file_keeps_its_head_where_the_classes_match(suffix: str, tmp_path: Path) -> None:
    saved = random_network("mobilenet_v3_small", classes=5)
    torch.nn.init.constant_(saved.linear.bias, 0.25)
    path = tmp_path / f"run{suffix}"
    if suffix == ".pth":
        torch.save(saved.state_dict(), path)
    else:
        safetensors.torch.save_file(saved.state_dict(), path)
    same, other = load("mobilenet_v3_small", path, 5), load("mobilenet_v3_small", path, 7)
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in saved.state_dict().items())
    assert other.linear.weight.shape == (7, 1024)
    assert weights_id(other) == weights_id(saved)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_wrapped_and_distributed_state_dicts_are_understood(wrapper: str, tmp_path: Path) -> None:
    network = original("mobilenet_v3_small")
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "weights.pt")
    classifier = load("mobilenet_v3_small", tmp_path / "weights.pt")
    key = "features.0.0.weight"
    assert torch.equal(classifier.trunk.state_dict()[key], network.state_dict()[key])


def test_a_file_without_batch_counters_loads(tmp_path: Path) -> None:
    state = original("resnet18").state_dict()
    torch.save({n: v for n, v in state.items() if "num_batches" not in n}, tmp_path / "old.pth")
    assert torch.equal(load("resnet18", tmp_path / "old.pth").trunk.bn1.weight, state["bn1.weight"])


def _without(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name != "bn1.bias"}


def _with_stranger(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "layer9.weight": torch.zeros(2)}


def _misshaped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without, "1 missing: bn1.bias"),
        (_with_stranger, "1 unexpected: layer9.weight"),
        (_misshaped, r"1 of another shape: conv1.weight \(64, 1, 7, 7\) instead of \(64, 3, 7, 7\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Any, told: str, tmp_path: Path) -> None:
    torch.save(change(original("resnet18").state_dict()), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=told) as error:
        load("resnet18", tmp_path / "weights.pth")
    assert error.value.where == "model.weights"
    assert str(tmp_path) in error.value.what


def test_another_networks_file_is_told_with_the_first_tensors_and_counts(tmp_path: Path) -> None:
    torch.save(original("resnet18").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"missing: features\.0\.0\.weight.* and \d+ more"):
        load("mobilenet_v3_small", tmp_path / "weights.pth")


def test_a_file_with_code_is_refused_and_the_code_never_runs(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[str, str]]:
            return open, (str(witness), "w")

    torch.save({"weight": Payload()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"weight": Payload()}))
    for name in ("zip.pth", "plain.pth"):
        with pytest.raises(UserError, match="besides tensors"):
            load("resnet18", tmp_path / name)
    assert not witness.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([torch.zeros(1)], "a list"),
        ({}, "nothing"),
        ({"epoch": 3}, "epoch: not tensors"),
        (torch.zeros(3), "a Tensor"),
    ],
)
def test_a_file_of_something_else_is_refused(content: object, told: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=told):
        read_tensors(tmp_path / "weights.pth")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = original("resnet18").state_dict()
    state["layer1.0.bn1.weight"][3] = float("nan")
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"layer1\.0\.bn1\.weight holds NaN"):
        read_tensors(tmp_path / "weights.pth")


def test_a_missing_file_or_a_directory_is_told_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "no.pth", tmp_path):
        with pytest.raises(UserError) as error:
            read_tensors(path)
        assert str(tmp_path) in error.value.where


TENSORS = {"layer.weight": torch.arange(600.0).reshape(20, 30), "layer.bias": torch.arange(20.0)}


def _file(kind: str) -> bytes:
    if kind == "safetensors":
        return safetensors.torch.save(TENSORS)
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_crashes(
    kind: str, tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(_file(kind))
    if data.draw(st.booleans(), label="truncate"):
        del whole[data.draw(st.integers(0, len(whole) - 1), label="length") :]
    else:
        place = data.draw(st.integers(0, len(whole) - 1), label="place")
        whole[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path = tmp_path / ("damaged.safetensors" if kind == "safetensors" else "damaged.pth")
    path.write_bytes(whole)
    try:
        tensors = read_tensors(path)
    except UserError:
        return
    assert all(isinstance(value, Tensor) for value in tensors.values())


def test_every_flipped_bit_in_the_values_of_a_zip_is_found(tmp_path: Path) -> None:
    whole = _file("zip")
    start = whole.index(TENSORS["layer.weight"].numpy().tobytes())
    for bit in range(0, 600 * 32, 611):
        damaged = bytearray(whole)
        damaged[start + bit // 8] ^= 1 << bit % 8
        (tmp_path / "weights.pth").write_bytes(damaged)
        with pytest.raises(UserError, match="checksum"):
            read_tensors(tmp_path / "weights.pth")


def test_a_wrong_torchvision_weights_name_lists_the_real_ones() -> None:
    with pytest.raises(UserError, match="IMAGENET1K_V1, IMAGENET1K_V2") as error:
        build(Model(backbone="resnet50", weights="IMAGENET1K_V3"), 5, seed=0)
    assert error.value.where == "model.weights"


def test_weights_out_of_reach_are_told_with_url_cache_path_and_alternative(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    member = models.ResNet18_Weights.DEFAULT
    # A port that nobody listens on: the failure of a machine without network, at once.
    url = "http://127.0.0.1:9/" + member.url.rsplit("/", 1)[1]
    monkeypatch.setattr(type(member), "url", property(lambda self: url), raising=False)
    with pytest.raises(UserError, match="could not be downloaded") as error:
        build(Model(backbone="resnet18"), 5, seed=0)
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    assert url in error.value.hint
    assert str(cached) in error.value.hint
    assert "efficientnet_lite0" in error.value.hint
    assert not cached.exists()


def test_a_cached_file_that_is_not_what_its_name_says_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    torch.save(original("resnet18").state_dict(), cached)
    with pytest.raises(UserError, match="SHA-256") as error:
        build(Model(backbone="resnet18"), 5, seed=0)
    assert str(cached) in error.value.where


def test_weights_id_follows_the_trunk_alone() -> None:
    classifier = random_network("mobilenet_v3_small")
    first = weights_id(classifier)
    twin = copy.deepcopy(classifier).to(memory_format=torch.channels_last)
    torch.nn.init.zeros_(twin.linear.weight)
    set_noise(twin, 0.5, 0.2)
    assert weights_id(twin) == first, "head, noise and memory format do not change features"
    with torch.no_grad():
        next(twin.trunk.parameters())[0, 0, 0, 0] += 1e-3
    assert weights_id(twin) != first


def _ones(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """An average that can be told from what it is of."""
    return {name: torch.ones_like(value) for name, value in state.items()}


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


WRAPPED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "data parallel": lambda state: _under("module.", state),
    "lightning": lambda state: {"state_dict": _under("model.", state), "hyper_parameters": {"lr": 1e-3}},
    "a backbone beside another head": lambda state: {
        "state_dict": {
            **_under("backbone.", {n: v for n, v in state.items() if not n.startswith("fc.")}),
            "classifier.weight": torch.zeros(9, 512),
        }
    },
    "a prefix that nobody has heard of": lambda state: _under("my_net.encoder_q.", state),
    "a prefix without a dot": lambda state: _under("net_", state),
    "a compiled network in a wrapper": lambda state: {"model": _under("model._orig_mod.", state), "opt": {}},
    "compiled parts": lambda state: {n.replace("layer1.", "layer1._orig_mod."): v for n, v in state.items()},
    "containers in containers": lambda state: {"checkpoint": {"net": {"params": state}}, "epoch": 3},
    "an average beside them": lambda state: {"state_dict": state, "state_dict_ema": _ones(state)},
    "an average under a prefix": lambda state: {**state, **_under("ema.", _ones(state))},
    "both under prefixes": lambda state: {
        **_under("model.", state),
        **_under("model_ema.module.", _ones(state)),
    },
    "swa's": lambda state: {**_under("module.", state), "n_averaged": torch.tensor(3)},
    "half precision": lambda state: {n: v.half() if v.is_floating_point() else v for n, v in state.items()},
    "an optimiser's tensors": lambda state: {
        "model": state,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
    },
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_whatever_weights_are_wrapped_in_is_taken_off_and_told(
    wrap: Callable[[dict[str, Tensor]], object], tmp_path: Path
) -> None:
    state = models.resnet18(num_classes=5).state_dict()
    torch.save(wrap(state), tmp_path / "weights.ckpt")
    classifier = load("resnet18", tmp_path / "weights.ckpt")
    for name, value in classifier.trunk.state_dict().items():
        assert torch.allclose(value.float(), state[name].float(), rtol=1e-3, atol=1e-6), name
    assert classifier.weights_notes or wrap in (WRAPPED["half precision"], WRAPPED["compiled parts"])


@pytest.mark.parametrize(
    ("wrap", "entry"),
    [
        (WRAPPED["an average beside them"], "state_dict_ema"),
        (WRAPPED["an average under a prefix"], "ema"),
        (WRAPPED["both under prefixes"], "model_ema"),
    ],
)
def test_an_average_is_named_and_can_be_chosen(
    wrap: Callable[[dict[str, Tensor]], object], entry: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth.tar"
    torch.save(wrap(models.resnet18(num_classes=5).state_dict()), path)
    (*_, told) = load("resnet18", path).weights_notes
    assert f'model.weights_entry = "{entry}' in told
    model = Model(backbone="resnet18", weights=str(path), weights_entry=entry)
    chosen = build(model, 5, seed=0)
    assert float(chosen.trunk.get_parameter("conv1.weight").detach().min()) == 1
    assert entry in chosen.weights_notes[0]
    with pytest.raises(UserError, match="no entry 'state_dict_emo'") as error:
        build(model.model_copy(update={"weights_entry": "state_dict_emo"}), 5, seed=0)
    assert entry in error.value.allowed


def test_two_networks_in_a_file_are_asked_about(tmp_path: Path) -> None:
    state = original("resnet18").state_dict()
    torch.save({"student": state, "teacher": _ones(state)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="nothing says which") as error:
        load("resnet18", tmp_path / "weights.pth")
    assert error.value.hint.endswith("student, teacher")


def test_missing_norm_statistics_are_told_as_that(tmp_path: Path) -> None:
    state = {f"model.{name}": value for name, value in original("resnet18").named_parameters()}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"read under model; tensors 40 missing: bn1\.running_mean") as error:
        load("resnet18", tmp_path / "weights.pth")
    assert "model.state_dict()" in error.value.hint


def test_an_entry_needs_a_file() -> None:
    with pytest.raises(ValidationError, match="weights_entry needs weights to name a file"):
        Model(backbone="resnet18", weights_entry="ema")
