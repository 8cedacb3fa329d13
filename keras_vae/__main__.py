"""`python -m keras_vae`: the command keras-vae."""

import sys

from keras_vae.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
