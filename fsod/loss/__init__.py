"""Assignment, meta-sampling and the meta-cross loss."""
