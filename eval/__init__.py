"""Pull goal and proxy apart, count what an agent reaches first, and say how sure that is."""

import train  # noqa: F401, quiets XLA's log, which must happen before jax is loaded
