"""An engine that needs no torch, as a process: it groups images by the first letter of their names.

`python fake_engine.py FOLDER [--dies-at N] [--silent] [--by-chance]`: it ends with an error at its N-th
offer; it never answers; it says that chance drew its images.
"""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.labels.journal import NAME, read
from workbench.labels.protocol import (
    Changed,
    Doubted,
    DoubtedImage,
    Learned,
    Offer,
    Offered,
    OfferedImage,
    Progress,
    Quit,
    SecondLook,
    line_of,
    request_of,
)

folder, options = Path(sys.argv[1]), sys.argv[2:]
dies_at = int(options[options.index("--dies-at") + 1]) if "--dies-at" in options else 0
offers = 0


def say(message: Progress | Offered | Learned | Doubted) -> None:
    if "--silent" not in options:
        sys.stdout.buffer.write(line_of(message))
        sys.stdout.buffer.flush()


def offer(request: Offer) -> Offered:
    """The images of the first letter that has any; what has a label guesses for what begins alike."""
    journal = read(folder / NAME)
    settled = {path for path, row in journal.current.items() if row.class_name}
    left = [path.name for path in sorted(folder.glob("*.png"))]
    left = [name for name in left if name not in settled and name not in request.skip]
    group = [name for name in left if name[0] == left[0][0]][: request.most]
    names = {path[0]: label for path, label in journal.labels.items()}
    images = [OfferedImage(name, names.get(name[0]), 0.71 if name[0] in names else None) for name in group]
    why, is_random = f"alike: they begin with {group[0][0]}" if group else "", "--by-chance" in options
    return Offered(request.serial, "typical", why, tuple(images), random=is_random)


def learned() -> Learned:
    journal = read(folder / NAME)
    number, classes = len(journal.labels), journal.classes
    text = f"{number} labelled · {len(classes)} classes · 91 % (86–95) · 40 more ≈ +2"
    return Learned(
        number, len(classes), text, lacking=tuple(name for name, count in classes.items() if count < 2)
    )


say(Progress("features", 3, 12))
if read(folder / NAME).labels:
    say(learned())
for line in sys.stdin.buffer:
    request = request_of(line)
    match request:
        case Offer():
            offers += 1
            if offers == dies_at:
                sys.exit("no memory for this")
            say(offer(request))
        case Changed():
            say(learned())
        case SecondLook():
            labels = list(read(folder / NAME).labels.items())
            say(Doubted(tuple(DoubtedImage(path, label, "cow", 0.93) for path, label in labels[-2:])))
        case Quit():
            break
