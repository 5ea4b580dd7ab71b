"""One large scene of known objects, to compare windows with a pass over each image."""
