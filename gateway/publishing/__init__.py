"""How a change becomes live: from what somebody asked for to a revision that is stored and served."""
