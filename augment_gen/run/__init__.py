"""What carries a run: devices, the loop, checkpoints, the run folder, signals."""
