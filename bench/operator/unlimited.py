"""The operator without the limits that it sets itself, for the benchmark only.

Run as a program, beside `PYTHONPATH`, with the operator's own arguments.
"""

import sys

from bex_operator import __main__ as program
from bex_operator.controllers import acting
from bex_operator.kube import transport

TIMES = 10

transport.CONNECTIONS *= TIMES
acting.WORKERS *= TIMES

if __name__ == "__main__":
    sys.exit(program.main(sys.argv[1:]))
