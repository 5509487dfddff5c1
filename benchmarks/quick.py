"""The first row of docs/performance.md in under 50 seconds: ResNet-18 at 128 px over its bare step.

    python -m benchmarks.quick [--seconds 38]

Needs no data: where the pets are not on this machine, it draws pictures. The last line is the result.
"""

from __future__ import annotations

import time

import psutil

from benchmarks.contest import Terms
from benchmarks.options import common_of, parser_of, report_of
from benchmarks.ours import Rounds
from benchmarks.report import Table
from benchmarks.throughput import HEADER, measure

# Most rounds worth having, and how long an epoch is: short turns let a disturbance hit both sides.
ROUNDS = 12
TERMS = Terms("resnet18", 128, images=128, validation=37)


class Deadline:
    """Whether there is time for one more round, if it takes as long as the last one.

    Args:
        seconds: from the start of the process to the deadline.
    """

    def __init__(self, seconds: float) -> None:
        self._end = psutil.Process().create_time() + seconds
        self._before = time.time()

    def is_near(self) -> bool:
        """To be asked after each round; the first answer counts all that came before as a round."""
        now = time.time()
        last, self._before = now - self._before, now
        return now + last > self._end


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=38.0, help="begin no round that would end later")
    options = parser.parse_args()
    deadline = Deadline(options.seconds)
    common = common_of(options)
    report = report_of("quick")
    table = Table("Throughput over the bare step", HEADER)
    report.tables.append(table)
    turns = Rounds(ROUNDS, deadline.is_near)
    ratio = measure(TERMS, common, turns, report, table)
    report.finish(common.out)
    print(f"throughput_over_bare_step {ratio.median:.2f}")


if __name__ == "__main__":
    main()
