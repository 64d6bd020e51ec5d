"""Looking at a network: its units, one forward watched, how signal and gradient pass through it."""
