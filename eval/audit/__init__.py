"""What goes together with the coin in a training distribution: `python -m eval.audit`."""
