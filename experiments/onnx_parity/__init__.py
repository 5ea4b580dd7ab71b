"""That an exported network finds what torch finds."""
