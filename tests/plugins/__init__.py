"""Packages from outside petbench, and what petbench makes of them."""
