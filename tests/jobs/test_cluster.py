"""[cluster] of the user's file and the command line: what sbatch is asked for, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.jobs.cluster import Cluster, read_cluster, typed_options
from workbench.support.errors import UserError

WRITTEN = """
[cluster]
partition = "gpu,spare"
time = "12:00:00"
gpus = 1
max_parallel = 4
lines = ["--account=lab", "#SBATCH --constraint=a100"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A user's file."""
    path = tmp_path / "config.toml"
    path.write_text(WRITTEN)
    return path


def test_no_file_asks_slurm_for_nothing_but_an_early_word(tmp_path: Path) -> None:
    assert read_cluster(file=tmp_path / "none.toml") == Cluster()
    assert Cluster().options == ("--signal=USR1@120",)


def test_the_file_says_what_every_job_is_asked_for(file: Path) -> None:
    cluster = read_cluster(file=file)
    assert cluster.max_parallel == 4
    assert cluster.options == (
        "--partition=gpu,spare",
        "--time=12:00:00",
        "--gres=gpu:1",
        "--signal=USR1@120",
        "--account=lab",
        "--constraint=a100",
    )


def test_the_command_line_has_the_last_word_and_its_sbatch_lines_come_on_top(file: Path) -> None:
    typed = {"partition": "low", "gpus": "a100:2", "time": None, "lines": ["--mem=8G"]}
    cluster = read_cluster(typed, file=file)
    assert (cluster.partition, cluster.gpus, cluster.time) == ("low", "a100:2", "12:00:00")
    assert cluster.lines == ("--account=lab", "--constraint=a100", "--mem=8G")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('time = "soon"', 'cluster.time = "soon"'),
        ("time = 2", "2 is too short: a run is told 120 s before its end"),
        ("partition = 3.5", "cluster.partition = 3.5"),
        ('partition = "a b"', 'cluster.partition = "a b"'),
        ('gpus = "many"', 'cluster.gpus = "many"'),
        ("gpus = true", "cluster.gpus = true"),
        ("max_parallel = 0", "a whole number from 1"),
        ("early_seconds = 5", "a whole number from 30"),
        ('lines = "--account=lab"', "a list of options of sbatch"),
        ('lines = ["account=lab"]', "'account=lab' is no option of sbatch"),
        ('lines = ["--comment=a\\nrm"]', "is no option of sbatch"),
        ('lines = ["--array=0-9"]', "said by the key max_parallel, or --max-parallel"),
        ('lines = ["-o x"]', "said by petbench alone"),
        ('partiton = "low"', "did you mean partition"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_what_is_allowed(
    line: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[cluster]\n{line}\n")
    with pytest.raises(UserError) as caught:
        read_cluster(file=path)
    assert words in str(caught.value)
    assert caught.value.where.endswith("config.toml:2")


def test_all_that_is_wrong_is_said_in_one_message(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[cluster]\ntime = "soon"\ngpus = "many"\n')
    with pytest.raises(UserError) as caught:
        read_cluster({"partition": "a b"}, file=path)
    told = str(caught.value)
    assert told.startswith("[cluster]: 3 problems")
    assert all(place in told for place in ("config.toml:2", "config.toml:3", "--partition"))


@pytest.mark.parametrize("text", ["[other]\nx = 1\n", "cluster = 3\n", "[cluster\n"])
def test_a_file_that_says_something_else_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config\.toml"):
        read_cluster(file=path)


def test_a_typed_line_asks_for_what_the_command_line_would(tmp_path: Path) -> None:
    line = "--partition gpu --time=90 --gpus a100:1 --max-parallel 8 --sbatch=--account=lab"
    asked = typed_options(f"{line} --sbatch '--mem 4G'")
    assert asked == {
        "partition": "gpu",
        "time": "90",
        "gpus": "a100:1",
        "max_parallel": 8,
        "lines": ["--account=lab", "--mem 4G"],
    }
    assert read_cluster(asked, file=tmp_path / "none.toml").options[:2] == ("--partition=gpu", "--time=90")
    assert typed_options("  ") == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--partiton gpu", "no option '--partiton'"),
        ("gpu", "no option 'gpu'"),
        ("--partition", "--partition has no value"),
        ("--time '4:00", "a quotation mark is not closed"),
        ("--max-parallel many", "cluster.max_parallel"),
    ],
)
def test_a_typed_line_that_will_not_do_is_told(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_cluster(typed_options(line), file=tmp_path / "none.toml")
    assert said in str(caught.value)
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("gpus", "count", "asked"), [("", 1, None), ("", 4, "4"), ("a100:4", 4, "a100:4"), ("8", 4, "8")]
)
def test_a_job_asks_for_as_many_gpus_as_train_its_run(gpus: str, count: int, asked: str | None) -> None:
    options = Cluster(gpus=gpus).for_devices(count).options
    assert [option for option in options if option.startswith("--gres")] == (
        [f"--gres=gpu:{asked}"] if asked else []
    )
    again = Cluster(lines=options).for_devices(count).options
    assert sum(option.startswith("--gres") for option in again) == bool(asked), "a job that is given again"


def test_fewer_gpus_than_train_the_run_are_refused() -> None:
    with pytest.raises(UserError, match="2 GPUs a run are fewer than the 4"):
        Cluster(gpus="a100:2").for_devices(4)
