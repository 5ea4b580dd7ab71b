"""Pictures of QGIS with the plugin."""
