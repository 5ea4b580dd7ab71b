"""Data set readers, tiling and synthetic scenes: everything that writes a prepared folder."""
