"""Training as a generator of events, and judging what came of it."""
