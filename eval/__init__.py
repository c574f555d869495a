"""Pull goal and proxy apart, count which an agent reaches first, and say how certain that is."""

import train  # noqa: F401, quiets XLA's log, which must happen before jax is loaded
