"""What a process computes on."""
