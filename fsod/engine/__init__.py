"""The stages of a run: meta-train, finetune, evaluate, enroll, predict, and their tracking."""
