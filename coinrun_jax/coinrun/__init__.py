"""Procgen's CoinRun, with the coin placed independently of the level."""
