"""`python -m workbench`: the same as `petbench`."""

from workbench.cli.entry import main

main()
