"""Looks under which a detector does not find a face."""
