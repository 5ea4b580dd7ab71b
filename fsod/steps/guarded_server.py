"""The application of ``fsod serve``: MLflow's scoring server, with what that one leaves open closed.

It answers requests to this machine by its own name alone, so that no page in a browser can reach it under a name that leads
here. A request that cannot be read gets status 400, however it is broken.
"""

from __future__ import annotations

import os

from mlflow.pyfunc import scoring_server
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse

MODEL = "FSOD_MODEL"
"""Environment variable: MLflow's address of the model."""
HOSTS = "FSOD_HOSTS"
"""Environment variable: names that requests may call this machine, with commas between them."""

_UNREADABLE = (RecursionError, ValueError, TypeError, LookupError, AttributeError, OverflowError)


def _refused(request: Request, error: Exception) -> JSONResponse:
    """What the model raises is answered by MLflow; all else comes of a request that is no table of rows."""
    reason = " ".join(str(error).split())[:200]
    message = f"the request cannot be read ({type(error).__name__}: {reason})"
    return JSONResponse({"error_code": "BAD_REQUEST", "message": message}, 400)


app = scoring_server.init(scoring_server.load_model_with_mlflow_config(os.environ[MODEL]))
for kind in _UNREADABLE:
    app.add_exception_handler(kind, _refused)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=os.environ[HOSTS].split(","), www_redirect=False)
