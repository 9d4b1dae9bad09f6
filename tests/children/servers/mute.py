"""Reads, and never answers; after `once` only what comes after the first session began."""

import os
import sys
import time

from base import Server

MARK = os.path.join(os.environ["HOME"], "begun")
if sys.argv[-1] == "once" and not os.path.exists(MARK):
    open(MARK, "w").close()
    Server().run()
else:
    while True:
        time.sleep(60)
