"""Rollouts: which moves a candidate's share may make, as one table."""
