"""What training, finetuning and enrolling keep of their speed beside a busy process."""
