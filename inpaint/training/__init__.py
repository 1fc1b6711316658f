"""Training: settings, the loop, checkpoints, validation, curves, several processes."""
