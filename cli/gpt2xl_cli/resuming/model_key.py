"""What stands for a model in the header of a run."""

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.decoding.prompt_cache import bundle_id


def model_key(bundle: Bundle) -> str:
    """A hash of the bundle's files; without a manifest, its path."""
    has_hashes = bundle.manifest is not None and bundle.manifest.files
    return bundle_id(bundle) if has_hashes else str(bundle.folder.resolve())
