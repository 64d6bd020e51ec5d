"""Looking at a network: its units, one forward watched, a unit switched off."""
