from __future__ import annotations

import hashlib
import http.server
import io
import json
import shlex
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from torchvision.datasets import OxfordIIITPet
from typer.testing import CliRunner, Result

from tests.dataset.pictures import jpeg, make_folder, small_oxford
from workbench.cli import download
from workbench.cli.data import app
from workbench.cli.download import download_oxford
from workbench.cli.recipe import app as recipe_app
from workbench.dataset.sample.sample_set import SampleKind
from workbench.support.errors import UserError


def petbench_data(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tar_gz(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


IMAGES = {f"images/{name}.jpg": jpeg(seed) for seed, name in enumerate(("Tom_1", "Tom_2", "rex_1", "rex_2"))}
LISTS = {
    "annotations/trainval.txt": b"Tom_1 1 1 1\nrex_1 2 2 1\n",
    "annotations/test.txt": b"Tom_2 1 1 1\nrex_2 2 2 1\n",
}


@dataclass
class Server:
    """The set's server in small: what it serves, and what was asked of it."""

    directory: Path
    address: str
    requests: list[str]

    def serve(self, monkeypatch: pytest.MonkeyPatch, images: bytes, annotations: bytes) -> None:
        resources = []
        for name, content in (("images.tar.gz", images), ("annotations.tar.gz", annotations)):
            (self.directory / name).write_bytes(content)
            resources.append((f"{self.address}/{name}", hashlib.md5(content).hexdigest()))
        monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", tuple(resources))


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("served")
    requests: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(directory))  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            requests.append(f"{self.command} {self.path}")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield Server(directory, f"http://127.0.0.1:{listening.server_port}", requests)
        listening.shutdown()
        thread.join()


def test_get_downloads_checks_and_unpacks_the_set(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(monkeypatch, tar_gz(IMAGES), tar_gz(LISTS))
    result = petbench_data("get", "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "2 training and 2 test images" in result.output
    root = tmp_path / "oxford-iiit-pet"
    assert (root / "images" / "rex_2.jpg").read_bytes() == IMAGES["images/rex_2.jpg"]
    assert {path.name for path in root.iterdir()} == {"images", "annotations"}
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["oxford-iiit-pet"]


def test_get_does_nothing_when_the_set_is_there(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(monkeypatch, tar_gz(IMAGES), tar_gz(LISTS))
    small_oxford(tmp_path / "oxford-iiit-pet")
    result = petbench_data("get", "--data-dir", tmp_path)
    assert result.exit_code == 0
    assert "already at" in result.output
    assert server.requests == []


def test_wrong_checksum_is_one_clear_message_and_no_data_set(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(monkeypatch, tar_gz(IMAGES), tar_gz(LISTS))
    (server.directory / "annotations.tar.gz").write_bytes(b"something else")
    with pytest.raises(UserError, match="corrupted") as caught:
        download_oxford(tmp_path)
    assert caught.value.where.endswith("annotations.tar.gz")
    assert not (tmp_path / "oxford-iiit-pet").exists()


def test_archive_that_arrived_whole_is_not_downloaded_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(monkeypatch, tar_gz(IMAGES), tar_gz(LISTS))
    good = (server.directory / "annotations.tar.gz").read_bytes()
    (server.directory / "annotations.tar.gz").unlink()
    with pytest.raises(UserError, match="404"):
        download_oxford(tmp_path)
    (server.directory / "annotations.tar.gz").write_bytes(good)
    server.requests.clear()
    assert download_oxford(tmp_path)
    assert set(server.requests) == {"GET /annotations.tar.gz"}


def test_no_server_is_one_clear_message_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 9 (discard) of this machine: nobody listens there.
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", (("http://127.0.0.1:9/images.tar.gz", "0" * 32),))
    with pytest.raises(UserError, match="download failed") as caught:
        download_oxford(tmp_path)
    assert "copy it to" in caught.value.hint


def test_archive_that_reaches_outside_is_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    server.serve(monkeypatch, tar_gz({**IMAGES, "../../../escaped.txt": b"out"}), tar_gz(LISTS))
    with pytest.raises(UserError, match="cannot be unpacked"):
        download_oxford(home)
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not (home / "oxford-iiit-pet").exists()


def test_archives_of_something_else_are_refused(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(monkeypatch, tar_gz({"pictures/a.jpg": jpeg()}), tar_gz(LISTS))
    with pytest.raises(UserError, match="not the data set"):
        download_oxford(tmp_path)
    assert not (tmp_path / "oxford-iiit-pet").exists()


def test_too_little_disk_is_said_before_anything_is_fetched(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(monkeypatch, tar_gz(IMAGES), tar_gz(LISTS))
    monkeypatch.setattr(download, "NEEDED_BYTES", shutil.disk_usage(tmp_path).total * 2)
    with pytest.raises(UserError, match="free, about"):
        download_oxford(tmp_path)
    assert server.requests == []


def test_something_else_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "oxford-iiit-pet").mkdir()
    (tmp_path / "oxford-iiit-pet" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="something is there"):
        download_oxford(tmp_path)
    assert (tmp_path / "oxford-iiit-pet" / "thesis.tex").read_text() == "mine"


def test_check_of_a_clean_set_exits_with_0(tmp_path: Path) -> None:
    small_oxford(tmp_path / "oxford-iiit-pet")
    result = petbench_data("check", "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "4 training and 2 test images of 2 classes, 4 head boxes" in result.output
    assert "0 errors, 0 warnings: fit to train on" in result.output


def test_check_exits_with_2_where_training_would_be_wrong(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    (root / "images" / "Tom_1.jpg").unlink()
    result = petbench_data("check", "--root", root)
    assert result.exit_code == 2
    assert "error: missing image (1)" in result.output
    assert "Tom_1: No such file" in result.output


def test_check_prints_json_for_scripts(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    (root / "images" / "Tom_1.mat").touch()
    result = petbench_data("check", "--root", root, "--json")
    report = json.loads(result.stdout)
    assert report["root"] == str(root)
    assert report["errors"] == 0
    assert report["problems"] == [
        {"level": "warning", "kind": "stray file", "place": "images/Tom_1.mat", "what": "not a .jpg"}
    ]
    counts = {"train": 2, "validation": 0, "test": 1, "extra": 0}
    assert report["classes"][0] == {"name": "Tom", **counts}


def test_check_tells_a_folder_from_its_layout_and_cleans_its_names(tmp_path: Path) -> None:
    make_folder(tmp_path, {"[bold]a\x1b[31m": 5, "b": 5})
    (tmp_path / "b" / "[red]\x1b]0;x\x07.txt").touch()
    result = petbench_data("check", "--root", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("folder at ")
    assert "\x1b" not in result.output
    assert r"[bold]a\x1b[31m" in result.output
    assert r"b/[red]\x1b]0;x\x07.txt: not an image" in result.output


def test_check_takes_keys_of_data_as_a_recipe_does(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cats/birman": 3, "cats/siamese": 3, "dogs/pug": 3})
    plain = json.loads(petbench_data("check", "--root", tmp_path, "--json").stdout)
    said = petbench_data("check", "--root", tmp_path, "--set", "data.class_from=folder:2", "--json")
    assert [one["name"] for one in json.loads(said.stdout)["classes"]] == ["birman", "pug", "siamese"]
    assert [one["name"] for one in plain["classes"]] == ["cats", "dogs"]
    for wrong, message in (
        ("seed=1", "no key of [data]"),
        ("data.class_frm=folder:1", "did you mean data.class_from?"),
        ("data", "not of the form key=value"),
    ):
        refused = petbench_data("check", "--root", tmp_path, "--set", wrong)
        assert isinstance(refused.exception, UserError)
        assert message in str(refused.exception)


def test_check_shows_the_first_of_a_kind_or_all(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    for number in range(8):
        (root / "images" / f"stray{number}.mat").touch()
    short, full = petbench_data("check", "--root", root), petbench_data("check", "--root", root, "--all")
    assert "and 3 more: --all" in short.output
    assert "stray7.mat" not in short.output
    assert "stray7.mat" in full.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "folder"), "needs root"),
        (("--root", "/no/such/place"), "no such directory"),
        (("--data-dir", "/no/such/place"), "petbench data get"),
        (("--dataset", "sample", "--root", "/no/such/place"), "petbench data sample"),
    ],
)
def test_check_of_nothing_is_the_users_error(arguments: tuple[str, ...], message: str) -> None:
    result = petbench_data("check", *arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_sample_is_drawn_checked_and_found_again(tmp_path: Path) -> None:
    arguments = ("sample", tmp_path / "set", "--per-class", "2", "--size", "48")
    first, second = petbench_data(*arguments), petbench_data(*arguments)
    assert first.exit_code == 0, first.output
    assert "20 training and 10 test images of 10 classes" in first.output
    assert "already at" in second.output
    assert petbench_data("check", "--root", tmp_path / "set").exit_code == 0
    other = petbench_data(*arguments, "--seed", "1")
    assert "--force" in str(other.exception)
    assert petbench_data(*arguments, "--seed", "1", "--force").exit_code == 0


@pytest.mark.parametrize("per_class", [2, 3, 4, 6, 20, 60])
@pytest.mark.parametrize("kind", list(SampleKind))
def test_the_command_that_a_drawn_set_ends_with_is_one_that_runs(
    tmp_path: Path, kind: SampleKind, per_class: int
) -> None:
    target = tmp_path / 'it\'s [1], a "set"' / kind.value
    drawn = petbench_data("sample", target, "--kind", kind, "--per-class", str(per_class), "--size", "48")
    assert drawn.exit_code == 0, drawn.output
    words = shlex.split(drawn.output.splitlines()[-1])
    assert words[:3] == ["petbench", "run", "quickstart"]
    checked = CliRunner().invoke(recipe_app, ["check", *words[2:]])
    assert checked.exit_code == 0, (words, checked.output, checked.exception)
    assert "valid" in checked.output


def test_a_set_that_is_not_pets_is_drawn_with_the_keys_that_a_recipe_reads_it_by(tmp_path: Path) -> None:
    target = tmp_path / "leaves"
    drawn = petbench_data("sample", target, "--kind", "skewed", "--per-class", "10", "--size", "48")
    assert drawn.exit_code == 0, drawn.output
    assert "34 training, 24 validation and 40 test images of 8 classes" in drawn.output
    assert f"--set data.root={target} --set data.validation=own" in drawn.output
    assert (target / "val" / "thorn").is_dir()
