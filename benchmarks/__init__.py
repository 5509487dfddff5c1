"""Measurements that anyone can repeat; each prints ratios measured side by side in one process."""
