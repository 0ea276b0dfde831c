"""Where wide events go: one bounded queue, one writer thread, and the places it can write to."""
