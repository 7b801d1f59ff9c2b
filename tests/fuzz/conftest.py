"""Let the tests of the fuzzer import its modules, which workers import, too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
