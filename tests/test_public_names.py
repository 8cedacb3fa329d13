"""What `import keras_vae` does: little, and the same wherever Python runs."""

import os
import subprocess
import sys
from pathlib import Path

WITHOUT_FRAMEWORK = """
import sys
del sys.argv
import keras_vae
assert sorted(dir(keras_vae)) == sorted([*keras_vae.__all__, "__version__"]), dir(keras_vae)
assert not {"keras", "tensorflow", "jax"} & set(sys.modules)
# TensorFlow reads it.
assert sys.argv == [""]
"""


def test_names_are_listed_without_tensorflow_and_import_needs_no_arguments():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", WITHOUT_FRAMEWORK], check=True, env=environment)
