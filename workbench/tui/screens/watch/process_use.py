"""What a run's processes take of the machine, measured again and again."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What a process and its children take of the machine."""

    cpu: float
    """Cores, since the last look."""
    memory_bytes: int


class ProcessMeter:
    """Measures one family of processes; it remembers them, since processor time counts from look to look."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def read(self, pid: int) -> ProcessUse | None:
        """Processor and memory of process `pid` and its children; None where they cannot be told."""
        try:
            root = psutil.Process(pid)
            family = [root, *root.children(recursive=True)]
            self._known = {p.pid: self._known.get(p.pid, p) for p in family}
            use = [(p.cpu_percent() / 100, p.memory_info().rss) for p in self._known.values()]
        except psutil.Error:
            return None
        return ProcessUse(round(sum(cpu for cpu, _ in use), 2), sum(rss for _, rss in use))
