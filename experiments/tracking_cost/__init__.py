"""What tracking costs."""
