"""Charts, captioned grids, films: pictures of results."""
