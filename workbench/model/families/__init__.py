"""The families of backbones that petbench has; a file put here is read with the others."""
