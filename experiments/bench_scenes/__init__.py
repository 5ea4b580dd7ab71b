"""What going over scenes costs: beside SAHI, in memory, beside the network alone, and in merging."""
