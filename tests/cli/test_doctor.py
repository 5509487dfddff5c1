"""`petbench doctor`: what it finds, on this machine and on machines described to it; it never crashes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.cli.commands import run_command
from tests.dataset.pictures import small_oxford
from workbench.cli.block_sheet import BlockSheet
from workbench.cli.doctor import (
    Terminal,
    container_limit,
    doctor,
    judge_terminal,
    look_at_cache,
    look_at_data,
    look_at_runs,
    write_trouble,
)
from workbench.cli.gpu_health import (
    Check,
    Driver,
    DriverTrouble,
    Finding,
    Gpu,
    GpuProcess,
    Level,
    TorchBuild,
    judge_gpus,
    run_checks,
)
from workbench.tui.pictures.blocks import Blocks, glyphs

GIB = 2**30


def findings(*arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The doctor's findings by name."""
    result = run_command(doctor, *arguments, "--json")
    assert result.exit_code == code, result.output
    return {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}


def only(found: Iterator[Finding]) -> Finding:
    """The one finding there is."""
    (finding,) = found
    return finding


def test_this_machine_can_be_looked_over(tmp_path: Path) -> None:
    found = findings("--runs-dir", str(tmp_path / "runs"))
    assert {
        "petbench",
        "torch",
        "bf16",
        "CPU",
        "memory",
        "data",
        "weights",
        "runs",
        "cache",
        "session",
    } <= set(found)
    assert found["runs"]["level"] == "ok"
    assert found["data"]["level"] == "warning"
    assert "petbench data get" in found["data"]["advice"]
    assert not (tmp_path / "runs").exists()
    text = run_command(doctor).stdout
    assert "→ petbench data get" in text
    assert "ready to train" in text


def test_an_error_exits_with_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = findings("--runs-dir", str(tmp_path / "file"), code=1)
    assert found["runs"]["level"] == "error"
    assert "is a file" in found["runs"]["text"]
    assert "--runs-dir" in found["runs"]["advice"]
    result = run_command(doctor, "--runs-dir", str(tmp_path / "file"))
    assert result.exit_code == 1
    assert "no run can train here yet" in result.stdout


def test_whatever_breaks_is_a_warning_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_over() -> Iterator[Finding]:
        yield Finding("first", Level.OK, "seen before it broke")
        raise RuntimeError("the\nroof is gone")

    found = list(
        run_checks([Check("roof", fall_over), Check("next", lambda: [Finding("next", Level.OK, "")])])
    )
    assert [finding.name for finding in found] == ["first", "roof", "next"]
    assert found[1].level is Level.WARNING
    assert found[1].text == "could not be checked: RuntimeError: the roof is gone"


def test_without_torch_the_rest_is_still_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", cast(Any, None))
    found = findings(code=1)
    assert found["torch"]["level"] == "error"
    assert "pip install" in found["torch"]["advice"]
    assert found["bf16"]["level"] == "warning"
    assert found["runs"]["level"] == "ok"


def test_a_terminal_without_utf8_gets_plain_letters(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", "doctor", "--runs-dir", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "warning  letters" in result.stdout


GPU = Gpu(0, "NVIDIA H100", 80 * GIB, 78 * GIB, ())
CUDA_BUILD = TorchBuild("2.11.0", "12.8", None, available=True)
DEAF_BUILD = TorchBuild("2.11.0", "12.8", None, available=False)
CPU_BUILD = TorchBuild("2.11.0+cpu", None, None, available=False)
NO_DRIVER = DriverTrouble("no NVIDIA driver", missing=True)


def judged(
    build: TorchBuild,
    driver: Driver | DriverTrouble,
    *,
    card_present: bool = True,
    visible: str | None = None,
) -> list[Finding]:
    """The findings on such a machine."""
    return list(judge_gpus(build, driver, card_present=card_present, visible=visible))


def test_a_card_that_this_torch_has_no_code_for_is_told_the_wheel_to_install() -> None:
    volta = replace(GPU, name="Tesla V100", capability=(7, 0))
    build = replace(CUDA_BUILD, built_for=("sm_75", "sm_80", "sm_90", "compute_90"))
    gpu, _ = judged(build, Driver("570.1", (12, 8), (volta,)))
    assert gpu.level is Level.WARNING
    assert "no code for its compute capability 7.0" in gpu.text
    assert "https://download.pytorch.org/whl/cu126" in gpu.advice
    fits, _ = judged(build, Driver("570.1", (12, 8), (replace(volta, capability=(8, 9)),)))
    assert fits.level is Level.OK


def test_a_divided_card_says_so() -> None:
    gpu, _ = judged(CUDA_BUILD, Driver("570.1", (12, 8), (replace(GPU, slices=7),)))
    assert gpu.text.endswith("divided by MIG into 7")


def test_a_free_gpu_that_torch_can_use_is_well() -> None:
    gpu, driver = judged(CUDA_BUILD, Driver("570.1", (12, 8), (GPU,)))
    assert gpu.level is driver.level is Level.OK
    assert gpu.text == "NVIDIA H100, 78.0 GiB of 80.0 GiB free"
    assert "driver 570.1, CUDA 12.8" in driver.text


@pytest.mark.parametrize(
    ("build", "driver_cuda", "visible", "part"),
    [
        (CPU_BUILD, (12, 8), None, "this torch is a CPU build"),
        (DEAF_BUILD, (11, 4), None, "too old for torch, which was built for CUDA 12.8"),
        (DEAF_BUILD, (12, 8), "", "CUDA_VISIBLE_DEVICES hides every GPU"),
        (DEAF_BUILD, (12, 8), None, "cannot use it"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_explained(
    build: TorchBuild, driver_cuda: tuple[int, int], visible: str | None, part: str
) -> None:
    finding = judged(build, Driver("535.2", driver_cuda, (GPU,)), visible=visible)[-1]
    assert finding.level is Level.WARNING
    assert part in finding.text
    assert finding.advice


@pytest.mark.parametrize(
    ("driver", "card_present", "level", "part"),
    [
        (NO_DRIVER, False, Level.OK, "runs use the CPU"),
        (NO_DRIVER, True, Level.WARNING, "an NVIDIA card is there, but no driver"),
        (DriverTrouble("Driver/library version mismatch", missing=False), True, Level.WARNING, "mismatch"),
    ],
)
def test_without_a_driver_the_hardware_decides(
    driver: DriverTrouble, card_present: bool, level: Level, part: str
) -> None:
    (finding,) = judged(CPU_BUILD, driver, card_present=card_present)
    assert finding.level is level
    assert part in finding.text


def test_others_on_a_gpu_are_named_and_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    mine = GpuProcess(7, "me", 2 * GIB)
    others = (GpuProcess(8, "alice", 40 * GIB), GpuProcess(9, None, None))

    def finding(free: int, *processes: GpuProcess) -> Finding:
        gpu = Gpu(1, "A100", 80 * GIB, free, processes)
        return judged(CUDA_BUILD, Driver("570.1", (12, 8), (gpu,)))[0]

    shared = finding(38 * GIB, mine, *others)
    assert shared.level is Level.WARNING
    assert "yours: me (pid 7, 2.0 GiB)" in shared.text
    assert "others: alice (pid 8, 40.0 GiB), unseen user (pid 9)" in shared.text
    assert finding(78 * GIB, mine).level is Level.OK
    assert finding(10 * GIB, mine).level is Level.WARNING


def test_a_containers_memory_limit_is_read_in_both_versions(tmp_path: Path) -> None:
    assert container_limit(tmp_path) is None
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("2147483648\n")
    assert container_limit(tmp_path) == 2 * GIB
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert container_limit(tmp_path) == GIB


def test_the_oxford_set_is_counted_against_its_lists(tmp_path: Path) -> None:
    root = small_oxford(tmp_path / "oxford-iiit-pet")
    whole = only(look_at_data(tmp_path))
    assert whole.level is Level.OK
    assert "4 training and 2 test images" in whole.text
    (root / "images" / "Tom_2.jpg").unlink()
    broken = only(look_at_data(tmp_path))
    assert broken.level is Level.WARNING
    assert "1 of them missing, such as Tom_2" in broken.text
    assert "petbench data check" in broken.advice


def test_a_full_disk_is_an_error_and_a_nearly_full_one_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, level in ((10, Level.ERROR), (GIB // 2, Level.WARNING), (100 * GIB, Level.OK)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        for look in (look_at_runs, look_at_cache):
            assert only(look(tmp_path)).level is level


def test_places_that_cannot_be_written_are_found_without_making_them(tmp_path: Path) -> None:
    assert write_trouble(tmp_path / "new" / "deep") == ""
    assert not (tmp_path / "new").exists()
    assert write_trouble(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    assert write_trouble(tmp_path / "file") == "is a file, not a directory"
    assert "file is a file" in write_trouble(tmp_path / "file" / "below")
    assert "cannot be written" in write_trouble(Path("/proc"))


def terminal_findings(*, is_terminal: bool = True, **changes: Any) -> dict[str, Finding]:
    """The findings on a good terminal, or on one with these changes."""
    values: dict[str, Any] = {
        "columns": 120,
        "lines": 40,
        "colour_system": "truecolor",
        "encoding": "utf-8",
        "environment": {"TERM": "xterm-256color"},
    }
    terminal = Terminal(is_terminal=is_terminal, **{**values, **changes})
    return {finding.name: finding for finding in judge_terminal(terminal)}


def test_terminals_are_judged_by_size_colours_letters_and_session() -> None:
    good = terminal_findings()
    assert {finding.level for finding in good.values()} == {Level.OK}
    assert terminal_findings(columns=79)["terminal"].level is Level.WARNING
    assert terminal_findings(encoding="ANSI_X3.4-1968")["letters"].level is Level.WARNING
    assert terminal_findings(encoding="UTF-8")["letters"].level is Level.OK
    assert "NO_COLOR" in terminal_findings(colour_system=None, environment={"NO_COLOR": "1"})["colours"].text
    in_tmux = {"TERM": "tmux-256color", "TMUX": "/tmp/x", "SSH_TTY": "/dev/pts/1"}
    assert "terminal-features" in terminal_findings(colour_system="256", environment=in_tmux)["colours"].text
    assert terminal_findings(environment=in_tmux)["session"].level is Level.OK
    over_ssh = terminal_findings(environment={"TERM": "xterm", "SSH_CONNECTION": "a b c d"})["session"]
    assert over_ssh.level is Level.WARNING
    assert "tmux" in over_ssh.advice
    assert "colours" not in terminal_findings(is_terminal=False)


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({"KITTY_WINDOW_ID": "1"}, "Kitty"),
        ({"TERM": "xterm-ghostty"}, "Kitty"),
        ({"TERM": "foot"}, "Sixel"),
        ({"TERM_PROGRAM": "WezTerm", "TMUX": "x"}, "Sixel, by the environment; tmux must allow-passthrough"),
        ({"TERM": "xterm", "SSH_TTY": "x"}, "ssh passes little on"),
        ({}, "plain cells as quadrants; finer blocks, if its font has them, are yours"),
        ({"PETBENCH_IMAGES": "sextant", "TERM": "xterm-kitty"}, "sextant, as PETBENCH_IMAGES says"),
        ({"PETBENCH_IMAGES": "auto", "TERM": "xterm-kitty"}, "Kitty"),
    ],
)
def test_the_picture_protocol_is_guessed_from_the_environment(environment: dict[str, str], part: str) -> None:
    assert part in terminal_findings(environment=environment)["pictures"].text


def test_which_blocks_a_terminal_draws_itself_is_told_by_its_own_answer() -> None:
    finding = terminal_findings(environment={"TERM": "xterm-kitty"}, name="kitty(0.41.1)")["pictures"]
    assert "plain cells as octants, which kitty(0.41.1) draws itself" in finding.text


def test_a_wrong_choice_of_blocks_in_the_environment_is_a_warning() -> None:
    finding = terminal_findings(environment={"PETBENCH_IMAGES": "jpeg"})["pictures"]
    assert finding.level is Level.WARNING
    assert "PETBENCH_IMAGES=jpeg" in finding.text
    assert "octant, sextant, quadrant, half, off" in finding.advice


def test_the_test_picture_shows_one_cat_in_every_kind_of_blocks_in_80_columns() -> None:
    console = Console(width=80, force_terminal=True, color_system="truecolor", file=io.StringIO())
    lines = [
        "".join(segment.text for segment in line).rstrip()
        for line in console.render_lines(BlockSheet(), pad=False)
    ]
    pictures = [line for line in lines if "▀" in line]
    assert len(pictures) == 9
    for number, blocks in enumerate(Blocks):
        shown = {cell for line in pictures for cell in line[20 * number : 20 * number + 18]}
        assert shown <= {*glyphs(blocks), "▀"}
        assert len(shown) > 3 or blocks is Blocks.HALF
    assert any(line.split() == [blocks.value for blocks in Blocks] for line in lines)
    assert "PETBENCH_IMAGES=NAME" in lines[-1]
    assert max(cell_len(line) for line in lines) <= 80
