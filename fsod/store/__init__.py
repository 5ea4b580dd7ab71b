"""What goes to disk: checkpoints and class banks, all safetensors."""
