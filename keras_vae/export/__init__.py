"""A model for serving where keras_vae is not installed: a SavedModel with named endpoints, or ONNX files."""

from keras_vae.export.onnx import onnx_files
from keras_vae.export.saved_model import saved_model

FORMATS = {"tf_saved_model": saved_model, "onnx": onnx_files}

__all__ = ["FORMATS", "onnx_files", "saved_model"]
