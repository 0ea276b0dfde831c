"""What a rollout would do: with observations that are given, or with rates that are assumed."""
