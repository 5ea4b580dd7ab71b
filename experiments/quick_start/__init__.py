"""The quick start's own commands, run on a real scene, and the pictures of what they write."""
