"""One training step a method: `(state, frozen, batch, key) -> (state, metrics)`."""
