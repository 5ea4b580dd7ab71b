"""Reports: the pictures of an evaluation, and one HTML file that shows a run or a scene and needs nothing else, no network."""
