"""What a run reports: metrics.csv, curves, Weights & Biases."""
