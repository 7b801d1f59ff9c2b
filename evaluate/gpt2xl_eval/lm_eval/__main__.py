"""The command `lm-eval` with the model type `gpt2xl`.

    python -m gpt2xl_eval.lm_eval --model gpt2xl --model_args pretrained=BUNDLE --tasks lambada_openai

lm-eval finds model types of other packages only where their module has been imported, which this does.
"""

import sys

from gpt2xl.errors import Gpt2xlError


def main() -> None:
    """Run `lm-eval`; our own errors end it with one line and exit code 1."""
    try:
        import lm_eval.models  # first: lm-eval does not register its own types where it finds another one
    except ModuleNotFoundError as missing:
        sys.exit(
            f"error: this needs `pip install 'gpt2xl[lm-eval]'` ({missing.name} is not installed)."
        )
    from lm_eval.__main__ import cli_evaluate

    import gpt2xl_eval.lm_eval.model

    del lm_eval, gpt2xl_eval  # imported for their registration
    try:
        cli_evaluate()
    except Gpt2xlError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
