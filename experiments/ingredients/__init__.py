"""What each ingredient of the pretraining with photographs gives."""
