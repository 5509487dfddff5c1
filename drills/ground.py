"""The ground that drills are held on: tiny recipes, what each comes to undisturbed, and a judge.

Every recipe saves a checkpoint after every step, so that there is much to hit, and takes half a second.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from drills.moments import Recording, Step
from drills.processes import Ended, Petbench, Place
from drills.table import Outcome, Verdict
from workbench.dataset.sample import SampleOptions, generate_sample
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.results import Results, read_results
from workbench.support.errors import UserError

_COMMON = """schema = 1
name = "{name}"
seed = 3
[data]
dataset = "sample"
root = "{root}"
image_size = 32
[model]
backbone = "timm:test_resnet"
weights = "none"
"""
_TRAINING = """epochs = 2
batch_size = 10
precision = "fp32"
checkpoint_seconds = 0
"""

RECIPES = {
    # Teacher and two students: heads alone on cached features, an average of the weights, few labels.
    "head": f"""[finetune]
layers = ["head"]
[optimizer]
name = "adamw"
learning_rate = 1e-2
[augmentation]
random_crop = false
flip = false
[training]
{_TRAINING}ema = 0.9
[pseudo_label]
strategy = "iterative"
labelled_fraction = 0.5
rounds = 2
epochs_per_round = 2
fraction = 0.4
""",
    # Supervised, through the trunk: augmentation, dropout, a schedule, an average, Adam.
    "trunk": f"""dropout = 0.3
[finetune]
layers = "all"
[optimizer]
name = "adam"
learning_rate = 1e-3
schedule = "cosine"
[augmentation]
policy = "rand"
[training]
{_TRAINING}ema = 0.9
""",
    # Iterative pseudo-labels through the trunk, the student noised and begun afresh.
    "rounds": f"""[finetune]
layers = "all"
[optimizer]
name = "sgd"
learning_rate = 1e-2
[training]
{_TRAINING}[pseudo_label]
strategy = "iterative"
labelled_fraction = 0.5
rounds = 2
epochs_per_round = 1
fraction = 0.4
student = "fresh"
noise = {{ policy = "rand", dropout = 0.5 }}
""",
    # An online objective with two views of the pool.
    "online": f"""[finetune]
layers = "all"
[optimizer]
name = "sgd"
learning_rate = 1e-2
[training]
{_TRAINING}[pseudo_label]
strategy = "fixmatch"
threshold = 0.1
labelled_fraction = 0.5
unlabelled_ratio = 1
epochs_per_round = 2
""",
}
NAMES = tuple(RECIPES)
PAIR = "pair"
RECIPES[PAIR] = RECIPES["rounds"].replace("epochs = 2\n", "epochs = 2\ndevices = 2\n", 1)
"""Of two processes that train together; only the drills that are about them take it."""
_MOST_BYTES = 2**24  # more than any of their files has

# Of what petbench says when something is not as it left it; used to tell "same" from "told" alone.
_TOLD = re.compile(
    r"warning|damaged|again|anew|rebuil|cannot|does not match|left out|missing|too large|problem|refused",
    re.I,
)
_CRASHED = re.compile(r"Traceback \(most recent call last\)|fault in petbench|Fatal Python error")
# What a run may leave or not by how often it was interrupted, and what no answer is read from.
_PASSING = ("heartbeat", "run.log", ".lock", "process.json", "exit.json", "metrics.jsonl", "control.json")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a run says in the end, and the files that it leaves."""

    results: Results
    """Without what depends on how long things took."""
    files: dict[str, str]
    """Name within the run -> hash of predictions, ledgers and division; "" of files that are only there."""

    def differences(self, other: Answers) -> list[str]:
        """What is not the same in `other`."""
        found = [f"{name} is missing" for name in sorted(self.files.keys() - other.files.keys())]
        both = self.files.keys() & other.files.keys()
        found += [f"{name} differs" for name in sorted(both) if self.files[name] != other.files[name]]
        if self.results != other.results:
            same = self.results.weights_sha256 == other.results.weights_sha256
            found.append("results.toml differs" if same else "the weights differ")
        return found

    def left_behind(self, other: Answers) -> list[str]:
        """Files in `other` that nobody needs."""
        return sorted(other.files.keys() - self.files.keys())


def answers_of(run: RunDirectory) -> Answers:
    """Of a finished run. Raises: UserError, where it has no sound results."""
    results = read_results(run.results)
    timeless = replace(results, training_seconds=0.0, images_per_second=0.0, peak_memory_bytes=0)
    files = {}
    for path in sorted(run.path.rglob("*")):
        name = str(path.relative_to(run.path))
        if path.is_file() and name not in _PASSING:
            counts = name.startswith(("predictions/", "pseudo/")) or name == "split.json"
            is_small = path.stat().st_size < _MOST_BYTES
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest() if counts and is_small else ""
    return Answers(timeless, files)


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A recipe, and what it comes to when nothing happens."""

    name: str
    recipe: Path
    place: Place
    """Where it was trained: its run and a filled cache."""
    answers: Answers
    seconds: float
    steps: tuple[Step, ...]
    """Every file that was opened for writing or renamed, in order."""

    @property
    def run(self) -> RunDirectory:
        """Its run."""
        return only_run(self.place)

    @property
    def renames(self) -> list[int]:
        """Positions in `steps` at which a file came into its place."""
        return [number for number, step in enumerate(self.steps) if step.event == "os.rename"]


def only_run(place: Place) -> RunDirectory:
    """The newest run at a place; LookupError where there is none."""
    runs = run_directories(place.runs)
    if not runs:
        raise LookupError("no run")
    return runs[0]


@dataclass(slots=True)
class Ground:
    """Where drills are held.

    Args:
        base: a directory of their own.
        keep: whether the directories of failed attempts stay.
    """

    base: Path
    keep: bool = False
    _undisturbed: dict[str, Undisturbed] = field(default_factory=dict)
    _count: int = 0

    @property
    def sample(self) -> Path:
        """The images: 60 of ten classes, drawn once."""
        return self._sample(0)

    def _sample(self, seed: int) -> Path:
        path = self.base / f"sample-{seed}"
        if not path.exists():
            options = SampleOptions(seed=seed, train_per_class=4, test_per_class=2, size=48)
            generate_sample(path, options)
        return path

    def recipe(self, name: str, *, home: Path | None = None, sample_seed: int = 0, extra: str = "") -> Path:
        """A recipe's file, on the sample set or one drawn by another seed; `extra` is added at its end."""
        folder = home or self.base / "recipes"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.toml"
        path.write_text(_COMMON.format(name=name, root=self._sample(sample_seed)) + RECIPES[name] + extra)
        return path

    def undisturbed(self, name: str) -> Undisturbed:
        """A recipe trained once with nothing going wrong; the second time with a warm cache, for its time."""
        if name not in self._undisturbed:
            recipe, place = self.recipe(name), Place(self.base / "undisturbed" / name)
            recording = Recording(place, place.home.parent / f"{name}.steps")
            place.home.mkdir(parents=True)
            child = Petbench(place, "run", str(recipe), fault=recording)
            ended = child.wait()
            if ended.code:
                raise RuntimeError(f"{name} does not train undisturbed: {ended.said}")
            self._undisturbed[name] = Undisturbed(
                name, recipe, place, answers_of(only_run(place)), child.seconds, recording.steps()
            )
        return self._undisturbed[name]

    @contextmanager
    def place(self, cache_of: Undisturbed | None = None) -> Iterator[Place]:
        """A fresh place, with a copy of a filled cache or an empty one; it goes when the attempt is over."""
        self._count += 1
        place = Place(self.base / f"attempt-{self._count}")
        place.home.mkdir(parents=True)
        if cache_of is not None:
            shutil.copytree(cache_of.place.cache, place.cache)
        try:
            yield place
        finally:
            if not self.keep:
                shutil.rmtree(place.home, ignore_errors=True)


def crashed(ended: Ended) -> Verdict | None:
    """HANG or TRACEBACK, if it ended so; a signal counts as one."""
    if ended.code is None:
        return Verdict.HANG
    if ended.code < 0 or ended.code not in (0, 1, 2, 130) or _CRASHED.search(ended.out + ended.error):
        return Verdict.TRACEBACK
    return None


def is_told(ended: Ended) -> bool:
    """Whether it spoke of something that was not as it should be."""
    return bool(_TOLD.search(ended.said))


def finish(place: Place, undisturbed: Undisturbed) -> Ended:
    """Go on with the run there, or begin where none was left to go on with."""
    if not run_directories(place.runs):
        return Petbench(place, "run", str(undisturbed.recipe)).wait()
    return Petbench(place, "resume", "latest").wait()


def judge(
    place: Place, undisturbed: Undisturbed, ended: Ended, what: str, times: int = 1, *, besides: str = ""
) -> Outcome:
    """Whether a run that was finished in the end is the undisturbed one, but for the file `besides`."""
    bad = crashed(ended)
    if bad is not None:
        return Outcome(bad, what, ended.said, times)
    if ended.code:
        return Outcome(Verdict.STUCK, what, ended.said, times)
    try:
        answers = answers_of(only_run(place))
    except (UserError, OSError, LookupError) as error:
        return Outcome(Verdict.STUCK, what, str(error), times)
    differences, left = undisturbed.answers.differences(answers), undisturbed.answers.left_behind(answers)
    differences = [one for one in differences if one.partition(" ")[0] != besides]
    left = [name for name in left if not name.startswith(f"{besides}/")]
    if differences:
        return Outcome(Verdict.SILENT, what, "; ".join(differences), times)
    if left:
        return Outcome(Verdict.LEFT, what, "; ".join(left), times)
    return Outcome(Verdict.TOLD if is_told(ended) else Verdict.SAME, what, times=times)
