"""Five vehicles marked on one picture, from examples to a layer."""
