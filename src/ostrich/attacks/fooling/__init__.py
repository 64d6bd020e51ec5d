"""Fooling images: no likeness of anything, and the network is certain."""
