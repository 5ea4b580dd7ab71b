"""Objects and scenes drawn by rule: invented classes without end, and the scenes of the demo."""
