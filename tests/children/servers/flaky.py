"""As `who`, but ends at once for those whose secret it does not like."""

import os
import runpy
import sys

if os.environ["TOKEN"] == "poison":
    sys.exit("this token is no good")
runpy.run_path(os.path.join(os.path.dirname(__file__), "who.py"), run_name="__main__")
