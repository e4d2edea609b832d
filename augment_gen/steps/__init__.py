"""One training step per method: `(state, frozen, batch, key) -> (state, metrics)`."""
