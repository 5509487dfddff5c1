"""Faults on purpose, with seeds: kills, damaged files, full disks, rivals; `make drills` holds them."""
