"""What it takes to evaluate images that are larger than a window."""
