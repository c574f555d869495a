"""Procgen's CoinRun, with the coin apart from the level."""
