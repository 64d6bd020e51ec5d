"""Attacks that are fitted on some images and applied to others."""
