"""Every error this package raises on purpose.

* Gpt2xlError
  * BundleError            a bundle folder is missing a file or disagrees with itself
  * CheckpointError        a checkpoint is not a GPT-2 we can export
  * ExportError            a bundle cannot be written where it was asked for
  * ParityError            an exported graph does not compute what the checkpoint does
  * ProviderError          the asked-for execution provider is not there
  * RequestError           a prompt or an option that cannot be served (also a ValueError)
"""


class Gpt2xlError(Exception):
    """Base class of every error this package raises on purpose."""


class BundleError(Gpt2xlError):
    """A bundle folder is missing a file or disagrees with itself."""


class CheckpointError(Gpt2xlError):
    """A checkpoint is not a GPT-2 we can export."""


class ExportError(Gpt2xlError):
    """A bundle cannot be written where it was asked for."""


class ParityError(Gpt2xlError):
    """An exported graph does not compute what the checkpoint does."""


class ProviderError(Gpt2xlError):
    """The asked-for execution provider is not there."""


class RequestError(Gpt2xlError, ValueError):
    """A prompt or an option that cannot be served."""


class Gpt2xlWarning(UserWarning):
    """What was asked for is done, but not in the way it was asked for."""
