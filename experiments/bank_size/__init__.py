"""What a bank's other classes do to the scores of one."""
