"""The machinery of a run: devices, loop, checkpoints, run folder, signals."""
