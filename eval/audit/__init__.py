"""What goes together with the goal in a training distribution: `python -m eval.audit`."""
