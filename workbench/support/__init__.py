"""Leaves that every floor may use: durable files, clean text, paths, units, errors. Imports nothing above."""
