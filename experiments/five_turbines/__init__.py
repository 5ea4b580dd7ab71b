"""Five boxes on a drawn scene, and what they find on another."""
