"""That other software finds with an exported network what fsod finds."""
