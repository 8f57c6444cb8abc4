import sys

from antifraud.cli import main

sys.exit(main())
