"""Move the coin, count what an agent reaches first, and say how sure that is."""
