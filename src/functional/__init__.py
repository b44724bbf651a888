"""Pure functions on tensors: no state, no logger, no choice of device."""
