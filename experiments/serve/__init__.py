"""What a served detector costs."""
