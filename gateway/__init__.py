"""The host: introduces the rooms to each other and serves."""
