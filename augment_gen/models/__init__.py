"""The networks, as Flax modules; images are float32 in [0, 1]."""
