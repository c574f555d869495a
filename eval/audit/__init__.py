"""What is associated with the goal in a training distribution: `python -m eval.audit`."""
