"""Lower bounds of robust accuracy: what no attack within a budget can change, image by image."""

from ostrich.certification.methods import METHODS, Intervals, Linear, Method, Smoothing, Verdict, find

__all__ = ["METHODS", "Intervals", "Linear", "Method", "Smoothing", "Verdict", "find"]
