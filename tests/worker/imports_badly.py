"""Does at its top what a restricted workflow may not."""

import random

random.choice("ab")
