"""Images and boxes: the prepared folder, episodes, support crops and augmentation."""
