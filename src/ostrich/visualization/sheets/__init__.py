"""A unit on one page: its preferred image, what excites it most, what in that does, and how often."""
