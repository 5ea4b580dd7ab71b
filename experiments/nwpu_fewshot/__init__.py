"""The few-shot study on NWPU VHR-10."""
