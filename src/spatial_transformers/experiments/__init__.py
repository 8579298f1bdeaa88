"""The paper's experiments, on the library's public names only: data, networks, recipes, runs."""
