"""The words every strategy speaks: arm, facts, plan, decision, allocation."""
