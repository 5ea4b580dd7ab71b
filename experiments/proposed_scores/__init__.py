"""What scores are worth that a handful of examples propose."""
