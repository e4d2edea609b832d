"""Networks, as pure descriptions; images are float32 in [0, 1]."""
