"""Feedback: what readers of merged lists clicked, from the token that an answer carried to a click that is kept."""
