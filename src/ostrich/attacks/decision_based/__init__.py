"""Attacks that see whether an image reaches the goal, and nothing else."""
