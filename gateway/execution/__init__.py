"""Doing what was decided: one executor, one shadow pool."""
