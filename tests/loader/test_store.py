"""The decoded store: built once, by one run, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.compute.posing import POSER, PosingGpu
from tests.compute.test_trouble import OF_TORCH
from tests.loader.conftest import CPU, Recorder, catalogue_of, smooth_picture
from tests.support.damage import damaged_copy
from workbench.compute import ACCELERATORS
from workbench.dataset.catalogue import Catalogue, HeadBox
from workbench.dataset.depth import Scale
from workbench.loader.geometry import WHOLE
from workbench.loader.store import ImageStore, open_store, stored_side
from workbench.loader.store_build import META, PIXELS, Square, decode_square
from workbench.runs.events import Message, Silent
from workbench.support.caches import read_sealed, write_sealed
from workbench.support.errors import RunFailed, UserError

Maker = Callable[[int], Catalogue]


def _open(catalogue: Catalogue, cache: Path, reporter: Recorder | None = None) -> ImageStore:
    return open_store(catalogue, 32, cache=cache, reporter=reporter or Recorder())


def _never(path: Path, side: int, scale: Scale | None) -> Square:
    raise AssertionError(f"{path} decoded again")


def _folder(catalogue: Catalogue, cache: Path) -> Path:
    (folder,) = (cache / "stores").glob(f"*-{stored_side(32)}")
    return folder


def test_the_stored_square_is_what_the_usual_evaluation_resizes_to() -> None:
    assert stored_side(224) == 256
    assert stored_side(32) == 37


def test_a_store_holds_every_image_squashed_with_its_true_size(
    pictures: Maker, tmp_path: Path, recorder: Recorder
) -> None:
    catalogue = pictures(20)
    store = _open(catalogue, tmp_path, recorder)
    assert store.pixels.shape == (20, 3, 37, 37)
    assert store.side == 37
    for position, record in enumerate(catalogue.records):
        with Image.open(record.path) as image:
            expected = np.asarray(image.resize((37, 37), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
            assert tuple(store.sizes[position]) == image.size
        np.testing.assert_array_equal(store.pixels[position], expected)
    assert recorder.steps[-1] == ("decode images", 20, 20)
    assert store.unreadable == ()


def test_a_second_run_decodes_nothing(pictures: Maker, tmp_path: Path) -> None:
    catalogue = pictures(3)
    first = _open(catalogue, tmp_path)
    again = open_store(catalogue, 32, cache=tmp_path, reporter=Recorder(), decode=_never)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.sizes, again.sizes)


def test_other_data_and_other_sizes_have_their_own_stores(pictures: Maker, tmp_path: Path) -> None:
    catalogue = pictures(4)
    _open(catalogue, tmp_path)
    fewer = replace(catalogue, records=catalogue.records[:3])
    assert len(_open(fewer, tmp_path)) == 3
    assert open_store(catalogue, 64, cache=tmp_path, reporter=Silent()).side == 73
    assert len(_open(catalogue, tmp_path)) == 4


def test_gathered_squares_are_copies_in_the_order_asked_for(pictures: Maker, tmp_path: Path) -> None:
    store = _open(pictures(5), tmp_path)
    squares = store.gather(np.array([4, 0, 4]), CPU)
    assert squares.dtype == torch.uint8
    np.testing.assert_array_equal(squares.numpy(), store.pixels[[4, 0, 4]])
    squares.zero_()
    assert store.pixels[4].any()
    assert store.to(CPU) is store
    assert store.near(CPU, Silent()) is store


def test_a_resident_copy_is_what_is_gathered_from(
    pictures: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACCELERATORS, "meta", PosingGpu())
    store = _open(pictures(5), tmp_path)
    resident = replace(store, resident=torch.from_numpy(255 - store.pixels))  # told apart by being inverted
    np.testing.assert_array_equal(resident.gather(np.array([3, 1]), CPU).numpy(), 255 - store.pixels[[3, 1]])
    moved = store.to(POSER)
    assert moved.resident is not None
    assert moved.resident.shape == store.pixels.shape
    assert moved.gather(np.array([3, 1]), POSER).shape == (2, 3, 37, 37)
    np.testing.assert_array_equal(moved.gather(np.array([3]), CPU).numpy(), store.pixels[[3]])
    assert moved.withdraw()
    assert moved.resident is None
    assert not moved.withdraw()


def test_a_store_lies_near_a_device_that_it_leaves_most_of_the_memory(
    pictures: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _open(pictures(5), tmp_path)
    gpu = PosingGpu(free=4 * store.pixels.nbytes)
    monkeypatch.setitem(ACCELERATORS, "meta", gpu)
    assert store.near(POSER, Silent()).resident is not None
    gpu.free -= 4
    assert store.near(POSER, Silent()) is store


def test_a_store_whose_copy_finds_no_memory_after_all_stays_with_the_host_and_says_so(
    pictures: Maker, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program took it between the question and the copy."""
    store = _open(pictures(5), tmp_path)
    gpu = PosingGpu()
    monkeypatch.setitem(ACCELERATORS, "meta", gpu)

    def full(*_: object, **__: object) -> torch.Tensor:
        raise OF_TORCH

    monkeypatch.setattr(torch, "empty", full)
    assert store.near(POSER, recorder) is store
    assert gpu.released == 1
    assert recorder.messages("warning") == ["out of device memory: the decoded images stay with the host"]


def test_odd_files_are_decoded_and_broken_ones_left_out_by_name(tmp_path: Path, recorder: Recorder) -> None:
    picture = Image.fromarray(smooth_picture(80, 60))
    files = {
        name: tmp_path / f"{name}.jpg" for name in ("gif", "palette", "rgba", "grey", "text", "cut", "empty")
    }
    picture.save(files["gif"], "GIF")
    picture.convert("P").save(files["palette"], "PNG")
    picture.convert("RGBA").save(files["rgba"], "PNG")
    picture.convert("L").save(files["grey"], "JPEG")
    files["text"].write_text("not a picture")
    picture.save(files["cut"], "PNG")
    files["cut"].write_bytes(files["cut"].read_bytes()[:400])
    files["empty"].touch()
    catalogue = catalogue_of(list(files.values()))
    for store in (_open(catalogue, tmp_path, recorder), _open(catalogue, tmp_path, recorder)):
        assert [image.id for image in store.unreadable] == ["text", "cut", "empty"]
        assert store.unreadable_positions.tolist() == [4, 5, 6]
        assert store.readable(np.array([6, 0, 4, 3])).tolist() == [0, 3]
        for position in range(4):
            assert store.pixels[position].std() > 10
        assert not store.pixels[4:].any()
    warnings = recorder.messages("warning")
    assert len(warnings) == 2
    for name in ("text", "cut", "empty"):
        assert name in warnings[0]


def test_one_image_that_cannot_be_decoded_is_told_of_as_one(
    pictures: Maker, tmp_path: Path, recorder: Recorder
) -> None:
    catalogue = pictures(3)
    catalogue.records[1].path.write_text("not a picture")
    _open(catalogue, tmp_path, recorder)
    (warning,) = recorder.messages("warning")
    assert warning.startswith("1 image cannot be decoded and is left out. ")


def test_where_nothing_can_be_decoded_the_user_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("not a picture")
    with pytest.raises(UserError, match=r"none of the images \(1\)"):
        _open(catalogue_of([path]), tmp_path)


def test_an_image_that_is_gone_is_not_remembered_as_broken(pictures: Maker, tmp_path: Path) -> None:
    catalogue = pictures(3)
    gone = catalogue.records[1].path
    content = gone.read_bytes()
    gone.unlink()
    with pytest.raises(UserError, match="gone"):
        _open(catalogue, tmp_path)
    gone.write_bytes(content)
    assert _open(replace(catalogue), tmp_path).unreadable == ()


DAMAGE = (
    *("no json", "wrong json", "old format", "other images", "no pixels", "directory", "pipe", "endless"),
    *("odd header", "short pixels", "long pixels", "other pixels"),
)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_built_again(
    pictures: Maker, tmp_path: Path, recorder: Recorder, damage: str
) -> None:
    catalogue = pictures(6)
    sound = np.array(_open(catalogue, tmp_path).pixels)
    folder = _folder(catalogue, tmp_path)
    meta, pixels = folder / META, folder / PIXELS
    if damage == "no json":
        meta.write_bytes(meta.read_bytes()[:-7])
    elif damage == "wrong json":
        write_sealed(meta, b'{"sizes": "many"}')
    elif damage == "old format":
        write_sealed(meta, json.dumps(json.loads(read_sealed(meta) or b"") | {"format": 1}).encode())
    elif damage == "other images":
        told = json.loads(read_sealed(meta) or b"")
        write_sealed(meta, json.dumps(told | {"sizes": told["sizes"][1:]}).encode())
    elif damage == "no pixels":
        pixels.unlink()
    elif damage == "directory":
        pixels.unlink()
        (pixels / "in it").mkdir(parents=True)
    elif damage == "pipe":
        meta.unlink()
        os.mkfifo(meta)
    elif damage == "endless":
        pixels.unlink()
        pixels.symlink_to("/dev/zero")
    elif damage == "odd header":  # numpy's parser raises a TokenError of it
        content = bytearray(pixels.read_bytes())
        content[10:14] = b"{" + b"'" * 3
        pixels.write_bytes(content)
    elif damage == "short pixels":
        os.truncate(pixels, 5000)
    elif damage == "long pixels":
        os.truncate(pixels, pixels.stat().st_size + 1)
    else:
        np.save(pixels, np.zeros((6, 37, 37, 3), dtype=np.uint8))
    store = _open(catalogue, tmp_path, recorder)
    np.testing.assert_array_equal(store.pixels, sound)
    assert any("damaged" in text for text in recorder.messages("warning"))
    assert recorder.steps
    quiet = Recorder()
    _open(catalogue, tmp_path, quiet)
    assert quiet.events == []


def test_a_full_disk_is_noticed_before_anything_is_decoded(
    pictures: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = pictures(3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"needs 12\.0 KiB and only 1000 B is free"):
        open_store(catalogue, 32, cache=tmp_path, reporter=Silent(), decode=_never)


def test_a_disk_that_fills_up_while_decoding_fails_the_run_and_leaves_nothing(
    pictures: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = pictures(3)

    def full(file: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(RunFailed, match=r"disk filled up.*12\.0 KiB"):
            _open(catalogue, tmp_path)
    assert list(_folder(catalogue, tmp_path).iterdir()) == []
    assert len(_open(catalogue, tmp_path)) == 3


def test_a_cache_that_cannot_be_written_is_the_users_error(pictures: Maker, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    with pytest.raises(UserError, match="PETBENCH_CACHE"):
        _open(pictures(2), tmp_path / "cache")


_BUILDER = r"""
import os, sys, time
from pathlib import Path
from tests.loader.conftest import Recorder, catalogue_of
from workbench.loader.store_build import decode_square
from workbench.loader.store import open_store

cache, pause, paths = Path(sys.argv[1]), float(sys.argv[2]), [Path(p) for p in sys.argv[3:]]

def slow(path, side, scale):
    os.write(1, b"decoding\n")  # print writes the line and its end apart, and threads mix them
    time.sleep(pause)
    return decode_square(path, side, scale)

recorder = Recorder()
store = open_store(catalogue_of(paths), 32, cache=cache, reporter=recorder, decode=slow)
waited = any("waiting" in text for text in recorder.messages("info"))
print("waited" if waited else "went on", int(store.pixels.sum()))
"""


def _builder(catalogue: Catalogue, cache: Path, log: Path, pause: float) -> subprocess.Popen[bytes]:
    """A process that opens the store, decoding with a pause an image; what it does goes to `log`."""
    paths = [str(record.path) for record in catalogue.records]
    command = [sys.executable, "-c", _BUILDER, str(cache), str(pause), *paths]
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, cwd=Path(__file__).parents[2])


def _wait_until_decoding(builder: subprocess.Popen[bytes], log: Path) -> None:
    while "decoding" not in log.read_text():
        assert builder.poll() is None
        time.sleep(0.02)


def test_of_two_runs_one_builds_and_the_other_waits(pictures: Maker, tmp_path: Path) -> None:
    catalogue, logs = pictures(12), (tmp_path / "first.log", tmp_path / "second.log")
    first = _builder(catalogue, tmp_path, logs[0], 0.4)
    _wait_until_decoding(first, logs[0])  # so it holds the lock
    second = _builder(catalogue, tmp_path, logs[1], 0.0)
    assert [first.wait(), second.wait()] == [0, 0]
    total = int(_open(catalogue, tmp_path).pixels.sum())
    assert logs[0].read_text().split("\n")[:-1] == ["decoding"] * 12 + [f"went on {total}"]
    # Slow to start, it may find the store finished; what it must not do is build.
    assert logs[1].read_text() in (f"waited {total}\n", f"went on {total}\n")


def test_who_waits_says_so(pictures: Maker, tmp_path: Path) -> None:
    catalogue, decoding, go_on = pictures(4), threading.Event(), threading.Event()

    def held(path: Path, side: int, scale: Scale | None) -> Square:
        decoding.set()
        assert go_on.wait(60)
        return decode_square(path, side, scale)

    class Waiting(Recorder):
        def event(self, event: object) -> None:
            assert isinstance(event, Message)
            super().event(event)
            go_on.set()

    waiting = Waiting()
    builder = threading.Thread(
        target=lambda: open_store(catalogue, 32, cache=tmp_path, reporter=Silent(), decode=held)
    )
    builder.start()
    assert decoding.wait(60)
    store = open_store(catalogue, 32, cache=tmp_path, reporter=waiting, decode=_never)
    builder.join()
    assert len(store) == 4
    assert any("waiting" in text for text in waiting.messages("info"))


def test_a_killed_builder_leaves_rows_that_are_whole_and_nothing_in_the_way(
    pictures: Maker, tmp_path: Path
) -> None:
    catalogue = pictures(8)
    log = tmp_path / "log"
    builder = _builder(catalogue, tmp_path, log, 0.5)
    _wait_until_decoding(builder, log)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    folder = _folder(catalogue, tmp_path)
    store = _open(catalogue, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["meta.sealed", "pixels.npy"]
    np.testing.assert_array_equal(store.pixels, _open(catalogue, tmp_path / "other").pixels)


class Counting:
    """Decodes, and notes which images."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, path: Path, side: int, scale: Scale | None) -> Square:
        self.seen.append(path.stem)
        return decode_square(path, side, scale)


def _by_need(catalogue: Catalogue, cache: Path, decode: Counting) -> ImageStore:
    return open_store(catalogue, 32, cache=cache, reporter=Recorder(), decode=decode, by_need=True)


def test_only_what_is_asked_for_is_decoded_and_nothing_twice(pictures: Maker, tmp_path: Path) -> None:
    catalogue, first, second = pictures(8), Counting(), Counting()
    names = [record.path.stem for record in catalogue.records]
    store, other = (_by_need(catalogue, tmp_path, decode) for decode in (first, second))
    assert first.seen == []
    store.fill(np.array([6, 1, 1]))
    other.fill(np.array([1, 2]))  # it began before the first one's rows were there
    assert (sorted(first.seen), second.seen) == (sorted([names[1], names[6]]), [names[2]])
    store.gather(np.array([2, 6]), CPU)  # and this one learns of the other's
    assert len(first.seen) == 2
    whole = open_store(catalogue, 32, cache=tmp_path, reporter=Recorder(), decode=(third := Counting()))
    assert sorted(third.seen) == sorted(set(names) - {names[1], names[2], names[6]})
    truth = _open(catalogue, tmp_path / "other")
    for opened in (store, other, whole):
        np.testing.assert_array_equal(
            opened.gather(np.arange(8), CPU).numpy(), truth.gather(np.arange(8), CPU).numpy()
        )
        np.testing.assert_array_equal(opened.sizes, truth.sizes)
    ours, theirs = _folder(catalogue, tmp_path), _folder(catalogue, tmp_path / "other")
    for name in (META, PIXELS):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_views_of_an_image_that_nobody_asked_for_have_its_true_size(pictures: Maker, tmp_path: Path) -> None:
    catalogue = pictures(3)
    store, everything = _by_need(catalogue, tmp_path, Counting()), np.tile(np.array(WHOLE), (1, 1))
    sizes, _ = store.parts(np.array([1]), everything.astype(np.float32))
    assert tuple(sizes[0]) == catalogue.records[1].size


def test_what_was_decoded_before_an_interrupt_stays(pictures: Maker, tmp_path: Path) -> None:
    catalogue = pictures(20)

    class Stopping(Recorder):
        def progress(self, task: str, done: int, total: int) -> None:
            if task != "read contents":
                raise KeyboardInterrupt

    store = open_store(catalogue, 32, cache=tmp_path, reporter=Stopping(), by_need=True)
    with pytest.raises(KeyboardInterrupt):
        store.fill(np.arange(20))
    _by_need(catalogue, tmp_path, left := Counting()).fill(np.arange(20))
    assert 0 < len(left.seen) <= 4


def test_of_unreadable_images_those_asked_for_are_told_once(tmp_path: Path, recorder: Recorder) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for path in paths:
        Image.fromarray(smooth_picture(40, 30)).save(path)
    for path in (paths[1], paths[3]):
        path.write_text("not a picture")
    store = open_store(catalogue_of(paths), 32, cache=tmp_path / "cache", reporter=recorder, by_need=True)
    assert store.readable(np.array([0, 1])).tolist() == [0]
    assert store.unreadable_positions.tolist() == [1]
    assert store.readable(np.array([0, 1, 2, 3])).tolist() == [0, 2]
    assert [text.count("not an image") for text in recorder.messages("warning")] == [1, 1]


def test_a_store_that_was_removed_while_it_was_used_fails_the_run_that_can_be_resumed(
    pictures: Maker, tmp_path: Path
) -> None:
    catalogue = pictures(4)
    store = _by_need(catalogue, tmp_path, Counting())
    store.fill(np.array([0]))
    shutil.rmtree(_folder(catalogue, tmp_path))
    _open(catalogue, tmp_path)
    store.gather(np.array([0]), CPU)
    with pytest.raises(RunFailed, match="removed or made anew"):
        store.gather(np.array([1]), CPU)


def test_the_sidecar_of_another_store_is_noticed(pictures: Maker, tmp_path: Path) -> None:
    catalogue = pictures(6)
    truth = _open(catalogue, tmp_path).gather(np.arange(6), CPU).numpy()
    meta = _folder(catalogue, tmp_path) / META
    other = json.loads(read_sealed(meta) or b"") | {"store": "another", "checksums": [0] * 6}
    write_sealed(meta, json.dumps(other).encode())
    recorder = Recorder()
    store = _open(catalogue, tmp_path, recorder)
    assert any("another store's" in text for text in recorder.messages("warning"))
    np.testing.assert_array_equal(store.gather(np.arange(6), CPU).numpy(), truth)


@pytest.mark.parametrize("name", [PIXELS, META])
def test_whatever_is_damaged_in_a_store_its_rows_are_what_was_decoded(
    pictures: Maker, tmp_path: Path, name: str
) -> None:
    catalogue = pictures(6)
    every = np.arange(6)
    sound = _open(catalogue, tmp_path)
    truth, sizes = sound.gather(every, CPU).numpy(), np.array(sound.sizes)
    path = _folder(catalogue, tmp_path) / name
    content, source = path.read_bytes(), random.Random(5)
    # The first bytes each in turn, since they are numpy's header, and the seal.
    flipped = [content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in range(96)]
    for damaged in (*flipped, *(damaged_copy(content, source) for _ in range(104))):
        path.write_bytes(damaged)
        recorder = Recorder()
        store = _open(catalogue, tmp_path, recorder)
        np.testing.assert_array_equal(store.gather(every, CPU).numpy(), truth)
        np.testing.assert_array_equal(store.sizes, sizes)
        assert len(recorder.messages("warning")) == 1
        assert path.read_bytes() == content


def test_pictures_of_other_content_and_the_same_length_have_another_store(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.bmp" for i in range(2)]
    for path in paths:
        Image.new("RGB", (40, 30), "red").save(path)
    first = catalogue_of(paths)
    red = _open(first, tmp_path / "cache").gather(np.arange(2), CPU)
    status = paths[1].stat()
    Image.new("RGB", (40, 30), "blue").save(paths[1])
    os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns))  # a copy that keeps times
    second = catalogue_of(paths)
    assert first.fingerprint_by_name == second.fingerprint_by_name
    assert first.fingerprint != second.fingerprint
    seen = _open(second, tmp_path / "cache").gather(np.arange(2), CPU)
    assert torch.equal(seen[0], red[0])
    assert seen[1, 2].min() == 255
    # Back again, the first store serves: nothing is decoded.
    Image.new("RGB", (40, 30), "red").save(paths[1])
    third = open_store(catalogue_of(paths), 32, cache=tmp_path / "cache", reporter=Recorder(), decode=_never)
    assert torch.equal(third.gather(np.arange(2), CPU), red)


def test_a_damaged_row_whose_image_is_gone_fails_the_run_instead_of_training_it(
    pictures: Maker, tmp_path: Path
) -> None:
    catalogue = pictures(3)
    _open(catalogue, tmp_path)
    path = _folder(catalogue, tmp_path) / PIXELS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    store = _open(catalogue, tmp_path)
    catalogue.records[2].path.unlink()
    store.gather(np.array([0, 1]), CPU)
    with pytest.raises(RunFailed, match="row of the decoded store is damaged"):
        store.gather(np.array([2]), CPU)


def test_an_image_that_changes_while_it_is_decoded_is_refused(pictures: Maker, tmp_path: Path) -> None:
    catalogue = pictures(3)

    def swapping(path: Path, side: int, scale: Scale | None) -> Square:
        square = decode_square(path, side, scale)
        if path == catalogue.records[1].path:
            Image.new("RGB", (90, 80)).save(path)
        return square

    with pytest.raises(UserError, match="changed while it was read"):
        open_store(catalogue, 32, cache=tmp_path, reporter=Recorder(), decode=swapping)


HEAD = HeadBox(0.25, 0.4, 0.75, 0.6)


def _detailed(folder: Path) -> Path:
    """400 x 300 pixels, grey but for stripes of one pixel in `HEAD`, which no small square can show."""
    pixels = np.full((300, 400, 3), 128, dtype=np.uint8)
    pixels[120:180, 100:300] = np.where(np.arange(200) % 2 < 1, 0, 255)[:, None]
    path = folder / "detailed.png"
    Image.fromarray(pixels).save(path)
    return path


def test_heads_are_cut_from_the_files_own_pixels(tmp_path: Path) -> None:
    path = _detailed(tmp_path)
    catalogue = catalogue_of([path, path], heads={1: HEAD})
    boxes = np.array([WHOLE, astuple(HEAD)], dtype=np.float32)
    both = np.arange(2)
    plain = open_store(catalogue, 224, cache=tmp_path / "cache", reporter=Recorder())
    store = open_store(catalogue, 224, cache=tmp_path / "cache", reporter=Recorder(), with_heads=True)
    sizes, windows = store.parts(both, boxes)
    assert sizes.tolist() == [[400, 300], [200, 60]]
    assert windows.tolist() == [list(WHOLE)] * 2
    whole, head = store.gather_parts(both, boxes, CPU)
    assert torch.equal(whole, plain.gather(both[:1], CPU)[0])
    with Image.open(path) as image:
        cut = image.crop((100, 120, 300, 180)).resize((256, 256), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(head.permute(1, 2, 0).numpy(), np.asarray(cut))
    # Of the image's own square a head is a part, and the stripes are blurred there.
    left, top, right, bottom = (round(256 * edge) for edge in astuple(HEAD))
    part = plain.gather(both[1:], CPU)[0, :, top:bottom, left:right].float()
    assert part.std() < 0.8 * head.float().std()
    assert plain.parts(both, boxes)[1][1].tolist() == pytest.approx(astuple(HEAD))


def test_heads_are_decoded_once_and_mended_when_damaged(tmp_path: Path) -> None:
    catalogue = catalogue_of([_detailed(tmp_path)], heads={0: HEAD})
    boxes = np.array([astuple(HEAD)], dtype=np.float32)
    first, again, damaged = Recorder(), Recorder(), Recorder()

    def opened(recorder: Recorder) -> ImageStore:
        return open_store(catalogue, 32, cache=tmp_path / "cache", reporter=recorder, with_heads=True)

    squares = opened(first).gather_parts(np.array([0]), boxes, CPU)
    assert first.steps.count(("decode images", 1, 1)) == 2
    opened(again)
    assert ("decode images", 1, 1) not in again.steps
    (folder,) = (tmp_path / "cache" / "stores").glob(f"*-heads-{stored_side(32)}")
    pixels = np.load(folder / PIXELS, mmap_mode="r+")
    pixels[0, 0, 5] ^= 255
    pixels.flush()
    assert torch.equal(opened(damaged).gather_parts(np.array([0]), boxes, CPU), squares)
    assert any("decoded again: detailed" in text for text in damaged.messages("warning"))


def test_other_head_boxes_are_other_heads(tmp_path: Path) -> None:
    path, found = _detailed(tmp_path), []
    for box in (HEAD, HeadBox(0.0, 0.0, 0.5, 0.5)):
        catalogue = catalogue_of([path], heads={0: box})
        store = open_store(catalogue, 32, cache=tmp_path / "cache", reporter=Recorder(), with_heads=True)
        found.append(store.gather_parts(np.array([0]), np.array([astuple(box)], dtype=np.float32), CPU))
    assert not torch.equal(*found)


def test_a_store_scale_keeps_more_pixels_in_a_store_of_its_own(tmp_path: Path) -> None:
    assert stored_side(224, 2.0) == 448
    catalogue = catalogue_of([_detailed(tmp_path)])
    usual = open_store(catalogue, 32, cache=tmp_path / "cache", reporter=Recorder())
    larger = open_store(catalogue, 32, cache=tmp_path / "cache", reporter=Recorder(), scale=2.0)
    assert (usual.side, larger.side) == (37, 64)
    assert len(list((tmp_path / "cache" / "stores").glob("[!.]*"))) == 2
