"""Interleaving: the lists of several rankers merged into one, so that whoever reads it can prefer one unknowingly."""
