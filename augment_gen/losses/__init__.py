"""Loss functions, as pure functions of arrays."""
