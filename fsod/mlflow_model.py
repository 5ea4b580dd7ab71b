"""What MLflow keeps beside a registered detector and runs to load it ("models from code")."""

import mlflow

from fsod.steps.served import ServedDetector

mlflow.models.set_model(ServedDetector())
