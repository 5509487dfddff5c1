"""Widgets that several screens share: each draws one thing from one value and reads no files."""
