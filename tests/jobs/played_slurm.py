"""A Slurm that is played: its commands as scripts of a line, for what needs no cluster."""

from __future__ import annotations

from pathlib import Path

from workbench.jobs.slurm import cluster_facts


class Played:
    """Slurm's commands, each a script of a line; what they are asked for is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        cluster_facts.cache_clear()
        self.says(
            "scontrol", 'if [ "$1" = show ]; then echo "ClusterName = played"; echo "MaxArraySize = 4"; fi'
        )
        for name in ("squeue", "scancel"):
            self.says(name, "true")
        self.says("sbatch", "cat > /dev/null; echo 40")

    def says(self, name: str, line: str) -> None:
        """What a command does."""
        path = self._folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self._folder}/asked\n{line}\n')
        path.chmod(0o755)

    def asked(self, name: str) -> list[str]:
        """What a command was called with, one after the other."""
        told = self._folder / "asked"
        lines = told.read_text().splitlines() if told.exists() else []
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]
