"""What a testbed says of itself for probes of a network, and for the audit of a training set."""
