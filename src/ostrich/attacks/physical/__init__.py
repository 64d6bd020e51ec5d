"""Attacks that leave the computer: printed, placed, photographed."""
