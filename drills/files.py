"""Every file of a run and of a cache, damaged: gone on with, looked at, trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

from drills.damage import damage
from drills.ground import Ground, Undisturbed, crashed, judge, only_run
from drills.moments import AtStep, die
from drills.processes import MEMORY_BYTES, Ended, Petbench, Place
from drills.table import Outcome, Verdict, drill, in_turn

_STANDS = (("head", 0.5), ("rounds", 0.7), ("head", 0.93), ("trunk", 0.4))
"""Recipes, and how far through its renames each is killed: amid rounds, and amid its conclusion."""


@drill("damage-then-resume", count=3600, short=8)
def then_resume(ground: Ground, dice: Random, number: int) -> Outcome:
    """A file of a killed run is damaged, each in its turn; resume gives the same, or refuses in words."""
    name, share = _STANDS[number % len(_STANDS)]
    undisturbed, stand = ground.undisturbed(name), _stand(ground, name, share)
    with ground.place(undisturbed) as place:
        shutil.copytree(stand.runs, place.runs, symlinks=True)
        run = only_run(place).path
        target = _target(run, number // len(_STANDS))
        done = damage(target, dice, _other(target, run, _another(ground, name), dice))
        what = f"{name} at {share}: {target.relative_to(run)}: {done}"
        ended = Petbench(place, "resume", str(run), memory=MEMORY_BYTES).wait()
        if crashed(ended) is None and ended.code:
            return Outcome(Verdict.REFUSED, what, ended.said)
        # What nobody had to read is not mended; what reads it later is another drill's matter.
        return judge(place, undisturbed, ended, what, besides=str(target.relative_to(run)))


@drill("damage-then-read", count=4400, short=8)
def then_read(ground: Ground, dice: Random, number: int) -> Outcome:
    """A file of a finished run is damaged, each in its turn; what reads it says so, and shows the others."""
    name = ("head", "rounds")[number % 2]
    undisturbed, sound = ground.undisturbed(name), ground.undisturbed("trunk")
    with ground.place() as place:
        shutil.copytree(undisturbed.place.runs, place.runs, symlinks=True)
        shutil.copytree(sound.run.path, place.runs / sound.run.id, symlinks=True)
        run = place.runs / undisturbed.run.id
        if dice.random() < 0.5:  # listed before, so that the list's own cache has it
            Petbench(place, "runs", "ls", "--json").wait()
        target = _target(run, number // 2)
        done = damage(target, dice, _other(target, run, _another(ground, name), dice))
        what = f"{name}: {target.relative_to(run)}: {done}"
        worst = Outcome(Verdict.SAME, what)
        for command in _commands(run, target, sound):
            ended = Petbench(place, *command, memory=MEMORY_BYTES).wait()
            verdict, said = _read_verdict(
                ended, _expected(ground, name, command, run.name), place, sound.run.id
            )
            if _RANK.index(verdict) > _RANK.index(worst.verdict):
                worst = Outcome(verdict, f"{what}; petbench {' '.join(command[:2])}", said)
        return worst


@drill("damage-caches", count=2400, short=8)
def of_caches(ground: Ground, dice: Random, number: int) -> Outcome:
    """A file of the decoded store, the features or the list's cache is damaged; the answers are the same."""
    name = ("head", "trunk", "head", "rounds")[number % 4]
    undisturbed = ground.undisturbed(name)
    with ground.place(undisturbed) as place:
        if number % 4 == 2:  # then features are made of the store's pixels
            shutil.rmtree(place.cache / "features")
        target = _target(place.cache, number // 4)
        done = damage(target, dice, _other(target, place.cache, _other_cache(ground), dice))
        what = f"{name}: {target.relative_to(place.cache)}: {done}"
        ended = Petbench(place, "run", str(undisturbed.recipe), memory=MEMORY_BYTES).wait()
        if crashed(ended) is None and ended.code:
            return Outcome(Verdict.STUCK, what, ended.said)
        return judge(place, undisturbed, ended, what)


@drill("damage-list-cache", count=200, short=4)
def of_list(ground: Ground, dice: Random, _number: int) -> Outcome:
    """The cache of the runs list is damaged; the list is the same."""
    undisturbed, sound = ground.undisturbed("head"), ground.undisturbed("trunk")
    with ground.place() as place:
        for one in (undisturbed, sound):
            shutil.copytree(one.run.path, place.runs / one.run.id, symlinks=True)
        before = Petbench(place, "runs", "ls", "--json").wait()
        caches = [path for path in place.runs.iterdir() if path.name.startswith(".") and path.is_file()]
        if not caches:
            raise RuntimeError("no list is cached")
        target = dice.choice(sorted(caches))
        done = damage(target, dice, undisturbed.run.results)
        after = Petbench(place, "runs", "ls", "--json", memory=MEMORY_BYTES).wait()
        what = f"{target.name}: {done}"
        bad = crashed(after)
        if bad is not None or after.code:
            return Outcome(bad or Verdict.STUCK, what, after.said)
        if after.out != before.out:
            return Outcome(Verdict.SILENT, what, after.out)
        return Outcome(Verdict.TOLD if after.error else Verdict.SAME, what)


_RANK = (
    Verdict.SAME,
    Verdict.TOLD,
    Verdict.REFUSED,
    Verdict.STUCK,
    Verdict.LEFT,
    Verdict.SILENT,
    Verdict.TRACEBACK,
    Verdict.HANG,
)


def _target(folder: Path, turn: int) -> Path:
    """The files below a directory in their turn."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return files[in_turn(turn, len(files))]


def _other(target: Path, folder: Path, elsewhere: Path, dice: Random) -> Path:
    """A sound file of the same name from elsewhere, or any of the same ending beside it."""
    twins = [path for path in elsewhere.rglob(target.name) if path.is_file()]
    beside = [path for path in folder.rglob(f"*{target.suffix}") if path.is_file() and path != target]
    files = sorted(twins) if twins and dice.random() < 0.7 else sorted(beside) or sorted(twins)
    return dice.choice(files) if files else target


def _another(ground: Ground, name: str) -> Path:
    return ground.undisturbed("rounds" if name == "head" else "head").run.path


def _commands(run: Path, target: Path, sound: Undisturbed) -> list[tuple[str, ...]]:
    picture = next(iter(sorted(sound.recipe.parent.parent.glob("sample-0/**/*.jpg"))))
    commands = [
        ("runs", "ls", "--json"),
        ("runs", "show", run.name, "--json"),
        ("inspect", run.name, "--json"),
    ]
    if target.suffix in (".safetensors", ".sha256", ".toml"):
        commands.append(("predict", run.name, str(picture), "--json"))
    if target.suffix == ".csv" or target.name.startswith("unlabelled"):
        commands.append(("inspect", run.name, "--round", "1", "--json"))
    return commands


_cached: dict[tuple[Path, str, tuple[str, ...]], str] = {}


def _expected(ground: Ground, name: str, command: tuple[str, ...], run_id: str) -> str:
    """What the command says where nothing is damaged, without the place's own path."""
    key = (ground.base, name, command)
    if key not in _cached:
        sound = ground.undisturbed("trunk")
        with ground.place() as place:
            shutil.copytree(ground.undisturbed(name).place.runs, place.runs, symlinks=True)
            shutil.copytree(sound.run.path, place.runs / sound.run.id, symlinks=True)
            ended = Petbench(place, *command).wait()
            if ended.code:
                raise RuntimeError(
                    f"petbench {' '.join(command)} fails on the sound run {run_id}: {ended.said}"
                )
            _cached[key] = ended.out.replace(str(place.home), "HOME")
    return _cached[key]


def _read_verdict(ended: Ended, expected: str, place: Place, sound_id: str) -> tuple[Verdict, str]:
    bad = crashed(ended)
    if bad is not None:
        return bad, ended.said
    out = ended.out.replace(str(place.home), "HOME")
    if out == expected:
        return (Verdict.TOLD if ended.error else Verdict.SAME), ""
    if ended.code:
        return Verdict.REFUSED, ""
    row = _row(expected, sound_id)
    if row is not None and _row(out, sound_id) != row:
        return Verdict.SILENT, f"the other run's row changed: {out[:400]}"
    if ended.error or '"problem": "' in out or '"problems": [' in out:
        return Verdict.TOLD, ""
    return Verdict.SILENT, _first_difference(expected, out)


def _row(text: str, run_id: str) -> object:
    """The sound run's row in a list; None in what is no list of runs."""
    found = json.loads(text)
    rows = found.get("runs") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        return None
    return next((row for row in rows if isinstance(row, dict) and row.get("id") == run_id), None)


def _first_difference(expected: str, out: str) -> str:
    for before, after in zip(expected.splitlines(), out.splitlines(), strict=False):
        if before != after:
            return f"{before.strip()[:150]} became {after.strip()[:150]}"
    return "shorter or longer"


def _stand(ground: Ground, name: str, share: float) -> Place:
    """A run of this recipe that was killed so far through its renames."""
    undisturbed = ground.undisturbed(name)
    place = Place(ground.base / f"stand-{name}-{share}")
    if not place.home.exists():
        step = undisturbed.renames[int(share * len(undisturbed.renames))]
        Petbench(place, "run", str(undisturbed.recipe), fault=AtStep(place, step, die)).wait()
        for path in only_run(place).path.rglob(".*.tmp"):
            path.unlink()
    return place


def _other_cache(ground: Ground) -> Path:
    """A cache of other images, as many and as large."""
    place = Place(ground.base / "other-images")
    if not place.home.exists():
        recipe = ground.recipe("head", home=place.home, sample_seed=1)
        ended = Petbench(place, "run", str(recipe)).wait()
        if ended.code:
            raise RuntimeError(ended.said)
    return place.cache
