"""`petbench runs tidy`: what killed runs and old caches take up, and to clear it away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from workbench.cli.arguments import Json, RunsDir
from workbench.cli.console import confirm, console, error_console, print_json
from workbench.runs.leftovers import Leftover, Wanted, find_leftovers, remove
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home, runs_home, short_path, state_home
from workbench.support.units import bytes_of, human_bytes, seconds_of

_SHOWN = 40
Number = TypeVar("Number", int, float)


def tidy(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what can go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Also caches (decoded images, features) that were not used, and runs that lie in the trash, "
            "for longer: 30d, 12h, 8w.",
        ),
    ] = None,
    cache_limit: Annotated[
        str | None,
        typer.Option(
            "--cache-limit",
            metavar="SIZE",
            help="Also the caches used least lately, until the rest takes no more: 20GB, 500MiB.",
        ),
    ] = None,
    trash: Annotated[bool, typer.Option("--trash", help="Also all that lies in the trash.")] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Clear away what killed runs left: temporary files, checkpoints of finished runs; caches if asked to.

    Runs that are alive, here or on another machine, are never touched.
    """
    home, cache = runs_home(runs_dir), cache_home()
    wanted = Wanted(
        _read(older_than, seconds_of, "--older-than", "a number and s, m, h, d or w: 30d"),
        _read(cache_limit, bytes_of, "--cache-limit", "a number and B, kB, MB, GB, MiB, GiB …: 20GB"),
        trash,
    )
    found = find_leftovers(home, [state_home()], cache, wanted)
    stayed: dict[Leftover, str] = {}
    total = sum(one.size_bytes for one in found)
    if not as_json and found:
        _tell(found)
    if found and not dry_run:
        confirm(f"Remove {len(found)} of them, {human_bytes(total)}?", yes, hint="add --yes to remove them")
        stayed = {one: why for one, why in remove(found, home) if why}
    if as_json:
        print_json(
            "runs-tidy",
            {
                "removed": not dry_run,
                "bytes": total - sum(one.size_bytes for one in stayed),
                "leftovers": [_record(one, stayed.get(one, "")) for one in found],
            },
        )
        return
    if not found:
        console.print("nothing is left behind")
    elif dry_run:
        console.print(f"{len(found)} can go, {human_bytes(total)}; without --dry-run they do")
    else:
        left = sum(one.size_bytes for one in stayed)
        console.print(f"{len(found) - len(stayed)} removed, {human_bytes(total - left)}")
        for one, why in stayed.items():
            error_console.print(f"{clean(one.path)}: {clean(why)}", style="yellow", soft_wrap=True)


def _read(text: str | None, reader: Callable[[str], Number], option: str, allowed: str) -> Number | None:
    try:
        return None if text is None else reader(text)
    except ValueError:
        raise UserError(f"no size or age: {clean(text, 40)}", where=option, allowed=allowed) from None


def _tell(found: list[Leftover]) -> None:
    for one in found[:_SHOWN]:
        place = clean(short_path(one.path))
        told = f"{human_bytes(one.size_bytes):>10}  {place}: {one.kind}, {clean(one.why)}"
        console.print(told, soft_wrap=True)
    if len(found) > _SHOWN:
        console.print(f"… and {len(found) - _SHOWN} more; --json lists them all")


def _record(one: Leftover, stayed: str) -> dict[str, object]:
    return {
        "path": str(one.path),
        "kind": one.kind,
        "bytes": one.size_bytes,
        "why": one.why,
        "stayed": stayed,
    }
