"""How alike two answers are."""
