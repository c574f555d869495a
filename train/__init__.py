"""PPO for gymnax environments: an update of agents and environments is one compiled program."""

import os

# XLA:CPU reports every program loaded from its persistent cache as an error, because two
# compiler preferences are not among the host's features. Must be set before jax is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
