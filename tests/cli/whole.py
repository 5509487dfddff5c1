"""`petbench …` as a shell would start it, through `main`, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from workbench.cli.main import main


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and the text on both streams."""

    code: int
    out: str
    err: str


Petbench = Callable[..., Said]


def petbench_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Petbench:
    """A function that runs `petbench ARGUMENTS` to its exit."""

    def petbench(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["petbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return Said(exit_.value.code, out, err)

    return petbench
