"""What `petbench doctor` looks at: the machine, its GPUs, the places petbench writes to, the terminal."""

from workbench.cli.health.finding import Check, Finding, Level, run_checks

__all__ = ["Check", "Finding", "Level", "run_checks"]
