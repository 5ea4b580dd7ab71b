"""What the model costs: inference and training beside plain detectors of the same trunk."""
