"""The objectives, as pure functions of arrays."""
