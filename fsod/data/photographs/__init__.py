"""Episodes whose classes are things that were cut out of unlabelled photographs."""
