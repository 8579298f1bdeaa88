"""Mathematics of the grid generator that knows neither a transformation nor an image."""
