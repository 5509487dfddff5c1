"""Selection rules; a file put here is read with the others."""
