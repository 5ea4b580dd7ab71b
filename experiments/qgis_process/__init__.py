"""The plugin's algorithms with the real fsod in QGIS."""
