"""Attacks that see the scores of the images they ask about, and no gradient."""
