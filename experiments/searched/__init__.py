"""Whether it is known what was searched, and what would have been missed."""
