"""What keeps a spatial transformer from being lost in training, each part by itself."""
