"""One transformation, one file."""
