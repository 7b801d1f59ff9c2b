"""What can go wrong on the way to the hub, in one line."""

import errno
import importlib.util
import os
import re
from typing import cast
from urllib.parse import urlsplit

from gpt2xl.errors import CheckpointError


def require_hub() -> None:
    """Raise CheckpointError if huggingface_hub is missing or cannot be imported quietly."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise CheckpointError("downloading needs `pip install 'gpt2xl[hub]'`.")
    try:  # huggingface_hub 2 prints a bad URL when it is imported
        _ = urlsplit(os.environ.get("HF_ENDPOINT", "")).port
    except ValueError:
        raise CheckpointError(
            "HF_ENDPOINT is not a URL: write special characters of a password as %2F and the like."
        ) from None


def failures() -> tuple[type[Exception], ...]:
    """The exceptions that huggingface_hub raises, including those of its HTTP library and of Xet."""
    from huggingface_hub.errors import HfHubHTTPError

    http = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    return (OSError, ValueError, RuntimeError, *http)


def root_cause(error: Exception) -> Exception:
    """The failed request behind ``error``; huggingface_hub reports a file missing in the cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
    return cause if isinstance(cause, Exception) else error


def http_status(error: Exception) -> int:
    """The HTTP status of a failed request; 0 if there was no answer."""
    return getattr(getattr(error, "response", None), "status_code", 0)


def os_fault(error: Exception) -> int:
    """The errno if reading or writing a file failed, else 0; Xet only tells it in words."""
    told = errno.ENOSPC if "No space left" in str(error) else 0
    return (error.errno if isinstance(error, OSError) else 0) or told


def endpoint() -> str:
    """HF_ENDPOINT without user name and password, so that it can be shown."""
    from huggingface_hub import constants

    return re.sub(r"(?<=//).*@", "", constants.ENDPOINT)


def explain(error: Exception, what: str, repo_id: str, revision: str) -> CheckpointError:
    """Say in one line why ``what`` could not be fetched, and what to do."""
    from huggingface_hub import constants, errors

    hub, cache = endpoint(), constants.HF_HUB_CACHE
    status, fault = http_status(error), os_fault(error)
    if isinstance(error, errors.GatedRepoError):
        text = f"'{repo_id}' is gated: ask for access at {hub}/{repo_id}, then set HF_TOKEN."
    elif isinstance(error, errors.RepositoryNotFoundError):
        text = f"{hub} shows no model '{repo_id}' (HTTP {status}): check the name, or set HF_TOKEN"
        text += " to a token that may read it if it is private or gated."
    elif isinstance(error, errors.RevisionNotFoundError):
        text = f"'{repo_id}' has no branch, tag or commit '{revision}'."
    elif status in (401, 403):
        text = f"{hub} refuses the token for {what} (HTTP {status}): renew or unset HF_TOKEN."
    elif fault == errno.ENOSPC:
        text = f"The disk is full and {what} incomplete in {cache}: make room, or set HF_HOME to a"
        text += " folder on a larger disk."
    elif fault:
        text = f"Cannot write {what} to {cache} ({os.strerror(fault)}): set HF_HOME elsewhere."
    else:
        reason = f"HTTP {status}" if status else type(error).__name__
        text = f"Cannot get {what} from {hub} ({reason}): check the connection and HF_ENDPOINT and"
        text += " run again, or set HF_HUB_OFFLINE=1 to use what is in the cache."
    return CheckpointError(text)
