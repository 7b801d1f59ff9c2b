"""The onnxruntime options of every session."""

import onnxruntime as ort

from gpt2xl.startup.options import LoadOptions

ERRORS_ONLY_FATAL = 4  # log severity: what fails is raised, with the same words


def session_options(options: LoadOptions, *, packs_in_parallel: bool = False) -> ort.SessionOptions:
    """Make the options of a session.

    Args:
        options: what the user has chosen.
        packs_in_parallel: whether all threads copy weights into the kernels' layout at once.
    """
    made = ort.SessionOptions()
    made.intra_op_num_threads = options.threads
    # Memory patterns are kept for each step length: up to 80 MB more, and no faster.
    made.enable_mem_pattern = False
    made.log_severity_level = ERRORS_ONLY_FATAL
    spinning = str(int(options.spinning))
    made.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    made.add_session_config_entry("session.prepack.enable_parallel", str(int(packs_in_parallel)))
    return made
