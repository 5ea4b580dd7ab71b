"""What a million scenes need."""
