"""Pure arithmetic: sketches, windows, evidence, drift, cost. No I/O, no clock, no randomness."""
