"""Each named part of the method against the full system."""
