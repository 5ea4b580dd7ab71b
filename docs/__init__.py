"""The pages of the documentation, and the two scripts that belong to them."""
