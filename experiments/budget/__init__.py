"""How much of what a full search finds is found with a part of its pixels, likeliest windows first."""
