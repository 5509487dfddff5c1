"""Where things are: the user's runs, the data home, the cache, the user's own settings."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import platformdirs


def runs_home(option: Path | None = None) -> Path:
    """`--runs-dir`, else `$PETBENCH_RUNS`, else `./runs`; absolute."""
    return _first(option, "PETBENCH_RUNS", Path("runs"))


def data_home(option: Path | None = None) -> Path:
    """`--data-dir`, else `$PETBENCH_DATA`, else the user's data directory; holds `oxford-iiit-pet/`."""
    return _first(option, "PETBENCH_DATA", Path(platformdirs.user_data_dir("petbench")))


def cache_home() -> Path:
    """`$PETBENCH_CACHE`, else the user's cache directory: decoded stores and features, safe to delete."""
    return _first(None, "PETBENCH_CACHE", Path(platformdirs.user_cache_dir("petbench")))


def state_home() -> Path:
    """`$PETBENCH_STATE`, else the user's state directory: what the app remembers, its log, device leases."""
    return _first(None, "PETBENCH_STATE", Path(platformdirs.user_state_dir("petbench")))


def config_file() -> Path:
    """`$PETBENCH_CONFIG`, else `config.toml` in the user's configuration directory; it may not be there."""
    return _first(None, "PETBENCH_CONFIG", Path(platformdirs.user_config_dir("petbench")) / "config.toml")


def short_path(path: Path) -> Path:
    """`path` from the working directory where it lies under it, else as it is; to be shown, not kept."""
    with contextlib.suppress(ValueError, OSError):  # elsewhere, or the working directory is gone
        return path.relative_to(Path.cwd())
    return path


def _first(option: Path | None, variable: str, default: Path) -> Path:
    named = option or (Path(os.environ[variable]) if os.environ.get(variable) else default)
    return named.expanduser().absolute()
