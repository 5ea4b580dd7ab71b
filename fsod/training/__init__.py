"""Learning: stages, losses of an episode, meta-training, finetuning, learning from marks."""
