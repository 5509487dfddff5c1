"""Which images a person labels next: the process that looks at a folder's images and learns along."""
