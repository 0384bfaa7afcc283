"""One rank of a pretended training, under torchrun: says that it is there, and stays."""

import os
import sys
import time
from pathlib import Path

(Path(sys.argv[1]) / f"rank{os.environ['RANK']}").touch()
time.sleep(120)
